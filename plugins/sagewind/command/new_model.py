"""`sagewind model churn`: a model file to edit and the DAG file that makes its DAGs.

The model file is complete: the new model runs before its first line is changed.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sagewind.command.errors import CommandError
from sagewind.pipeline.load import load_model
from sagewind.pipeline.project import MODELS
from sagewind.pipeline.spec import ModelName

TEMPLATES = Path(__file__).with_name("templates")
TEMPLATE = TEMPLATES / "model.yaml"


def dag_file(name: str) -> str:
    """The text of dags/<name>.py."""
    # Airflow skips files in which the words "airflow" and "dag" do not both occur.
    return (
        f'"""The Airflow DAGs of the model file include/models/{name}.yaml."""\n\n'
        "from sagewind.workflows import model_dags\n\n"
        f'globals().update(model_dags("{name}"))\n'
    )


def files(name: str) -> dict[Path, str]:
    """Path in a project -> text, of a new model; CommandError if the name is none."""
    try:
        TypeAdapter(ModelName).validate_python(name)
    except ValidationError:
        raise CommandError(
            f"the name of the model is {name!r}: it starts with a small letter and has at most 13 small letters, "
            "digits and hyphens, such as churn"
        ) from None
    return {
        MODELS / f"{name}.yaml": TEMPLATE.read_text(encoding="utf-8").replace("@NAME@", name),
        Path("dags") / f"{name}.py": dag_file(name),
    }


def create(name: str, project: Path) -> list[Path]:
    """Write both files and return their paths in the project; CommandError if the name is bad or taken."""
    made = files(name)
    for path in made:
        if (project / path).exists():
            raise CommandError(f"{path} exists: choose another name, or edit that file")
    for path, text in made.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, encoding="utf-8")
    load_model(name, project / MODELS)
    return list(made)

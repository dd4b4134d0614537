"""`make model NAME=churn`: a model file to edit and the DAG file that makes its DAGs.

The model file is complete: the new model runs before its first line is changed.
"""

import sys
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sagewind.pipeline.load import load_model
from sagewind.pipeline.spec import ModelName

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).with_name("templates") / "model.yaml"


class NewModelError(Exception):
    """Why there is no new model: one sentence."""


def dag_file(name: str) -> str:
    """The text of dags/<name>.py."""
    # Airflow skips files in which the words "airflow" and "dag" do not both occur.
    return (
        f'"""The Airflow DAGs of the model file include/models/{name}.yaml."""\n\n'
        "from sagewind.workflows import model_dags\n\n"
        f'globals().update(model_dags("{name}"))\n'
    )


def create(name: str, root: Path) -> list[Path]:
    """Write both files and return their paths; NewModelError if the name is bad or taken."""
    try:
        TypeAdapter(ModelName).validate_python(name)
    except ValidationError:
        raise NewModelError(
            f"NAME is {name!r}: a model's name starts with a small letter and has at most 13 small letters, "
            "digits and hyphens; write make model NAME=churn."
        ) from None
    files = {
        root / "include/models" / f"{name}.yaml": TEMPLATE.read_text(encoding="utf-8").replace("@NAME@", name),
        root / "dags" / f"{name}.py": dag_file(name),
    }
    for path in files:
        if path.exists():
            raise NewModelError(f"{path.relative_to(root)} exists: choose another name, or edit that file.")
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    load_model(name, root / "include/models")
    return list(files)


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Create the model that the first argument names."""
    name = arguments[0] if arguments else ""
    try:
        created = create(name, root)
    except NewModelError as error:
        sys.stderr.write(f"make model: {error}\n")
        return 1
    for path in created:
        sys.stdout.write(f"wrote {path.relative_to(root)}\n")
    sys.stdout.write(f"next: make run MODEL={name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`sagewind new DIR`: a project of a user's own, which runs on installed wheels and holds no code of the product."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from sagewind.command import new_model
from sagewind.command.errors import CommandError
from sagewind.facts.version import VERSION

TEMPLATES = new_model.TEMPLATES / "project"
#: What the requirements name with the version that is installed where the project is made.
PINNED = ("apache-airflow", "apache-airflow-providers-amazon", "apache-airflow-providers-postgres")
#: Its own versions are what an upgrade changes.
OURS = ("sagewind", "sagewind-localaws")
HOUSEKEEPING = '''"""The Airflow DAG that looks after the account."""

from sagewind.workflows.housekeeping import housekeeping_dag

dag = housekeeping_dag()
'''


def create(folder: Path, model: str, wheels: Path | None = None) -> list[Path]:
    """Write the project and return the paths of its files; CommandError if `folder` holds anything.

    `wheels` is a folder of wheels to bring along, for versions that no package index has.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandError(f"{folder} is not an empty folder: name one that is empty or not there")
    brought = sorted(wheels.glob("*.whl")) if wheels else []
    if wheels and not brought:
        raise CommandError(f"{wheels} holds no wheels (*.whl): build them, or leave --wheels out")
    made = {Path(name): _filled(text) for name, text in _texts().items()}
    made |= {Path(name): text for name, text in new_model.files(model).items()}
    made |= {Path("dags/housekeeping.py"): HOUSEKEEPING, Path("constraints.txt"): _constraints()}
    made[Path("wheels/README.md")] = "Wheels that are installed before those of a package index (`make setup`).\n"
    for path, text in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text.replace("@MODEL@", model), encoding="utf-8")
    for wheel in brought:
        shutil.copy(wheel, folder / "wheels")
    return sorted([*made, *(Path("wheels") / wheel.name for wheel in brought)])


def _texts() -> dict[str, str]:
    """Name in the project -> text, of the templates; those that begin with a dot are stored without it."""
    hidden = {"gitignore", "dockerignore"}
    found = sorted(path for path in TEMPLATES.iterdir() if path.is_file())
    return {f".{path.name}" if path.name in hidden else path.name: path.read_text(encoding="utf-8") for path in found}


def _filled(text: str) -> str:
    """With the versions that are installed here; without a line whose distribution is not."""
    lines = []
    for line in text.replace("@VERSION@", VERSION).splitlines(keepends=True):
        name = next((name for name in PINNED if f"@{name}@" in line), None)
        if name is None:
            lines.append(line)
            continue
        try:
            lines.append(line.replace(f"@{name}@", version(name)))
        except PackageNotFoundError:
            lines.append(line.replace(f"=={'@' + name + '@'}", ""))
    return "".join(lines)


def _constraints() -> str:
    """Every distribution that is installed here with its version: together they work."""
    found = {str(one.metadata["Name"]).lower().replace("_", "-"): one.version for one in distributions()}
    lines = [f"{name}=={number}\n" for name, number in sorted(found.items()) if name not in OURS]
    return "# What was installed where this project was made; `make lock` writes what is installed now.\n" + "".join(
        lines
    )

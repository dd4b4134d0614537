"""Job programs and facts run with the Pythons of AWS's images, and without the packages that these do not have."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sagewind.facts import contract
from sagewind.pipeline import bundle
from tests.extras import UV, install
from tests.jobs.conftest import lay_out
from tools.arrows import NOT_IN_CONTAINERS

HERE = Path(__file__).parent
#: The oldest and the newest of AWS's images.
PYTHONS = ("3.10", "3.12")


def interpreter(version: str) -> str:
    """The Python of that version on this machine; without it the test is skipped."""
    # What pyenv has installed but not activated is no command on the PATH.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    path = os.pathsep.join([*map(str, sorted(pyenv.glob(f"versions/{version}.*/bin"))), os.environ["PATH"]])
    command = [UV, "python", "find", "--system", version]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine has no Python {version}: uv python install {version}")
    return done.stdout.strip()


@pytest.fixture(params=PYTHONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "code")


def start(argv: list[str], cwd: Path, *path: Path, **environment: str) -> str:
    """What a Python that sees nothing of this project but `path` prints."""
    environment |= {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def imported(python: str, code: Path, *options: str, packages: tuple[Path, ...] = ()) -> Any:
    """The answer of import_program.py; -S leaves out the packages that the interpreter itself may have."""
    argv = [python, "-S", "-B", str(HERE / "import_program.py"), str(code), ",".join(NOT_IN_CONTAINERS), *options]
    return json.loads(start(argv, code.parent, code, *packages))


def test_every_module_loads_with_stand_ins_for_other_packages(version: str, code: Path) -> None:
    assert imported(interpreter(version), code, "stand-ins") == {"read": sorted(bundle.job_files()), "failed": {}}


def test_what_an_image_lacks_is_found(version: str, tmp_path: Path) -> None:
    package = tmp_path / "code" / "ours"
    package.mkdir(parents=True)
    (package / "late.py").write_text("from datetime import UTC\n")
    (package / "absent.py").write_text("import pydantic\n")
    (package / "usual.py").write_text("from numpy.typing import NDArray\nFloats = NDArray[float]\n")
    failed = imported(interpreter(version), package.parent, "stand-ins")["failed"]
    late = failed.pop("ours/late.py", "")
    assert late.startswith("ImportError: cannot import name 'UTC'") is (version == "3.10")
    assert failed == {"ours/absent.py": "ImportError: AWS's images have no pydantic"}


@pytest.mark.long
def test_every_module_loads_with_the_packages_of_the_image(version: str, code: Path) -> None:
    python = interpreter(version)
    packages = install(HERE / "extras" / f"image-{version}.txt", python)
    assert imported(python, code, packages=(packages,)) == {"read": sorted(bundle.job_files()), "failed": {}}


@pytest.mark.long
def test_a_program_runs_with_the_packages_of_the_image(version: str, code: Path, container: Any) -> None:
    python = interpreter(version)
    packages = install(HERE / "extras" / f"image-{version}.txt", python)
    container.configure()
    container.raw("a,target\n" + "".join(f"{number},{number % 2}\n" for number in range(40)))
    argv = [python, "-S", "-B", "-m", "sagewind.jobs.prepare"]
    said = start(argv, code.parent, code, packages, **{contract.BASE_DIR: str(container.base)})
    assert "40 rows in, 40 out" in said
    assert container.json("schema/schema.json")["problem"] == "binary"

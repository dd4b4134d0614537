"""What every image demands of the programs: few imports, an old enough Python, the code tree as it arrives there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sagewind.facts import contract
from tests.conftest import ROOT
from tests.jobs.conftest import lay_out

JOBS = ROOT / "plugins/sagewind/jobs"
MODULES = sorted(JOBS.rglob("*.py"))
HEAVY = ("pandas", "sklearn", "scipy", "xgboost", "pyarrow", "joblib")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(JOBS).as_posix())
def test_is_python_3_10_and_imports_nothing_else_of_ours(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [name for name in imported if name.split(".")[0] in ("include", "sagewind", "tests", "dags")]
    assert all(name.startswith(("sagewind.jobs", "sagewind.facts")) for name in ours)
    if path.name in ("train.py", "serve.py"):
        assert ours == [], "packed flat, without the package"


@pytest.mark.parametrize(
    ("program", "absent"), [("prepare", (*HEAVY, "numpy")), ("evaluate", HEAVY), ("monitor", HEAVY)]
)
def test_starting_a_program_imports_nothing_heavy(program, absent, python, tmp_path) -> None:
    code = f"import sys, sagewind.jobs.{program}; print([name for name in {absent!r} if name in sys.modules])"
    done = python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT / "plugins"))
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_code_runs_from_the_input_that_carries_it(python, container, tmp_path) -> None:
    code = lay_out(container.input("code"))
    container.configure()
    container.raw("a,target\n" + "".join(f"{number},{number % 2}\n" for number in range(40)))
    done = python(
        "-m", "sagewind.jobs.prepare", cwd=tmp_path, PYTHONPATH=str(code), **{contract.BASE_DIR: str(tmp_path)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "40 rows in, 40 out" in done.stdout
    assert (container.output("schema") / "schema.json").exists()


def test_a_users_error_is_one_sentence_on_stderr_and_in_the_message(python, container, tmp_path) -> None:
    done = python(
        "-m",
        "sagewind.jobs.prepare",
        cwd=tmp_path,
        PYTHONPATH=str(ROOT / "plugins"),
        **{contract.BASE_DIR: str(tmp_path)},
    )
    assert done.returncode == 1
    assert done.stderr.strip() == container.message()
    assert done.stderr.count("\n") == 1
    assert "job.json" in done.stderr


def test_a_defect_keeps_its_traceback_and_fills_the_message(container, capsys) -> None:
    from sagewind.jobs.job import run

    def broken() -> None:
        raise ZeroDivisionError("by design")

    assert run(broken) == 1
    assert "Traceback" in capsys.readouterr().err
    assert container.message().endswith("failed: ZeroDivisionError: by design")


def test_paths_below_opt_ml_move_with_the_base(container, tmp_path) -> None:
    assert contract.resolve("/opt/ml/processing/output") == tmp_path / "processing" / "output"
    assert contract.resolve("/opt/mlx/data") == Path("/opt/mlx/data")

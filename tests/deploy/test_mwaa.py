"""What `make mwaa` writes: where MWAA finds it, the same bytes for the same inputs, one sentence for what is wrong."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from sagewind.command import mwaa
from sagewind.command.main import main
from sagewind.facts.version import VERSION
from sagewind.pipeline.project import nearest

WHEEL = f"sagewind-{VERSION}-py3-none-any.whl"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project, with what must not leave it."""
    home = tmp_path / "project"
    for name, text in {
        "dags/churn.py": "dag",
        "dags/__pycache__/churn.pyc": "cache",
        "dags/.env": "secret",
        "include/models/churn.yaml": "name: churn",
        "include/scripts/train.py": "script",
        "include/.git/config": "hidden",
    }.items():
        put(home / name, text)
    return home


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return put(tmp_path / WHEEL, "wheel")


def put(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def packed(out: Path) -> list[str]:
    with zipfile.ZipFile(out / "plugins.zip") as archive:
        return archive.namelist()


def test_the_project_is_found_from_a_dag_file(project: Path, wheel: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mwaa.write(project, wheel, out)
    assert sorted(files(out)) == [
        "dags/.airflowignore",
        "dags/churn.py",
        "dags/include/models/churn.yaml",
        "dags/include/scripts/train.py",
        "plugins.zip",
        "requirements.txt",
    ]
    assert nearest(out / "dags/churn.py") == out / "dags"


def test_the_wheel_is_in_the_zip_and_installed_from_where_it_is_unzipped(
    project: Path, wheel: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    mwaa.write(project, wheel, out)
    assert packed(out) == [WHEEL]
    assert (out / "requirements.txt").read_text() == f"sagewind[data] @ file:///usr/local/airflow/plugins/{WHEEL}\n"


def test_ignored_files_of_the_project_stay_ignored(project: Path, wheel: Path, tmp_path: Path) -> None:
    put(project / "dags/.airflowignore", "drafts/")
    mwaa.write(project, wheel, tmp_path / "out")
    assert (tmp_path / "out/dags/.airflowignore").read_text() == "drafts/\ninclude/\n"


def test_the_same_inputs_give_the_same_bytes(
    project: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(project / "plugins/b.py", "b"), put(project / "plugins/a.py", "a")
    mwaa.write(project, wheel, tmp_path / "first")
    for path in [wheel, *project.rglob("*.py")]:
        os.utime(path, (1e9, 1e9))
    monkeypatch.setattr(Path, "iterdir", lambda self, real=Path.iterdir: iter([*real(self)][::-1]))
    mwaa.write(project, wheel, tmp_path / "second")
    assert files(tmp_path / "first") == files(tmp_path / "second")


def test_what_an_earlier_call_wrote_is_replaced(project: Path, wheel: Path, tmp_path: Path) -> None:
    mwaa.write(project, wheel, tmp_path / "out")
    (project / "dags/churn.py").rename(project / "dags/renamed.py")
    mwaa.write(project, wheel, tmp_path / "out")
    assert "dags/renamed.py" in files(tmp_path / "out")
    assert "dags/churn.py" not in files(tmp_path / "out")


def test_plugins_of_the_project_go_along_and_the_product_only_as_a_wheel(
    project: Path, wheel: Path, tmp_path: Path
) -> None:
    for name in ("mine.py", "own/deep.py", "own/__pycache__/deep.pyc", "sagewind/plugin.py", "sagewind_plugin.py"):
        put(project / "plugins" / name, name)
    mwaa.write(project, wheel, tmp_path / "out")
    assert packed(tmp_path / "out") == ["mine.py", "own/deep.py", WHEEL]


def test_further_requirements_stand_below_ours(project: Path, wheel: Path, tmp_path: Path) -> None:
    mwaa.write(project, wheel, tmp_path / "out", requirements=put(tmp_path / "more.txt", "shap\nfastavro"))
    assert (tmp_path / "out/requirements.txt").read_text().splitlines()[1:] == ["shap", "fastavro"]


def test_without_internet_all_wheels_are_in_the_zip_and_no_index_is_asked(
    project: Path, wheel: Path, tmp_path: Path
) -> None:
    pandas = "pandas-3.0.5-cp312-cp312-manylinux_2_28_x86_64.whl"
    put(tmp_path / "wheels" / pandas, "wheel")
    mwaa.write(project, wheel, tmp_path / "out", offline=tmp_path / "wheels")
    assert packed(tmp_path / "out") == [pandas, WHEEL]
    lines = (tmp_path / "out/requirements.txt").read_text().splitlines()
    assert lines[:2] == ["--no-index", "--find-links /usr/local/airflow/plugins"]


def test_mwaas_own_constraints_stay_in_force(project: Path, wheel: Path, tmp_path: Path) -> None:
    """MWAA adds its constraints unless a line holds one of these texts, be it a comment."""
    mwaa.write(project, wheel, tmp_path / "out")
    text = (tmp_path / "out/requirements.txt").read_text()
    assert "-c " not in text
    assert "--constraint " not in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda home: (home / "dags").rename(home / "jobs"), "has no folder dags"),
        (lambda home: put(home / "dags/include/x.py", ""), "give it another name"),
        (lambda home: (home.parent / WHEEL).unlink(), "is no wheel of sagewind"),
        (lambda home: put(home.parent / "out/notes.txt", ""), "holds notes.txt, which this command did not write"),
        (lambda home: (home.parent / "wheels").mkdir(), "holds no wheel"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(
    project: Path, wheel: Path, tmp_path: Path, change, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project)
    arguments = ["mwaa", "--project", str(project), "--wheel", str(wheel), "--out", str(tmp_path / "out")]
    if (tmp_path / "wheels").exists():
        arguments += ["--offline", str(tmp_path / "wheels")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out/plugins.zip").exists()


def test_the_wheel_that_the_project_brings_along_is_taken(project: Path, tmp_path: Path) -> None:
    put(project / "wheels" / WHEEL, "wheel")
    mwaa.write(project, None, tmp_path / "out")
    assert packed(tmp_path / "out") == [WHEEL]


def test_the_command_says_what_to_do_next(
    project: Path, wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mwaa", "--project", str(project), "--wheel", str(wheel), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert f"aws s3 sync {tmp_path / 'out'}/dags s3://BUCKET/dags" in said
    assert len(said.splitlines()) < 24

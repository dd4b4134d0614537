"""`make model`: a model that is valid from its first second, and one sentence for a name that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sagewind.pipeline import load
from sagewind.pipeline.spec import ModelSpec
from tests.conftest import ROOT
from tests.models import load_model, model_names
from tools import new_model


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one model."""
    for folder in ("include/models", "dags"):
        (tmp_path / folder).mkdir(parents=True)
    assert new_model.main(["first"], tmp_path) == 0
    return tmp_path


def test_the_new_model_is_valid(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new_model.main(["second"], project) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote include/models/second.yaml",
        "wrote dags/second.py",
        "next: make run MODEL=second",
    ]
    assert load_model("second", project / "include/models").name == "second"
    compile((project / "dags/second.py").read_text(), "second.py", "exec")


def test_every_commented_line_of_the_template_is_a_key_that_exists() -> None:
    """Uncomment all optional lines: the template must not advertise what the loader refuses."""
    lines = new_model.TEMPLATE.read_text().replace("@NAME@", "first").splitlines()[2:]
    text = "\n".join(line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line for line in lines)
    content = yaml.safe_load(text)
    del content["data"]["columns"], content["data"]["drop"]  # these name columns of another data set
    ModelSpec.model_validate(content)


@pytest.mark.parametrize("name", ["", "Churn", "9lives", "a b", "../x", "far-too-long-name", "x;reboot"])
def test_a_bad_name_is_one_sentence(project: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert new_model.main([name], project) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"make model: NAME is {name!r}: ")
    assert error.count("\n") == 1
    assert load.model_names(project / "include/models") == ["first"]


@pytest.mark.parametrize("there", ["include/models/second.yaml", "dags/second.py"])
def test_an_existing_file_is_never_touched(project: Path, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    (project / there).write_text("mine")
    assert new_model.main(["second"], project) == 1
    assert capsys.readouterr().err == f"make model: {there} exists: choose another name, or edit that file.\n"
    both = [project / "include/models/second.yaml", project / "dags/second.py"]
    assert [path.read_text() for path in both if path.exists()] == ["mine"]


@pytest.mark.parametrize("model", model_names())
def test_the_projects_own_dag_files_are_what_make_model_writes(model: str) -> None:
    assert (ROOT / "dags" / f"{model}.py").read_text() == new_model.dag_file(model)

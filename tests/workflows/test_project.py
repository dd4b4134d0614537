"""Which project a DAG file belongs to."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from sagewind import settings
from sagewind.pipeline.errors import ModelFileError
from tests.conftest import ROOT

VARIABLE = settings.PREFIX + "PROJECT"


def project(folder: Path, description: str) -> Path:
    """A project whose model file tells by its description which one it is; returns its DAG file."""
    (folder / "include/models").mkdir(parents=True)
    (folder / "dags/team").mkdir(parents=True)
    text = (ROOT / "include/models/tumor.yaml").read_text()
    (folder / "include/models/tumor.yaml").write_text(text.replace("Is a breast tumour benign", description))
    return Path(shutil.copy(ROOT / "dags/tumor.py", folder / "dags/team/tumor.py"))


def described(file: Path) -> str:
    found: dict[str, Any] = runpy.run_path(str(file))
    return str(found["tumor_training"].description).split(",")[0]


def test_it_is_the_nearest_folder_above_the_dag_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer, inner = project(tmp_path, "outer"), project(tmp_path / "dags/inner", "inner")
    monkeypatch.chdir(ROOT)  # where the process runs does not count
    assert (described(outer), described(inner)) == ("outer", "inner")


def test_the_setting_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = project(tmp_path / "one", "one")
    project(tmp_path / "two", "two")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "two"))
    assert described(file) == "two"


@pytest.mark.parametrize("written", ["relative", "/not/there"])
def test_a_setting_that_is_no_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv(VARIABLE, written)
    with pytest.raises(ValueError, match=rf"project is '{written}': write the whole path of a folder that is there"):
        described(project(tmp_path, "one"))


def test_a_dag_file_outside_of_a_project_is_an_import_error(tmp_path: Path) -> None:
    file = Path(shutil.copy(ROOT / "dags/tumor.py", tmp_path))
    with pytest.raises(ModelFileError, match=rf"no folder above the DAG file {file} holds include/models: put the DAG"):
        described(file)

"""How Airflow finds the plugin: from the wheel, a plugins folder, both, and a folder that lost its ignore file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.wheel.conftest import Run

#: Which plugins Airflow loads, and what it says of those that it cannot.
PROGRAM = """
import json, statistics, sys
from airflow import plugins_manager
plugins = [(p.name, type(p).__module__, str(p.source)) for p in plugins_manager._get_plugins()[0]]
print(json.dumps({
    "plugins": [one for one in plugins if one[0] == "sagewind"],
    "errors": plugins_manager.get_import_errors(),
    "statistics": hasattr(sys.modules["statistics"], "harmonic_mean"),
}))
"""
MISSING = "as the file .airflowignore in its folder is missing: copy the folder with its hidden files"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plugins folder with the product."""
    return shutil.copytree(ROOT / "plugins", tmp_path / "plugins", ignore=shutil.ignore_patterns("__pycache__"))


def loaded(python: Run, folder: Path, **variables: str) -> dict[str, Any]:
    done = python("-c", PROGRAM, AIRFLOW__CORE__PLUGINS_FOLDER=str(folder), **variables)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_wheel_and_plugins_folder_together_are_one_plugin(python: Run, folder: Path, syntax: str) -> None:
    found = loaded(python, folder, AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX=syntax)
    assert found["errors"] == {}
    ((_, module, source),) = found["plugins"]
    assert module == "sagewind.plugin"
    assert source.startswith("sagewind==")


def test_the_wheel_alone_is_one_plugin(python: Run, tmp_path: Path) -> None:
    found = loaded(python, tmp_path / "nothing")
    assert (len(found["plugins"]), found["errors"]) == (1, {})


@pytest.mark.parametrize("syntax", ["glob", "regexp"])
def test_a_plugins_folder_alone_is_one_plugin(bare: Run, folder: Path, syntax: str) -> None:
    found = loaded(bare, folder, AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX=syntax)
    assert found["errors"] == {}
    assert found["plugins"] == [["sagewind", "sagewind.plugin", "$PLUGINS_FOLDER/sagewind_plugin.py"]]


@pytest.mark.parametrize("installed", [True, False])
def test_a_folder_that_lost_its_ignore_file_is_an_import_error(
    python: Run, bare: Run, folder: Path, installed: bool
) -> None:
    (folder / "sagewind/.airflowignore").unlink()
    found = loaded(python if installed else bare, folder)
    assert any(name.endswith("plugin.py") and MISSING in text for name, text in found["errors"].items()), found
    assert len(found["plugins"]) == 1
    assert found["statistics"], "no module of ours has taken the place of one of Python's"

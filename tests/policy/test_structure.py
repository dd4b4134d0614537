"""The drawn import check: circles and climbs are found, none is there, and the picture is today's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tools import structure

FLOORS = (("store",), ("jobs",), ("resources",))
FILES = {
    "store.py": "import json\n",
    "jobs/run.py": "from localaws import store\n",
    "resources/training.py": "from localaws.jobs.run import x\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An endpoint of three rooms that keeps the rules."""
    monkeypatch.setattr(structure, "FLOORS", FLOORS)
    for path, text in FILES.items():
        write(tmp_path, path, text)
    return tmp_path


def write(project: Path, path: str, text: str) -> None:
    file = project / structure.LOCALAWS / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def offences(project: Path) -> list[str]:
    return [offence.message for offence in structure.check(project)]


def test_the_project_keeps_the_rules() -> None:
    assert [str(offence) for offence in structure.check(ROOT)] == []


def test_the_page_is_not_stale() -> None:
    assert structure.PAGE.read_text(encoding="utf-8") == structure.render(ROOT), "run `make structure-page`"


def test_rules_that_are_kept(project: Path) -> None:
    assert offences(project) == []


@pytest.mark.parametrize(
    "text",
    [
        "from localaws.resources import training\n",
        "def f():\n    import localaws.resources.training\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from localaws.resources.training import x\n",
        "import importlib\nimportlib.import_module('localaws.resources.training')\n",
    ],
    ids=["plain", "lazy", "typing", "by name"],
)
def test_a_climb_is_found_wherever_the_import_stands(text: str, project: Path) -> None:
    write(project, "jobs/climbs.py", text)
    assert offences(project) == ["imports resources, which stands on floor 3, not below 2"]


def test_a_circle_inside_a_room_is_found(project: Path) -> None:
    write(project, "jobs/a.py", "from localaws.jobs import b\n")
    write(project, "jobs/b.py", "def f():\n    from localaws.jobs.a import x\n")
    home = f"{structure.LOCALAWS}/jobs"
    assert offences(project) == [f"imports in a circle: {home}/a.py, {home}/b.py"]


def test_every_room_has_a_floor_and_every_floor_a_room(project: Path) -> None:
    write(project, "attic.py", "")
    (project / structure.LOCALAWS / "store.py").unlink()
    assert offences(project) == [
        "stands on no floor: mend FLOORS in tools/structure.py",
        "does not exist any more: mend FLOORS in tools/structure.py",
    ]


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")), min_size=6, max_size=6))
def test_two_files_are_in_one_circle_if_each_reaches_the_other(graph: dict[str, set[str]]) -> None:
    def reaches(start: str) -> set[str]:
        found: set[str] = set()
        for _ in graph:
            found |= {below for node in found | {start} for below in graph[node]}
        return found

    together = {(a, b) for a in graph for b in graph if a != b and b in reaches(a) and a in reaches(b)}
    assert {(a, b) for circle in structure.circles(graph) for a in circle for b in circle if a != b} == together

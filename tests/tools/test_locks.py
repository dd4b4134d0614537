"""The lock of a package is a part of the project's: one version of everything in the whole repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))


def locked(file: Path) -> dict[str, set[str]]:
    """Package -> its versions (one for each range of Pythons, if there are several)."""
    found: dict[str, set[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([\w.-]+)==([^ ;]+)", line):
            found.setdefault(match[1], set()).add(match[2])
    return found


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_packages_lock_has_the_projects_versions(package: Path) -> None:
    project, own = locked(ROOT / "constraints.txt"), locked(package / "constraints.txt")
    assert own
    assert {name: versions for name, versions in own.items() if not versions <= project.get(name, set())} == {}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_packages_lock_has_what_it_requires(package: Path) -> None:
    required = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in required}  # type: ignore[index]
    assert names - locked(package / "constraints.txt").keys() == set()
    assert "apache-airflow" not in locked(package / "constraints.txt")

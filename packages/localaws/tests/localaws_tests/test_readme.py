"""The documents of the package: their links lead somewhere, and the README counts what the coverage page counts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localaws_tests.conftest import PACKAGE

PAGES = [*PACKAGE.glob("*.md"), *(PACKAGE / "docs").rglob("*.md")]


def anchors(page: Path) -> set[str]:
    """The names that headings of a page have, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(PACKAGE).as_posix() for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]*)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_readme_counts_the_operations_that_are_executed() -> None:
    coverage = (PACKAGE / "docs/coverage.md").read_text(encoding="utf-8")
    readme = (PACKAGE / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"(\d+) operations", readme) == re.findall(r"^(\d+) executed,", coverage, re.M)

"""Names of tags."""

from __future__ import annotations

from sagewind.facts.tags import RUN, full, ours


def test_ours_are_found_among_all_by_their_prefix() -> None:
    assert full(RUN) == "sagewind:run"
    assert ours({"sagewind:run": "r", "team": "a", "other:sagewind:run": "x"}) == {RUN: "r"}

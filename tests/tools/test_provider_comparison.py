"""The page of the comparison is what the kept results say, and these belong to the provider that is installed."""

from __future__ import annotations

import importlib.metadata
import json

from tests.plugins.matrix import CELLS
from tools import provider_comparison

RESULTS = json.loads(provider_comparison.RESULTS.read_text(encoding="utf-8"))


def test_the_page_is_what_the_results_say() -> None:
    page = provider_comparison.PAGE.read_text(encoding="utf-8")
    assert page == provider_comparison.render(RESULTS), "run `make provider-page`"


def test_the_results_are_of_this_provider_and_of_every_cell_of_the_matrix() -> None:
    installed = importlib.metadata.version("apache-airflow-providers-amazon")
    assert RESULTS["provider"] == installed, "run `make provider-page`"
    found = [(row["ending"], row["kind"]) for row in RESULTS["jobs"]]
    assert found == [(ending.name, kind) for ending, kind in CELLS], "run `make provider-page`"


def test_ours_takes_no_bad_end_for_a_good_one_and_no_good_end_for_a_bad_one() -> None:
    for row in RESULTS["jobs"]:
        good = provider_comparison.completes(row["ending"])
        for column in ("Sagewind operator", "Sagewind sensor"):
            assert (row[column] == "success") is good, row

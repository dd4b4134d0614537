"""Statistics and constraints equal to AWS's own for the same file, to the last bit.

Not compared is the order of a column's categories: AWS's comes from a hash map.
"""

from __future__ import annotations

import csv
import json

import pytest

from include.jobs import constraints
from include.jobs.profile import ColumnProfile


@pytest.fixture(scope="module")
def housing(shared_data):
    folder = shared_data / "model-monitor" / "housing"
    with (folder / "train_data.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    columns = zip(*rows, strict=True)
    profiles = [ColumnProfile.of(name, cells) for name, cells in zip(header, columns, strict=True)]
    documents = [json.loads((folder / name).read_text()) for name in ("statistics.json", "constraints.json")]
    return profiles, *documents


def sorted_lists(value, keys=("buckets", "domains")):
    """The same document with the lists of categories sorted."""
    if isinstance(value, dict):
        return {
            key: sorted(entry, key=str) if key in keys and "lower_bound" not in str(entry) else sorted_lists(entry)
            for key, entry in value.items()
        }
    return [sorted_lists(entry) for entry in value] if isinstance(value, list) else value


def test_statistics(housing) -> None:
    profiles, expected, _ = housing
    assert len(profiles) == len(expected["features"]) == 14
    for profile, feature in zip(profiles, expected["features"], strict=True):
        # As text, so that 1 and 1.0 differ and the order of the keys counts.
        assert json.dumps(sorted_lists(profile.statistics())) == json.dumps(sorted_lists(feature))


def test_constraints(housing) -> None:
    profiles, _, expected = housing
    assert json.dumps(sorted_lists(constraints.suggest(profiles))) == json.dumps(sorted_lists(expected))

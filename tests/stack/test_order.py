"""What a user asks of a run, checked before anything is started."""

from __future__ import annotations

import pytest

from include.stack.errors import StackError
from include.stack.rehearsal import Order


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/data/rows.csv", "has the scheme '': use one of sklearn://"),
        ("file://rows.csv", "is not an absolute path: write file:///data/file.csv"),
        ("sklearn://nothing", "is not in scikit-learn"),
    ],
)
def test_a_source_that_cannot_be_read_stops_before_airflow_starts(source: str, says: str) -> None:
    with pytest.raises(StackError, match=says):
        Order("tumor", source=source).validate()


def test_a_model_file_and_a_source_that_can_be_read_pass() -> None:
    Order("tumor", source="file:///data/rows.csv").validate()
    Order("tumor").validate()

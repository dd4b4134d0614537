"""Values picked out of what a model answered."""

from __future__ import annotations

import pytest

from sagewind.jobs.analysis import payload


@pytest.mark.parametrize(
    "document", [{"predictions": [0.9, 0.2]}, {"predictions": [{"score": 0.9}, {"score": 0.2}]}], ids=str
)
def test_scores_in_json(document) -> None:
    assert payload.scores(payload.DecodedPayload(documents=[document])) == [0.9, 0.2]

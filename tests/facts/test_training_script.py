"""train.py is packed without our package: what it repeats of the facts is the same."""

from __future__ import annotations

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from sagewind.facts.metrics import PROBLEMS
from sagewind.jobs import train
from sagewind.pipeline.requests.training import SCRIPT_METRICS


def test_it_knows_the_problems() -> None:
    assert ("auto", *PROBLEMS) == train.PROBLEMS


def test_requests_read_the_metrics_that_it_prints() -> None:
    rows, labels = np.zeros((4, 1)), np.array([0, 1, 0, 1])
    printed: set[str] = set()
    for problem in PROBLEMS:
        model = DummyRegressor() if problem == "regression" else DummyClassifier()
        printed |= set(train.measure(model.fit(rows, labels), problem, rows, labels))
    assert {f"validation:{name}" for name in printed} == set(SCRIPT_METRICS)

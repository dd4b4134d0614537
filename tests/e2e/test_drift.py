"""`make drift-demo` as a user runs it, on people made up here: categories, an age, and numbers."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout
from tools.stack.drift_rows import shift
from tools.stack.errors import StackError

JOBS = ("farmer", "clerk", "nurse", "smith")


def people(path: Path, rows: int = 1600) -> None:
    """Who earns much: the older, and some jobs more than others. The noise keeps it from being trivial."""
    chance = random.Random(11)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "hours", "capital", "job", "rich"])
        for _ in range(rows):
            age, job = chance.randint(18, 80), chance.choices(JOBS, weights=(5, 3, 2, 1))[0]
            capital = chance.lognormvariate(8, 1)
            score = (age - 45) / 10 + JOBS.index(job) + chance.gauss(0, 0.7)
            writer.writerow([age, chance.randint(10, 60), f"{capital:.2f}", job, "yes" if score > 1 else "no"])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_shifted_columns_are_named_and_the_drift_event_starts_the_training(
    make_checkout: Callable[[], Checkout], tmp_path: Path
) -> None:
    checkout = make_checkout()
    people(tmp_path / "people.csv")
    checkout.add_model(
        "people",
        data={"source": (tmp_path / "people.csv").as_uri(), "target": "rich", "positive": "yes"},
        train={
            "algorithm": "xgboost",
            "hyperparameters": {"objective": "binary:logistic", "num_round": 20, "max_depth": 3},
        },
        evaluate={"gates": {"auc": ">= 0.8"}},
        monitor={"on_violation": "retrain"},
    )
    reports = tmp_path / "reports"
    done = checkout.stack("drift", "--model", "people", "--state", str(tmp_path / "state"), "--reports", str(reports))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "normal traffic:  ok" in done.stdout
    assert done.stdout.count(" named\n") == 3
    assert "NOT NAMED" not in done.stdout
    assert "drift event:     published; it started asset_triggered__" in done.stdout
    page = (reports / "people" / "drift.html").read_text()
    assert "age" in page
    assert "job" in page


def test_every_kind_of_shift_is_in_the_rows_and_said() -> None:
    chance = random.Random(3)
    rows = [
        [str(float(chance.randint(18, 80))), chance.choice(["0.0", "0.0", "1.0"]), str(chance.random())]
        for _ in range(200)
    ]
    before = [list(row) for row in rows]
    features = [
        {"name": "age", "kind": "numeric"},
        {"name": "job", "kind": "categorical"},
        {"name": "capital", "kind": "numeric"},
    ]
    done = shift(rows, features)
    assert set(done) == {"age", "job", "capital"}
    assert all(float(new[0]) == float(old[0]) + 15 for new, old in zip(rows, before, strict=True))
    assert {new[1] for new, old in zip(rows, before, strict=True) if old[1] == "0.0"} == {"-1.0"}
    assert {new[1] for new, old in zip(rows, before, strict=True) if old[1] == "1.0"} == {"1.0"}
    assert sum(row[2] == "" for row in rows) == 6


def test_a_model_with_too_few_numbers_is_refused() -> None:
    with pytest.raises(StackError, match="1 columns of the model hold varying numbers; the demonstration needs two"):
        shift([[str(i)] for i in range(5)], [{"name": "a", "kind": "numeric"}])

"""Gates: what they mean, and that nothing unmeasured ever passes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagewind.pipeline import gates
from sagewind.pipeline.errors import GateError

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(numbers, numbers)
def test_rules_are_pythons_comparisons(threshold: float, value: float) -> None:
    for sign, expected in ((">=", value >= threshold), (">", value > threshold), ("<", value < threshold)):
        assert gates.parse("auc", f"{sign} {threshold!r}").met_by(value) is expected


@given(numbers)
def test_the_rule_of_a_gate_reads_back(threshold: float) -> None:
    gate = gates.Gate("auc", "<=", threshold)
    assert gates.parse("auc", gate.rule) == gate


@pytest.mark.parametrize("rule", ["", "0.9", ">= ", "=> 0.9", ">= high", ">= 0.9 and < 1", "== 1"])
def test_anything_else_is_refused(rule: str) -> None:
    with pytest.raises(GateError, match="write a comparison and a number"):
        gates.parse("auc", rule)


def test_nan_meets_no_gate() -> None:
    for sign in (">=", ">", "<=", "<"):
        assert not gates.parse("auc", f"{sign} 0").met_by(math.nan)


@pytest.mark.parametrize("value", [None, "0.99", True, {"value": 0.99}])
def test_an_unmeasured_metric_is_an_error_and_no_pass(value: object) -> None:
    with pytest.raises(GateError, match="'auc' cannot be judged"):
        gates.judge({"auc": ">= 0.5"}, {"auc": value, "f1": 0.9})


def test_judging_keeps_the_order_and_says_what_was_measured() -> None:
    outcomes = gates.judge({"auc": ">= 0.98", "logloss": "< 0.1"}, {"logloss": 0.2, "auc": 0.99})
    assert [outcome.record() for outcome in outcomes] == [
        {"metric": "auc", "rule": ">= 0.98", "value": 0.99, "passed": True},
        {"metric": "logloss", "rule": "< 0.1", "value": 0.2, "passed": False},
    ]
    assert outcomes[1].sentence() == "logloss is 0.2, required < 0.1"


@pytest.mark.parametrize(
    ("larger", "candidate", "passes"), [(True, 0.89, True), (True, 0.87, False), (False, 0.93, False)]
)
def test_the_champion_may_lead_by_the_tolerance(larger: bool, candidate: float, passes: bool) -> None:
    assert gates.champion_outcome("m", candidate, 0.9, 0.02, larger=larger).passed is passes

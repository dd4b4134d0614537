"""Gates: what they mean, and that nothing unmeasured ever passes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagewind.facts import gates
from sagewind.facts.gates import GateError
from sagewind.facts.metrics import BINARY
from sagewind.jobs import evaluate
from sagewind.jobs.job import UserError

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


unmeasured = st.sampled_from([None, True, False, math.nan, "0.99", {"value": 0.99}, [0.99]])


@given(unmeasured, numbers, st.sampled_from([">=", ">", "<=", "<"]))
def test_what_is_no_number_passes_no_gate_in_the_task_nor_in_the_job(
    value: object, threshold: float, sign: str
) -> None:
    rules = {"auc": f"{sign} {threshold!r}"}
    with pytest.raises(GateError, match="'auc' cannot be judged"):
        gates.judge(rules, {"auc": value})
    with pytest.raises(UserError, match=r"^job\.json: gate 'auc' cannot be judged"):
        evaluate.judged(rules, {"auc": value})


@given(st.dictionaries(st.sampled_from(sorted(BINARY)), numbers, min_size=1), numbers)
def test_the_report_of_the_job_says_what_the_task_decides(metrics: dict[str, float], threshold: float) -> None:
    rules = dict.fromkeys(metrics, f">= {threshold!r}")
    records = [outcome.record() for outcome in gates.judge(rules, metrics)]
    assert evaluate.judged(rules, metrics) == records
    assert [record["passed"] for record in records] == [value >= threshold for value in metrics.values()]


@given(numbers, st.booleans())
def test_a_champion_without_a_number_is_beaten_by_nobody(candidate: float, larger: bool) -> None:
    assert not gates.champion_outcome("auc", candidate, math.nan, 0.1, larger=larger).passed
    assert not gates.champion_outcome("auc", math.nan, candidate, 0.1, larger=larger).passed


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

"""Each rule of the count is broken here once: a count that cannot fail proves nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from tests.faults.calls import Call
from tests.faults.campaign import Result
from tests.faults.counting import Facts, Job, Run, Task, causes, violations
from tests.faults.plan import DECK, deal
from tests.faults.table import table

JOB = Job("training", "plain-train-1", "Completed", "plain_lifecycle", "run-1", "train", 1, "f")
GREEN = Run("run-1", "success", {"train": Task("success", 100, 120), "teardown": Task("success", 130, 131)})
RED = Run(
    "run-1",
    "failed",
    {"train": Task("failed", 100, 120, "no capacity"), "teardown": Task("success", 130, 131)},
)


def call(operation: str, name: str, time: float = 110.0, outcome: str = "ok") -> Call:
    return Call(time, operation, name, {"sagewind:run": "run-1", "sagewind:task": "train"}, outcome)


def facts(*jobs: Job, run: Run = GREEN, calls: tuple[Call, ...] = (), leftovers: tuple[str, ...] = ()) -> Facts:
    creates = [call("CreateTrainingJob", job.name) for job in jobs]
    return Facts([*creates, *calls], list(jobs), [run], list(leftovers))


SECOND = replace(JOB, name="plain-train-2", generation=2)
STOP = call("StopTrainingJob", JOB.name, 115.0)


@pytest.mark.parametrize(
    "kept",
    [
        facts(JOB),
        facts(JOB, calls=(call("CreateTrainingJob", JOB.name, outcome="ResourceInUse"),)),
        facts(replace(JOB, status="Failed"), SECOND),
        facts(replace(JOB, status="Stopped", fingerprint="old"), SECOND, calls=(STOP,)),
        facts(JOB, calls=(call("CreateEndpoint", "e"), call("DeleteEndpoint", "e"))),
        facts(replace(JOB, status="Failed"), run=RED),
        facts(replace(JOB, status="Stopped"), run=RED, calls=(replace(STOP, time=130.5),)),
        facts(JOB, calls=(replace(STOP, outcome="ValidationException"),)),
    ],
)
def test_what_is_right_breaks_no_rule(kept: Facts) -> None:
    assert violations(kept) == []


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (facts(JOB, replace(JOB, name="other")), "(a) run-1/train has 2 jobs of generation 1"),
        (facts(JOB, SECOND), "plain-train-2 was started although plain-train-1 is Completed"),
        (facts(replace(JOB, status="InProgress"), SECOND), "although plain-train-1 is InProgress"),
        (facts(SECOND), "(a) run-1/train has generation 2 without the one before"),
        (facts(JOB, calls=(call("CreateTrainingJob", JOB.name),)), "was created 2 times"),
        (facts(JOB, calls=(call("CreateTrainingJob", "lost"),)), "lost was created and is not listed"),
        (facts(JOB, calls=(STOP,)), "(b) StopTrainingJob of plain-train-1 at 115.0 has no cause"),
        (facts(JOB, run=RED, calls=(replace(STOP, time=105.0),)), "(b) StopTrainingJob"),
        (facts(JOB, run=replace(GREEN, alive=("plain-train-1",))), "(c) run-1 ended as success while plain-train-1"),
        (facts(JOB, leftovers=("model m",)), "(c) left over: model m"),
        (facts(JOB, calls=(call("CreateEndpoint", "e"),)), "(d) endpoint e was created and never deleted"),
        (facts(JOB, run=replace(GREEN, state="running")), "(e) run-1 did not end"),
        (facts(JOB, run=replace(RED, state="success")), "(e) run-1 is a success although train failed"),
        (facts(JOB, run=replace(GREEN, state="failed")), "(e) run-1 failed and no task of it did"),
        (
            facts(JOB, run=replace(RED, tasks={**RED.tasks, "train": Task("failed", 100, 120)})),
            "(e) run-1/train failed and its log says no reason",
        ),
        (
            facts(JOB, run=replace(GREEN, tasks={**GREEN.tasks, "teardown": Task("skipped")})),
            "(e) run-1: its teardown is skipped",
        ),
    ],
)
def test_each_rule_can_be_broken(broken: Facts, sentence: str) -> None:
    found = violations(broken)
    assert any(sentence in line for line in found), found


@pytest.mark.parametrize(
    ("stop", "run", "cause"),
    [
        (replace(STOP, time=131.0), RED, "teardown of a failed run"),
        (replace(STOP, time=121.0), RED, "its task had failed"),
        (replace(STOP, time=110.0), RED, ""),
        (replace(STOP, time=131.0), GREEN, ""),
        (replace(STOP, name="whose"), RED, ""),
    ],
)
def test_causes(stop: Call, run: Run, cause: str) -> None:
    assert causes(facts(JOB, run=run, calls=(stop,))) == [(stop, cause)]


def test_a_seed_deals_the_same_faults_again() -> None:
    assert list(islice(deal(7), 50)) == list(islice(deal(7), 50))
    assert list(islice(deal(7), 50)) != list(islice(deal(8), 50))
    once = [(fault.kind, fault.target, fault.moment) for fault in islice(deal(7), len(DECK))]
    assert sorted(once) == sorted(DECK)


def test_the_table_says_what_was_counted() -> None:
    result = Result(7, list(islice(deal(7), 3)), 1, facts(JOB, calls=(STOP,)), ["(b) a sentence"])
    text = table(result)
    for part in ("all 3", "1 success", "1 generation 1", "1 NO CAUSE", "(b) a sentence", "--faults 3 --seed 7"):
        assert part in text

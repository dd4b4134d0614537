"""Every ending of every kind of job, seen by everything of ours that waits for jobs; `matrix` holds the table."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowFailException

from sagewind import errors
from sagewind.endings import EndingCause
from sagewind.retrying import MOST_RETRIES
from tests.plugins.matrix import AGAIN, CELLS, NEVER, OPERATORS, SAID, WAYS, Ending, Outcome, Stage, hurry, set_stage


@pytest.fixture(autouse=True)
def connection() -> None:
    """No endpoint is started: the clients are the scripted ones."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("ending", "kind"), CELLS, ids=[f"{ending.name}-{kind}" for ending, kind in CELLS])
def test_matrix(
    ending: Ending,
    kind: str,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    stage = set_stage(ending, kind, way, monkeypatch)
    outcome = WAYS[way](stage)
    check = check_operator if way in OPERATORS else check_sensor
    check(ending, outcome, stage, way)
    expected = ending.sensor_says if way not in OPERATORS and ending.sensor_says else ending.says
    told = f"{capsys.readouterr().out}\n{caplog.text}\n{outcome.raised}"
    # A sensor watches somebody else's job: that job's log is not its own.
    missing = [words for words in expected if words not in told and not (words in SAID and way not in OPERATORS)]
    assert missing == [], told


def check_operator(ending: Ending, outcome: Outcome, stage: Stage, way: str) -> None:
    assert len(stage.world.named("Create")) == (2 if way == "mapped operator" else 1)
    assert stage.world.named("Stop", "Delete") == []
    if ending.good:
        assert outcome.record is not None
        assert outcome.record["status"] == "Completed"
        return
    assert outcome.raised is not None
    assert type(outcome.raised) is ending.raises
    if ending.cause is not EndingCause.DISAPPEARED:  # of which there is no record
        assert outcome.xcoms["job"]["cause"] == ending.cause
    # AirflowFailException is never tried again, and no policy is asked about it.
    assert isinstance(outcome.raised, AirflowFailException) is (ending.retry == NEVER)
    if ending.retry == AGAIN:
        decision = stage.operator().retry_policy.evaluate(outcome.raised, 1, MOST_RETRIES, stage.task.context)
        assert decision.action is RetryAction.RETRY
        assert decision.retry_delay == timedelta(seconds=ending.pause)


def check_sensor(ending: Ending, outcome: Outcome, stage: Stage, way: str) -> None:
    assert len(stage.world.named("Create")) == 1  # the one that the test itself made
    assert stage.world.named("Stop", "AddTags", "Delete") == []
    assert outcome.failed is not ending.good
    if ending.good:
        assert outcome.record is not None
        assert outcome.record["status"] == "Completed"
    elif ending.cause is not EndingCause.DISAPPEARED:
        assert outcome.xcoms["return_value"]["cause"] == ending.cause
    if outcome.raised is not None:
        assert type(outcome.raised) is errors.TaskRefused

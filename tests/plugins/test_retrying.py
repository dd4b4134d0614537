"""Which ends of a job task are tried again, and after what pause."""

from __future__ import annotations

import time

import pytest
from airflow.sdk.definitions.retry_policy import RetryAction
from hypothesis import given
from hypothesis import strategies as st

from sagewind.errors import JobLost, NoCapacity, ResourceBusy
from sagewind.retrying import MOST_RETRIES, STATE_KEY, JobRetryPolicy, pause_after
from sagewind.settings import CAPACITY_FIRST, CAPACITY_LONGEST, RETRY_DELAY, RETRY_DELAY_LONGEST

POLICY = JobRetryPolicy(capacity_hours=12, others=3)


def test_o16_capacity_is_awaited_with_growing_pauses_up_to_the_deadline() -> None:
    pauses = []
    for times in range(1, 8):
        decision = POLICY.evaluate(NoCapacity("none", times, time.time() - 60), times, MOST_RETRIES)
        assert decision.action is RetryAction.RETRY
        assert decision.retry_delay is not None
        pauses.append(decision.retry_delay.total_seconds())
    assert pauses == [60, 120, 240, 480, 960, 1800, 1800]
    late = POLICY.evaluate(NoCapacity("none", 9, time.time() - 12.1 * 3600), 9, MOST_RETRIES)
    assert late.action is RetryAction.FAIL
    assert "the limit is 12" in str(late.reason)


def test_the_retries_suffice_for_every_pause_up_to_the_deadline() -> None:
    pauses = [pause_after(times, CAPACITY_FIRST, CAPACITY_LONGEST) for times in range(1, MOST_RETRIES)]
    assert sum(pauses) > 24 * 3600


@given(st.integers(1, 10_000))
def test_pauses_never_shrink_and_never_exceed_the_longest(times: int) -> None:
    for first, longest in ((CAPACITY_FIRST, CAPACITY_LONGEST), (RETRY_DELAY, RETRY_DELAY_LONGEST)):
        pauses = [pause_after(number, first, longest) for number in (times, times + 1)]
        assert 0 < pauses[0] <= pauses[1] <= longest.read()


@pytest.mark.parametrize(("times", "action"), [(1, RetryAction.RETRY), (3, RetryAction.RETRY), (4, RetryAction.FAIL)])
def test_o17_what_aws_lost_is_tried_again_a_few_times(times: int, action: RetryAction) -> None:
    assert POLICY.evaluate(JobLost("lost", times), 20, MOST_RETRIES).action is action


@pytest.mark.parametrize(
    ("try_number", "max_tries", "no_capacity", "action"),
    [
        (1, MOST_RETRIES, 0, RetryAction.RETRY),
        (4, MOST_RETRIES, 0, RetryAction.FAIL),
        (8, MOST_RETRIES, 5, RetryAction.RETRY),  # five of the tries waited for machines
        (8, MOST_RETRIES, 4, RetryAction.FAIL),
        (9, MOST_RETRIES + 8, 0, RetryAction.RETRY),  # cleared after eight tries
    ],
)
def test_other_faults_do_not_live_off_the_retries_for_capacity(try_number, max_tries, no_capacity, action) -> None:
    context = {"task_state_store": {STATE_KEY: {"no_capacity": no_capacity}}}
    assert POLICY.evaluate(ResourceBusy("busy"), try_number, max_tries, context).action is action

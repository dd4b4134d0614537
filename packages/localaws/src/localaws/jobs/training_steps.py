"""A training job's status and every step of it with times: the state tables and the only writers to them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.jobs import execution
from localaws.jobs.outcome import AttemptOutcome
from localaws.kinds import TRAINING_JOB
from localaws.states import JOB_TRANSITIONS, Transitions

KIND = TRAINING_JOB.word
STEPS = ("Starting", "Downloading", "Training", "Uploading")
ENDS = ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded")
AGAIN = ("Interrupted", "Restarting")  # then from Starting on
SECONDARY = Transitions(
    {
        **{(before, "next"): after for before, after in pairwise(STEPS)},
        **{(step, again): again for step in STEPS for again in AGAIN},
        **{(again, "next"): "Starting" for again in AGAIN},
        **{(step, "stop"): "Stopping" for step in (*STEPS, *AGAIN)},
        **{(step, end): end for step in (*STEPS, *AGAIN, "Stopping") for end in ENDS},
    }
)
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Interrupted": "Training job interrupted: the managed spot instances were taken away",
    "Restarting": "Restarting the training job after an internal error",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds provided",
}
BEHAVIOURS = (
    Behaviour("texts and order of `SecondaryStatusTransitions`", "assumed"),
    Behaviour("time limit: `Stopped`, `MaxRuntimeExceeded`, artifacts kept", "documented", "StoppingCondition"),
    Behaviour("TrainingStartTime is the end of Starting", "assumed"),
)


def first_step(now: float) -> list[dict[str, Any]]:
    """SecondaryStatusTransitions of a job that was just created."""
    return [{"Status": "Starting", "StartTime": now, "StatusMessage": MESSAGES["Starting"]}]


def advanced(steps: list[dict[str, Any]], status: str, now: float) -> list[dict[str, Any]]:
    """The steps with the last one ended and a new one begun; a last status begins and ends at once."""
    ended = [*steps[:-1], {**steps[-1], "EndTime": now}]
    new = {"Status": status, "StartTime": now, "StatusMessage": MESSAGES[status]}
    if status in SECONDARY.terminal:
        new["EndTime"] = now
    return [*ended, new]


def next_step(ctx: Context, name: str, event: str = "next", **changes: Any) -> None:
    """Go on to the next step; a job that is being stopped stays Stopping."""
    with ctx.store.exclusive():
        body = execution.stored(ctx, KIND, name).body
        if body["SecondaryStatus"] != "Stopping":
            status = SECONDARY.next(body["SecondaryStatus"], event)
            steps = advanced(body["SecondaryStatusTransitions"], status, ctx.clock())
            changes |= {"SecondaryStatus": status, "SecondaryStatusTransitions": steps}
        ctx.store.update(KIND, name, **changes)


def begin_stop(ctx: Context, name: str) -> bool:
    """Write that a job is being stopped; False when its status forbids it."""

    def stopping(body: Mapping[str, Any]) -> dict[str, Any]:
        steps = advanced(body["SecondaryStatusTransitions"], "Stopping", ctx.clock())
        return {"SecondaryStatus": "Stopping", "SecondaryStatusTransitions": steps}

    return execution.begin_stop(ctx, KIND, name, stopping)


def finish(ctx: Context, name: str, outcome: AttemptOutcome, held: float | None = None, **changes: Any) -> None:
    """Write a job's end: status, last step, times and reason; `held`: seconds that its instances were held."""
    with ctx.store.exclusive():
        if outcome.secondary == "MaxWaitTimeExceeded":
            begin_stop(ctx, name)
        body, now = execution.stored(ctx, KIND, name).body, ctx.clock()
        status = SECONDARY.next(body["SecondaryStatus"], outcome.secondary)
        changes |= {
            "SecondaryStatus": status,
            "SecondaryStatusTransitions": advanced(body["SecondaryStatusTransitions"], status, now),
            "FailureReason": outcome.reason,
        }
        if start := body.get("TrainingStartTime"):
            seconds = math.ceil(now - start)
            billable = seconds if held is None else min(seconds, math.ceil(held))
            changes |= {
                "TrainingEndTime": now, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": max(1, billable),
            }  # fmt: skip
        ctx.store.transition(KIND, name, JOB_TRANSITIONS, outcome.event, **changes)

"""From the end of a program to the end of its job."""

from __future__ import annotations

from typing import Any

import pytest

from localaws.jobs.outcome import REASON_LENGTH, JobError, ProgramEnd, decide, from_error

SILENT = "AlgorithmError: Please refer to the job's logs for more information, exit code: "


@pytest.mark.parametrize(
    ("ended", "failure", "expected"),
    [
        (ProgramEnd(0, "exit"), "", ("finish", "Completed", None)),
        (ProgramEnd(0, "exit"), "written, but it went well", ("finish", "Completed", None)),
        (ProgramEnd(2, "exit"), "", ("fail", "Failed", f"{SILENT}2")),
        (ProgramEnd(1, "exit"), "  why  ", ("fail", "Failed", "AlgorithmError: why, exit code: 1")),
        (ProgramEnd(137, "exit", 1), "", ("fail", "Failed", f"{SILENT}137")),
        (ProgramEnd(143, "stop"), "why", ("stopped", "Stopped", None)),
        (ProgramEnd(0, "stop"), "", ("stopped", "Stopped", None)),
        (ProgramEnd(137, "limit"), "", ("stopped", "MaxRuntimeExceeded", None)),
        (ProgramEnd(143, "wait"), "", ("stopped", "MaxWaitTimeExceeded", None)),
    ],
)
def test_every_end(ended: ProgramEnd, failure: str, expected: tuple[Any, ...]) -> None:
    outcome = decide(ended, failure)
    assert (outcome.event, outcome.secondary, outcome.reason) == expected
    assert outcome.artifacts == (outcome.event != "fail")


def test_shutdown_is_the_fault_of_the_endpoint() -> None:
    assert (decide(ProgramEnd(143, "shutdown")).reason or "").startswith("InternalServerError: ")


def test_a_long_reason_is_cut_and_keeps_the_exit_code() -> None:
    reason = decide(ProgramEnd(1, "exit"), "x" * 5000).reason or ""
    assert len(reason) == REASON_LENGTH
    assert reason.endswith("x, exit code: 1")
    assert len(from_error(JobError("ClientError", "y" * 5000)).reason or "") == REASON_LENGTH


def test_trouble_is_named_by_its_kind() -> None:
    assert from_error(JobError("CapacityError", "none left")).reason == "CapacityError: none left"

"""What the tests of jobs share: ends of jobs, archives, jobs that wait for a word."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from localaws.engine.spec import ProcessSpec
from localaws.jobs.outcome import ProgramEnd
from localaws.jobs.program import JobProgram, ProgramTimer
from localaws_tests.conftest import log_lines, poll, wait_for

TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"
PROCESSING_LOGS = "/aws/sagemaker/ProcessingJobs"
HANG = "import time\nprint('up', flush=True)\nwhile True: time.sleep(60)"


def finished(sagemaker: Any, name: str) -> dict[str, Any]:
    """The description of a training job that completes or stops."""
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName=name)
    return sagemaker.describe_training_job(TrainingJobName=name)


def failed(sagemaker: Any, name: str) -> dict[str, Any]:
    """The description of a training job that fails."""
    with pytest.raises(WaiterError, match="Failed"):
        wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName=name)
    return sagemaker.describe_training_job(TrainingJobName=name)


def until_line(logs: Any, name: str, line: str, group: str = TRAINING_LOGS) -> None:
    """Wait until the program has written a line: it runs then."""
    poll(lambda: line in log_lines(logs, group, name))


@contextmanager
def timed_from(line: str) -> Iterator[None]:
    """Count the times of programs (limits, faults) from when they have written a line: it comes however slowly."""
    begin, follow = JobProgram.__init__, JobProgram._follow

    def begun(self: JobProgram, ctx: Any, ticket: Any, specs: Sequence[ProcessSpec], faults: Any) -> None:
        written = threading.Event()

        def heard(spec: ProcessSpec) -> ProcessSpec:
            def on_line(found: str) -> None:
                spec.on_line(found)
                if found == line:
                    written.set()

            return replace(spec, on_line=on_line)

        self.written = written  # type: ignore[attr-defined]
        begin(self, ctx, ticket, [heard(spec) for spec in specs], faults)

    def followed(self: JobProgram, timers: list[ProgramTimer]) -> ProgramEnd:
        poll(lambda: self.written.is_set() or not any(p.running() for p in self._processes))  # type: ignore[attr-defined]
        return follow(self, timers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobProgram, "__init__", begun)
        patch.setattr(JobProgram, "_follow", followed)
        yield


def body(s3: Any, uri: str) -> bytes:
    """The bytes of an object."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def unpacked(s3: Any, uri: str) -> dict[str, bytes]:
    """Name and bytes of every file of an archive in S3."""
    with tarfile.open(fileobj=io.BytesIO(body(s3, uri))) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}


def keys(s3: Any, prefix: str, bucket: str = "data") -> list[str]:
    """All keys below a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [o["Key"] for page in pages for o in page.get("Contents", ())]


def statuses(job: dict[str, Any]) -> list[str]:
    """The secondary statuses that a job went through."""
    return [s["Status"] for s in job["SecondaryStatusTransitions"]]


def fault_tag(text: str) -> dict[str, Any]:
    """The Tags member that asks for faults."""
    return {"Tags": [{"Key": "localaws:fault", "Value": text}]}

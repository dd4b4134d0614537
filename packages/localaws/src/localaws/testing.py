"""`localaws` in a process of its own, for tests: its clients, clean accounts, faults, and what its failed jobs said.

It is another process so that nothing that a test does to its own (a frozen clock, a patched `time.sleep`, moto's
`mock_aws`, captured output) reaches the endpoint. It holds one end of a pipe and ends when the other one is gone: it
outlives no test run, however that run ends.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# A test waits for no job that does not listen to SIGTERM.
QUICK = ("--grace", "2", "--time", "shutdown-grace=1")
ROLE = "arn:aws:iam::123456789012:role/localaws"
# AWS settings of the developer that change no place and no identity; all others are hidden from a test.
HARMLESS = {"AWS_CA_BUNDLE", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"}
PROXIES = ("NO_PROXY", "no_proxy")
FAST = {"Delay": 0.1, "MaxAttempts": 6000}
LINES = 20  # of the log of a failed job
# What can fail: the word in boto3's method names, and the one in member names.
FAILING = {
    "training_job": "TrainingJob",
    "processing_job": "ProcessingJob",
    "transform_job": "TransformJob",
    "endpoint": "Endpoint",
}


class Trouble(Exception):
    """What is wrong, in one sentence."""


class Program:
    """The running endpoint; `directory` gets its state and its log. Raises Trouble when it does not start."""

    def __init__(self, directory: Path, arguments: Sequence[str], cwd: Path) -> None:
        self.log = directory / "localaws.log"
        given = ("LOCALAWS_ACCESS_KEY_ID", "LOCALAWS_SECRET_ACCESS_KEY")  # it would not print credentials of these
        with self.log.open("wb") as log:
            # Its own session: a Ctrl-C is pytest's, which then ends it in order. -P: files of the project that is
            # tested must not be taken for modules of the standard library.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "localaws", "--port", "0", "--state", str(directory / "state"),
                 *QUICK, *arguments, "--until-eof"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=cwd,
                env={name: value for name, value in os.environ.items() if name not in given},
                start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        with self._process.stdout as printed:
            lines = [printed.readline().decode() for _ in range(4)]
        if not lines[-1]:
            self.close()
            raise Trouble(f"localaws does not start: {self._said()}")
        exports = [shlex.split(line)[1] for line in lines]
        self.environment = dict(export.split("=", 1) for export in exports)

    def _said(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        said = [line for line in lines if line.strip()] or [f"it ended with exit code {self._process.returncode}"]
        return said[-1].removeprefix("localaws: ").removeprefix("error: ")

    def close(self) -> None:
        """End it, and with it all its jobs and model servers."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class LocalAws:
    """What a test is given: a local AWS account that runs SageMaker jobs, on a URL of its own."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._session: Any = None
        #: The variables that are set while the test runs; for a process that the test starts itself.
        self.environment: dict[str, str] = dict(program.environment)
        self.endpoint_url = self.environment["AWS_ENDPOINT_URL"]
        self.region = self.environment["AWS_DEFAULT_REGION"]
        #: The ARN of a role that every job may have; any other will do as well, nothing is enforced.
        self.role = ROLE

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of this account; options are those of `boto3.client`."""
        import boto3

        if self._session is None:
            env = self.environment
            self._session = boto3.Session(
                env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], region_name=self.region
            )
        return self._session.client(service, **{"endpoint_url": self.endpoint_url, **options})

    def wait(self, waiter: str, *, service: str = "sagemaker", **arguments: Any) -> None:
        """boto3's waiter of this name, which looks ten times a second: boto3's own looks every minute or two.

        `localaws.wait("training_job_completed_or_stopped", TrainingJobName="x")` returns when the job has ended; it
        raises botocore's WaiterError when the job has failed.
        """
        __tracebackhide__ = True
        from botocore.exceptions import WaiterError

        try:
            self.client(service).get_waiter(waiter).wait(**{"WaiterConfig": FAST, **arguments})
        except WaiterError as error:
            raise error.with_traceback(None) from None  # the loop inside of botocore tells nobody anything

    def logs(self, name: str) -> list[str]:
        """The lines that a job, or the model servers of an endpoint, have written so far."""
        client = self.client("logs")
        kinds = ("TrainingJobs", "ProcessingJobs", "TransformJobs")
        groups = [(f"/aws/sagemaker/{kind}", f"{name}/") for kind in kinds]
        lines: list[str] = []
        for group, prefix in [*groups, (f"/aws/sagemaker/Endpoints/{name}", "")]:
            named = {"logStreamNamePrefix": prefix} if prefix else {}
            pages = client.get_paginator("filter_log_events").paginate(logGroupName=group, **named)
            with contextlib.suppress(client.exceptions.ResourceNotFoundException):
                lines += [event["message"] for page in pages for event in page["events"]]
        return lines

    def fault(self, operation: str, **members: Any) -> None:
        """Let the next calls of an operation fail: members and their values as of `localaws faults add`."""
        __tracebackhide__ = True
        from localaws import faults_command

        self._ask("POST", faults_command.PATH, faults_command.as_document({"operation": operation, **members}))

    def clear_faults(self) -> None:
        """Forget the faults that are still to come."""
        from localaws import faults_command

        self._ask("DELETE", faults_command.PATH)

    def reset(self) -> None:
        """End all jobs and model servers, and empty the account."""
        from localaws import reset_command

        self._ask("POST", reset_command.PATH)

    def _ask(self, method: str, path: str, document: dict[str, Any] | None = None) -> None:
        __tracebackhide__ = True
        from localaws import faults_command

        try:
            status, answer = faults_command.send(method, path, document, self.environment)
        except (OSError, ValueError) as error:  # ValueError: an answer that is none of the endpoint's
            raise Trouble(f"localaws does not answer any more ({error}); its log is {self._program.log}") from None
        if status >= 400:
            raise Trouble(answer["message"])

    def failures(self) -> str:
        """The jobs and endpoints that have failed: why, and the last lines that they wrote; "" when none has."""
        self.clear_faults()  # they are meant for the calls of the test
        sagemaker, parts = self.client("sagemaker"), []
        for word, member in FAILING.items():
            answer = getattr(sagemaker, f"list_{word}s")(StatusEquals="Failed")
            for found in answer[f"{member}s" if word == "endpoint" else f"{member}Summaries"]:
                name = found[f"{member}Name"]
                reason = getattr(sagemaker, f"describe_{word}")(**{f"{member}Name": name}).get("FailureReason", "")
                said = "".join(f"\n    {line}" for line in self.logs(name)[-LINES:])
                parts.append(f"{word.replace('_', ' ')} {name} failed: {reason}{said}")
        return "\n".join(parts)


@contextlib.contextmanager
def in_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set the variables of an endpoint; hide the developer's own AWS settings, and boto3's session that knows them."""
    before = _settings()
    changed = {
        **{name: value for name, value in before.items() if name in HARMLESS},
        **{name: ",".join(filter(None, (before.get(name), "127.0.0.1"))) for name in PROXIES},
        **values,
        "AWS_REGION": values["AWS_DEFAULT_REGION"],
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    session = _default_session(None)
    _set(changed)
    try:
        yield
    finally:
        _set(before)
        _default_session(session)


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_") or name in PROXIES}


def _set(settings: Mapping[str, str]) -> None:
    """Make these the settings of AWS clients, and leave all other variables alone."""
    for name in _settings().keys() - settings.keys():
        del os.environ[name]
    os.environ.update(settings)


def _default_session(session: Any) -> Any:
    """Give boto3 another default session, which keeps the credentials that it first found; returns the one before."""
    boto3 = sys.modules.get("boto3")
    if boto3 is None:
        return None
    before = vars(boto3)["DEFAULT_SESSION"]
    vars(boto3)["DEFAULT_SESSION"] = session
    return before

"""What all kinds of jobs share: a directory laid out as /opt/ml, a program attended to its end, its log."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from localaws.context import Context
from localaws.engine.images import Image, ImageError
from localaws.engine.instances import Demand
from localaws.engine.sandbox import NoSandbox
from localaws.engine.scheduler import Ticket
from localaws.engine.spec import HOST_NAME, ML
from localaws.errors import ValidationException
from localaws.faults import JobFaults
from localaws.jobs.outcome import AttemptOutcome, JobError, ProgramEnd, decide, from_error, said
from localaws.jobs.spot import NO_CAPACITY
from localaws.kinds import BY_WORD
from localaws.states import JOB_TRANSITIONS
from localaws.store import StoredResource

log = logging.getLogger("localaws.jobs")

Body = Mapping[str, Any]  # a job's document
LOCAL_ROOT = Path("/")  # where paths below /opt/ml are checked, before a job has a directory
OUTPUT_TEXT = 4096  # characters that are read of a failure or message file


def job_home(ctx: Context, kind: str, name: str) -> Path:
    """A fresh, empty directory for a job; anything of an earlier try is removed."""
    home = ctx.config.state / "jobs" / kind / name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    return home


def host_root(home: Path, host: str) -> Path:
    """The directory that a host of the job will see as /opt/ml; made if need be."""
    root = home / host / "ml"
    root.mkdir(parents=True, exist_ok=True)
    return root


def remove_root(ctx: Context, kind: str, name: str) -> None:
    """Forget a job's directory."""
    shutil.rmtree(ctx.config.state / "jobs" / kind / name, ignore_errors=True)


def inside(root: Path, local: str) -> Path:
    """The host path of a path below /opt/ml; raises ValidationException for any other."""
    path = Path(local)
    if not path.is_relative_to(ML) or ".." in path.parts:
        raise ValidationException(f"'{local}' must be an absolute path below {ML}")
    return root / path.relative_to(ML)


def settled(root: Path, path: Path) -> Path:
    """A path below a job's root, once the job has had it; raises JobError when a symbolic link is on the way.

    The job wrote there in a sandbox, the endpoint reads outside of it: a link would lead to files of the machine.
    """
    below = path.relative_to(root)
    if Path(os.path.realpath(path)) != Path(os.path.realpath(root)) / below:
        raise JobError("ClientError", f"{ML}/{below.as_posix()} is or lies behind a symbolic link: it is not uploaded")
    return path


def read_only(ctx: Context, bind: Mapping[Path, str]) -> Mapping[Path, str]:
    """What of `s3data.lay` a ProcessSpec can bind here.

    Without namespaces (the sandbox `none`) nothing can be read-only: links to S3 objects stay in their places, and a
    program that changes their mode can change the objects.
    """
    return {} if ctx.runner.sandbox.name == NoSandbox.name else bind


def write_json(path: Path, value: object) -> None:
    """Write a configuration file of the container contract."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def base_environment(ctx: Context, host: str = HOST_NAME) -> dict[str, str]:
    """The variables by which a job's own AWS clients find this endpoint, and the name of its host."""
    config = ctx.config
    return {
        "AWS_REGION": config.region,
        "AWS_DEFAULT_REGION": config.region,
        "AWS_ENDPOINT_URL": config.endpoint,
        "S3_ENDPOINT_URL": config.endpoint,
        "AWS_ACCESS_KEY_ID": config.access_key,
        "AWS_SECRET_ACCESS_KEY": config.secret_key,
        "CURRENT_HOST": host,
    }


def read_text(root: Path, name: str) -> str:
    """The beginning of a text file that a job may have written below its root, "" when there is none (or a link)."""
    try:
        with os.fdopen(
            os.open(settled(root, root / name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb"
        ) as handle:
            return handle.read(OUTPUT_TEXT).decode("utf-8", "replace").strip()
    except (OSError, JobError):
        return ""


def command(image: Image, program: str, entrypoint: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """The argv of a container: its entry point, or the image's own program; raises JobError."""
    if entrypoint:
        return [*entrypoint, *arguments]
    try:
        return [str(image.environment()), str(image.program(program)), *arguments]
    except ImageError as error:
        raise JobError("ClientError", str(error)) from None


def stored(ctx: Context, kind: str, name: str) -> StoredResource:
    """The record of a job that is in the schedule: it is not deleted before its end."""
    found = ctx.store.get(kind, name)
    assert found is not None
    return found


def submit(
    ctx: Context,
    kind: str,
    name: str,
    run: Callable[[Context, Ticket], None],
    demand: Callable[[Body], Demand],
    end: Callable[[Context, Ticket, AttemptOutcome], None] | None = None,
) -> Ticket:
    """Put a stored job into the schedule; `end` writes a job's end when `run` has raised before it could."""

    def broken(ticket: Ticket, error: Exception) -> None:
        with ctx.store.exclusive():
            found = ctx.store.get(kind, name)
            if found is not None and found.status not in JOB_TRANSITIONS.terminal:
                (end or _write_end)(ctx, ticket, fault(error))

    demanded = demand(stored(ctx, kind, name).body)
    ticket = ctx.jobs.submit(kind, name, lambda ticket: run(ctx, ticket), demanded, broken)
    found = ctx.store.get(kind, name)
    if found is not None and found.status == "Stopping":  # asked for before there was a ticket to stop
        ctx.jobs.stop(kind, name)
    return ticket


def _write_end(ctx: Context, ticket: Ticket, outcome: AttemptOutcome) -> None:
    ended = {BY_WORD[ticket.kind].end_member: ctx.clock()}
    ctx.store.transition(
        ticket.kind, ticket.name, JOB_TRANSITIONS, outcome.event, FailureReason=outcome.reason, **ended
    )


def begin_stop(ctx: Context, kind: str, name: str, changes: Callable[[Body], dict[str, Any]] = lambda _: {}) -> bool:
    """Write that a job is being stopped, with what else changes of its document; False when its status forbids it."""
    with ctx.store.exclusive():
        found = ctx.store.get(kind, name)
        if found is None or not JOB_TRANSITIONS.allows(found.status, "stop"):
            return False
        ctx.store.transition(kind, name, JOB_TRANSITIONS, "stop", **changes(found.body))
    return True


def stop(ctx: Context, kind: str, name: str) -> bool:
    """Begin to stop a job; False when its status forbids it."""
    if not begin_stop(ctx, kind, name):
        return False
    ctx.jobs.stop(kind, name)
    return True


def await_start(ticket: Ticket, delay: float, faults: JobFaults) -> ProgramEnd | None:
    """The time in Starting; how the job has ended when it was stopped in it. Raises JobError (CapacityError)."""
    if ticket.wait_stop(delay):
        return ProgramEnd(0, ticket.cause or "stop")
    if faults.capacity:
        raise JobError("CapacityError", NO_CAPACITY)
    return None


class JobWork(Protocol):
    """A job at work; `begun` once it has its instances, `end` is what its document gets with its end."""

    begun: bool

    def run(self) -> AttemptOutcome:
        """The whole work; raises JobError."""

    def end(self) -> dict[str, Any]:
        """Members of the document, besides FailureReason."""


def attend(ctx: Context, ticket: Ticket, work: JobWork) -> None:
    """Do the whole work of a job and write its end."""
    try:
        outcome = conclude(ctx, ticket, work.run)
        if ticket.cause == "shutdown" and not work.begun:
            return  # the next start goes on with it
        end = work.end()
    finally:
        remove_root(ctx, ticket.kind, ticket.name)  # first, as it frees the disk that the end is written to
    ctx.store.transition(ticket.kind, ticket.name, JOB_TRANSITIONS, outcome.event, FailureReason=outcome.reason, **end)


def conclude(ctx: Context, ticket: Ticket, run: Callable[[], AttemptOutcome]) -> AttemptOutcome:
    """The outcome of a job's whole work; a stop before the program began, and trouble, are outcomes too."""
    if ticket.cause is not None:
        return decide(ProgramEnd(0, ticket.cause))
    try:
        return run()
    except JobError as error:
        return from_error(error)
    except ValidationException as error:
        return from_error(JobError("ClientError", error.message))
    except Exception as error:
        log.exception("%s %s: fault of the endpoint", ticket.kind, ticket.name)
        return fault(error)


def fault(error: Exception) -> AttemptOutcome:
    """The outcome of a job that the endpoint itself has broken."""
    return from_error(JobError("InternalServerError", f"{type(error).__name__}: {said(error)}"))


def check_isolation(ctx: Context, wanted: bool) -> None:
    """Raise ValidationException when network isolation is asked for and this machine cannot give it."""
    if wanted and not ctx.runner.sandbox.isolates_network:
        raise ValidationException(
            "EnableNetworkIsolation is not possible here: the machine offers no namespaces "
            f"(sandbox {ctx.runner.sandbox.name}); install bubblewrap or leave it out"
        )

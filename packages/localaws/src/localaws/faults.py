"""Faults on request: what a job's tag or an admin call asks to go wrong. Off unless asked for.

A tag `localaws:fault` says what is to happen to one job or endpoint, in words that a tag value may hold:
`exit-code=3 slow-start=2`. An admin call (`admin`) says which next calls of an operation are to be refused.
docs/faults.md is the user's page.
"""

from __future__ import annotations

import difflib
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from localaws import shapes
from localaws.coverage import Behaviour
from localaws.errors import (
    AccessDeniedException,
    ApiError,
    InternalFailure,
    ResourceLimitExceeded,
    ServiceUnavailable,
    ThrottlingException,
    ValidationException,
)

TAG = "localaws:fault"
MOST_SECONDS = 86400.0
MOST_CALLS = 1_000_000


BEHAVIOURS = (
    Behaviour(
        "throttling: `ThrottlingException` with status 400, `SlowDown` with 503 in S3",
        "documented",
        "Common Error Types of the SageMaker API Reference; Amazon S3 API Reference, Error responses",
    ),
    Behaviour("texts of the errors that can be asked for (`Rate exceeded` ...)", "assumed"),
)


@dataclass(frozen=True)
class JobFaults:
    """What is to go wrong with one job or endpoint; times in seconds from the start of the program."""

    slow_start: float = 0.0  # before the program starts, in `Starting`
    capacity: bool = False  # no instance is found: the job fails with CapacityError
    hang: bool = False  # the program ignores SIGTERM and never ends by itself
    kill_after: float | None = None  # SIGKILL to the program
    exit_code: int | None = None  # the program's exit code is replaced
    stop_after: float | None = None  # stopped as if by somebody else
    interrupt_after: float | None = None  # the spot instance is taken away (managed spot training only)
    corrupt_artifact: bool = False  # model.tar.gz is cut in half
    fail_health_check: bool = False  # the model server's /ping never answers 200


NONE = JobFaults()


def _seconds(word: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST_SECONDS:
        raise ValidationException(f"The tag {TAG} says '{word}={text}': seconds from 0 to {MOST_SECONDS:.0f} are meant")
    return value


def _exit_code(word: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255):
        raise ValidationException(f"The tag {TAG} says '{word}={text}': an exit code is a number from 0 to 255")
    return int(text)


# word: (field, reader of what stands after "="; None: a bare word)
WORDS: Mapping[str, tuple[str, Callable[[str, str], float | int] | None]] = {
    "slow-start": ("slow_start", _seconds),
    "capacity": ("capacity", None),
    "hang": ("hang", None),
    "kill": ("kill_after", _seconds),
    "exit-code": ("exit_code", _exit_code),
    "stop": ("stop_after", _seconds),
    "interrupt": ("interrupt_after", _seconds),
    "corrupt-artifact": ("corrupt_artifact", None),
    "fail-health-check": ("fail_health_check", None),
}
# Pairs of which the second would never be seen.
CONTRADICTIONS = (
    *(("capacity", word) for word in WORDS if word not in ("capacity", "slow-start", "stop")),
    ("hang", "exit-code"),
    ("kill", "exit-code"),
)
_TRAINING = frozenset(WORDS) - {"fail-health-check"}
# What can go wrong with what an operation creates. A word that is not here would be ignored: it is refused.
TAGGED: Mapping[str, frozenset[str]] = {
    "CreateTrainingJob": _TRAINING,
    "CreateHyperParameterTuningJob": _TRAINING,  # its tags go to its trainings
    "CreateProcessingJob": _TRAINING - {"interrupt", "corrupt-artifact"},
    "CreateTransformJob": frozenset({"slow-start", "capacity", "stop", "fail-health-check"}),
    "CreateEndpoint": frozenset({"slow-start", "capacity", "fail-health-check"}),
}


def parse(text: str) -> JobFaults:
    """The faults that a tag's value names; blanks separate words, each may stand once. Raises ValidationException."""
    found: dict[str, Any] = {}
    for item in text.split():
        word, equals, value = item.partition("=")
        if word not in WORDS:
            raise ValidationException(f"The tag {TAG} says '{item}', which is no fault; there are: {', '.join(WORDS)}")
        field, reader = WORDS[word]
        if field in found:
            raise ValidationException(f"The tag {TAG} says '{word}' twice: say it once")
        if (reader is None) == bool(equals):
            form = word if reader is None else f"{word}=NUMBER"
            raise ValidationException(f"The tag {TAG} says '{item}': write it as {form}")
        found[field] = True if reader is None else reader(word, value)
    for first, second in CONTRADICTIONS:
        if WORDS[first][0] in found and WORDS[second][0] in found:
            raise ValidationException(f"The tag {TAG} says '{first}' and '{second}', which exclude each other")
    return JobFaults(**found)


def words(faults: JobFaults) -> list[str]:
    """The words that ask for these faults, without their values."""
    return [word for word, (field, _) in WORDS.items() if getattr(faults, field) != getattr(NONE, field)]


def check_tags(operation: str, request: Mapping[str, Any]) -> None:
    """ValidationException for a fault tag in a request that nothing would come of."""
    asked = next((tag["Value"] for tag in request.get("Tags") or () if tag["Key"] == TAG), None)
    if asked is None:
        return
    faults = parse(asked)
    if operation == "AddTags":  # of a resource of any kind, and perhaps before an update
        return
    able = TAGGED.get(operation)
    if able is None:
        raise ValidationException(f"{operation} takes no tag {TAG}; these do: {', '.join(TAGGED)}")
    for word in words(faults):
        if word not in able:
            possible = ", ".join(name for name in WORDS if name in able)
            raise ValidationException(f"{operation} cannot have the fault '{word}'; it can have: {possible}")
    spot = operation != "CreateTrainingJob" or request.get("EnableManagedSpotTraining")
    if faults.interrupt_after is not None and not spot:
        raise ValidationException(f"The tag {TAG} says 'interrupt': only with EnableManagedSpotTraining can it happen")


ERRORS: Mapping[str, tuple[type[ApiError], str]] = {
    "ThrottlingException": (ThrottlingException, "Rate exceeded"),
    "InternalFailure": (
        InternalFailure,
        "The request processing has failed because of an unknown error, exception or failure.",
    ),
    "ServiceUnavailable": (
        ServiceUnavailable,
        "The request has failed due to a temporary failure of the server.",
    ),
    "ResourceLimitExceeded": (ResourceLimitExceeded, "The account-level service limit is used up."),
    "AccessDeniedException": (AccessDeniedException, "User is not authorized to perform this operation."),
}


MEMBERS: Mapping[str, Any] = {
    "operation": str,
    "error": str,
    "calls": int,
    "skip": int,
    "delay": (int, float),
    "lost": bool,
    "message": str,
}


@dataclass(frozen=True)
class CallFault:
    """A fault of the next calls of operations whose name fits `operation` (`*` stands for any letters).

    Names are those of SageMaker and its runtime; of another service they are `s3:GetObject`. `error` is a key of
    ERRORS, or "" for a call that is only late. `lost` means that the operation is done and then the error is
    answered, as when the answer is lost on the way. `delay` in seconds; `skip` calls pass first.
    """

    id: str
    operation: str
    error: str = "ThrottlingException"
    calls: int = 1
    skip: int = 0
    delay: float = 0.0
    lost: bool = False
    message: str = ""

    def fits(self, operation: str) -> bool:
        """Whether this is a fault of the operation; `*` alone means SageMaker, not every service."""
        return fnmatchcase(operation, self.operation) and (":" in operation) == (":" in self.operation)

    def raise_error(self) -> None:
        """Raise the ApiError that was asked for, if one was."""
        if self.error:
            kind, text = ERRORS[self.error]
            raise kind(self.message or text)


class Faults:
    """All faults that are asked for in one endpoint; thread safe. They are in memory: a restart ends them."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._calls: list[CallFault] = []
        self._ids = count(1)
        self._sleep = sleep
        self._lock = threading.Lock()

    def add(self, fault: Mapping[str, Any]) -> CallFault:
        """Ask for a fault, given as the members of CallFault without its id. Raises ValidationException."""
        checked = _call_fault(fault)
        with self._lock:
            asked = replace(checked, id=f"f{next(self._ids)}")
            self._calls.append(asked)
        return asked

    @property
    def any(self) -> bool:
        """Whether a fault of calls is asked for at all."""
        return bool(self._calls)

    def pending(self) -> list[dict[str, Any]]:
        """The faults still to come, in the order in which they are tried, with the `calls` and `skip` that are left."""
        with self._lock:
            return [asdict(fault) for fault in self._calls]

    def clear(self, ids: Iterable[str] | None = None) -> int:
        """Forget the named faults, or all; tells how many there were."""
        with self._lock:
            kept = [] if ids is None else [fault for fault in self._calls if fault.id not in set(ids)]
            gone = len(self._calls) - len(kept)
            self._calls = kept
        return gone

    def take(self, operation: str) -> CallFault | None:
        """The fault of this call, which is then used up by one; None for a call that is to succeed."""
        if not self._calls:  # the usual case costs nothing
            return None
        with self._lock:
            for place, fault in enumerate(self._calls):
                if not fault.fits(operation):
                    continue
                if fault.skip:
                    self._calls[place] = replace(fault, skip=fault.skip - 1)
                    return None
                if fault.calls == 1:
                    del self._calls[place]
                else:
                    self._calls[place] = replace(fault, calls=fault.calls - 1)
                return fault
        return None

    def begin(self, operation: str) -> CallFault | None:
        """Delay or refuse this call as asked for; a fault that is returned is to be raised after the operation."""
        fault = self.take(operation)
        if fault is None:
            return None
        if fault.delay:
            self._sleep(fault.delay)
        if fault.lost:
            return fault
        fault.raise_error()
        return None

    def for_call(self, operation: str) -> None:
        """Raise the ApiError that was asked for the next calls of this operation, if any."""
        fault = self.begin(operation)
        if fault is not None:
            fault.raise_error()

    def of(self, tags: Mapping[str, str]) -> JobFaults:
        """The faults that a resource's tags ask for; ValidationException when the value cannot be read."""
        text = tags.get(TAG)
        return NONE if text is None else parse(text)


def _call_fault(given: Mapping[str, Any]) -> CallFault:
    for name, value in given.items():
        if name not in MEMBERS:
            raise ValidationException(f"'{name}' is no member of a fault; there are: {', '.join(MEMBERS)}")
        if not isinstance(value, MEMBERS[name]) or (isinstance(value, bool) and name != "lost"):
            raise ValidationException(f"'{name}' of a fault cannot be {value!r}")
    if not given.get("operation"):
        raise ValidationException("A fault needs 'operation', the name of an operation such as CreateTrainingJob")
    fault = CallFault(id="", **given)
    if ":" not in fault.operation and not any(fault.fits(name) for name in shapes.operations()):
        raise ValidationException(
            f"SageMaker has no operation '{fault.operation}'{_near(fault.operation)}; "
            "one of another service is written with its name, as in s3:GetObject"
        )
    if fault.error and fault.error not in ERRORS:
        raise ValidationException(f"'error' cannot be '{fault.error}'; it can be: {', '.join(ERRORS)}")
    if not 1 <= fault.calls <= MOST_CALLS or not 0 <= fault.skip <= MOST_CALLS:
        raise ValidationException(f"'calls' is a number from 1 to {MOST_CALLS}, 'skip' one from 0 on")
    if not 0 <= fault.delay <= MOST_SECONDS:
        raise ValidationException(f"'delay' is a number of seconds from 0 to {MOST_SECONDS:.0f}, not {fault.delay}")
    if not fault.error and (fault.lost or not fault.delay):
        raise ValidationException("A fault without 'error' needs a 'delay', and cannot be 'lost'")
    return fault


def _near(operation: str) -> str:
    found = difflib.get_close_matches(operation, shapes.operations(), n=1)
    return f", did you mean {found[0]}" if found else ""

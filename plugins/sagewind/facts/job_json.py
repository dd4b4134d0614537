"""job.json, what a run says to its processing jobs: its keys, their types and their defaults.

The ingest task writes it (`to_document`), every job program reads it (`parse`). A key that is added to a class here is
known to both sides. Defaults of the model file are those of these classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime, timezone
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from sagewind.facts.contract import JOB_JSON
from sagewind.facts.metrics import Problem

Encoding = Literal["ordinal", "onehot"]
MissingNumbers = Literal["keep", "impute", "drop"]

_PLAIN: Mapping[type, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a text"),
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
}
_T = TypeVar("_T")


class JobFileError(ValueError):
    """job.json says something that no job can work with; one sentence names the key and what was found."""


@dataclass(frozen=True)
class SplitShares:
    """Shares of the rows, each above 0; they add up to one, ValueError otherwise."""

    train: float = 0.7
    validation: float = 0.15
    test: float = 0.15

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"train + validation + test is {sum(shares):g}, it must be 1")
        if min(shares) <= 0:
            raise ValueError(f"a share is {min(shares):g}: each of train, validation and test must be above 0")


@dataclass(frozen=True)
class DataConfig:
    """How the raw files are read, cleaned and split."""

    target: str
    positive: str | None = None
    columns: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    na_values: frozenset[str] = frozenset()
    numeric: frozenset[str] = frozenset()
    categorical: frozenset[str] = frozenset()
    encode: Encoding = "ordinal"
    missing: MissingNumbers = "keep"
    deduplicate: bool = False
    time_column: str | None = None
    split: SplitShares = SplitShares()


@dataclass(frozen=True)
class WindowConfig:
    """The time that a run is about, aware; None: it has no such end."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class EvaluateConfig:
    """Gates as the model file writes them, and the cut-off between the classes of a binary problem."""

    gates: Mapping[str, str] = field(default_factory=dict)
    threshold: float = 0.5


@dataclass(frozen=True)
class JobConfig:
    """One run's settings. `seed` is that of the split and of every draw."""

    model: str
    run_key: str
    data: DataConfig
    problem: Problem = "binary"
    seed: int = 7
    window: WindowConfig = WindowConfig()
    evaluate: EvaluateConfig = EvaluateConfig()


def to_document(config: JobConfig) -> dict[str, Any]:
    """The configuration as plain JSON values; `parse` gives it back."""
    document: dict[str, Any] = _plain(config)
    return document


def parse(document: Any) -> JobConfig:
    """The configuration of a JSON document; JobFileError names the key that is missing, unknown or wrong."""
    return read(JobConfig, document, "")


def read(kind: type[_T], document: Any, where: str) -> _T:
    """One of the classes above out of a JSON object found at the key `where` ("" for the whole document)."""
    if not isinstance(document, Mapping):
        raise _wrong(where, document, "give an object of keys and values")
    prefix = f"{where}." if where else ""
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    for key in document:
        if key not in known:
            raise JobFileError(f"{JOB_JSON}: {prefix}{key} is unknown: use one of {', '.join(known)}")
    for key, entry in known.items():
        if key not in document and entry.default is MISSING and entry.default_factory is MISSING:
            raise JobFileError(f"{JOB_JSON}: {prefix}{key} is missing: run the task that writes the file again")
    hints = get_type_hints(kind)
    values = {key: _value(hints[key], value, prefix + key) for key, value in document.items()}
    try:
        return kind(**values)
    except JobFileError:
        raise
    except ValueError as error:
        raise JobFileError(f"{JOB_JSON}: {where}: {error}") from None


def parse_time(text: str, where: str) -> datetime:
    """An ISO 8601 date or time, UTC where it names no zone; ValueError names `where` it was found."""
    try:
        # Python 3.10 does not read the Z that AWS writes.
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"{where} is {text!r}: write an ISO 8601 time such as 2026-01-31T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _value(hint: Any, value: Any, where: str) -> Any:
    kind, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return read(hint, value, where)  # type: ignore[arg-type]
    if kind is UnionType:
        return None if value is None else _value(arguments[0], value, where)
    if kind is Literal:
        return _one_of(arguments, value, where)
    if kind is Mapping:
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "give an object of keys and values")
        return {key: _scalar(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind in (tuple, frozenset):
        if not isinstance(value, list | tuple):
            raise _wrong(where, value, "give a list of texts")
        return kind(_scalar(arguments[0], item, where) for item in value)
    return _moment(value, where) if hint is datetime else _scalar(hint, value, where)


def _one_of(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if value not in allowed:
        raise _wrong(where, value, f"use one of {', '.join(allowed)}")
    return value


def _moment(value: Any, where: str) -> datetime:
    try:
        return parse_time(_scalar(str, value, where), f"{JOB_JSON}: {where}")
    except ValueError as error:
        raise JobFileError(str(error)) from None


def _scalar(hint: type, value: Any, where: str) -> Any:
    types, words = _PLAIN[hint]
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, types):
        raise _wrong(where, value, f"give {words}")
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(where, value, "give a finite number")
    return hint(value)


def _wrong(where: str, value: Any, to_do: str) -> JobFileError:
    return JobFileError(f"{JOB_JSON}: {where or 'the document'} is {value!r}: {to_do}")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value.isoformat() if isinstance(value, datetime) else value

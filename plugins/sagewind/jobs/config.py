"""job.json, typed: what a run says to its processing jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sagewind.jobs import contract
from sagewind.jobs.job import UserError, read_json

PROBLEMS = ("binary", "multiclass", "regression")
ENCODINGS = ("ordinal", "onehot")
MISSING = ("keep", "impute", "drop")
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class DataConfig:
    """How the raw files are read, cleaned and split. Shares of `split` add up to one."""

    target: str
    positive: str | None
    columns: tuple[str, ...] | None
    drop: tuple[str, ...]
    na_values: frozenset[str]
    numeric: frozenset[str]
    categorical: frozenset[str]
    encode: str
    missing: str
    deduplicate: bool
    time_column: str | None
    split: Mapping[str, float]


@dataclass(frozen=True)
class JobConfig:
    """One run's settings. `window_end` is aware; None means that the run has no window."""

    model: str
    run_key: str
    problem: str
    seed: int
    window_end: datetime | None
    data: DataConfig
    gates: Mapping[str, str]
    threshold: float


def load() -> JobConfig:
    """Read job.json from the config input; UserError names the key that is missing or wrong."""
    return parse(read_json(contract.input_dir(contract.CONFIG) / contract.JOB_JSON, "the job's configuration"))


def parse(document: Mapping[str, Any]) -> JobConfig:
    """Typed form of job.json; unknown keys are left to the model file's own validation."""
    evaluate = document.get("evaluate") or {}
    window = document.get("window") or {}
    return JobConfig(
        model=str(document.get("model") or "model"),
        run_key=str(document.get("run_key") or ""),
        problem=_choice(document, "problem", PROBLEMS, "binary"),
        seed=int(document.get("seed") or 0),
        window_end=None if window.get("end") is None else parse_time(str(window["end"]), "job.json: window.end"),
        data=_data(document.get("data") or {}),
        gates={str(key): str(value) for key, value in (evaluate.get("gates") or {}).items()},
        threshold=float(evaluate.get("threshold", 0.5)),
    )


def parse_time(text: str, where: str) -> datetime:
    """An ISO 8601 date or time, UTC where it names no zone; UserError names `where` it was found."""
    try:
        # Python 3.10 does not read the Z that AWS writes.
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise UserError(f"{where} is {text!r}: write an ISO 8601 time such as 2026-01-31T00:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _data(data: Mapping[str, Any]) -> DataConfig:
    if not data.get("target"):
        raise UserError("job.json: data.target is missing: name the column to predict")
    positive = data.get("positive")
    return DataConfig(
        target=str(data["target"]),
        positive=None if positive is None else str(positive),
        columns=tuple(map(str, data["columns"])) if data.get("columns") else None,
        drop=tuple(map(str, data.get("drop") or ())),
        na_values=frozenset(str(value).strip() for value in data.get("na_values") or ()),
        numeric=frozenset(map(str, data.get("numeric") or ())),
        categorical=frozenset(map(str, data.get("categorical") or ())),
        encode=_choice(data, "encode", ENCODINGS, "ordinal"),
        missing=_choice(data, "missing", MISSING, "keep"),
        deduplicate=bool(data.get("deduplicate")),
        time_column=data.get("time_column"),
        split=_split(data.get("split") or {"train": 0.7, "validation": 0.15, "test": 0.15}),
    )


def _choice(document: Mapping[str, Any], key: str, allowed: tuple[str, ...], default: str) -> str:
    value = document.get(key) or default
    if value not in allowed:
        raise UserError(f"job.json: {key} is {value!r}: use one of {', '.join(allowed)}")
    return str(value)


def _split(split: Mapping[str, Any]) -> dict[str, float]:
    shares = {name: float(split.get(name, 0.0)) for name in SPLITS}
    if any(share <= 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise UserError(f"job.json: data.split is {dict(split)}: give train, validation and test shares that sum to 1")
    return shares

"""What all analyses read of their environment in the same way: settings, the data set's format, metric times."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sagewind.facts import contract
from sagewind.jobs.config import parse_time
from sagewind.jobs.job import UserError

CSV, JSON, PARQUET = "csv", "json", "parquet"
CAPTURE, MERGED = "sagemakerCaptureJson", "sagemakerMergeJson"
#: Formats and the options that each takes. `line` and `lines` are both AWS's own spellings.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    CSV: ("header", "output_columns_position"),
    JSON: ("lines", "line"),
    PARQUET: (),
    CAPTURE: ("captureIndexNames", "output_columns_position"),
    MERGED: ("captureIndexNames", "output_columns_position"),
}
FORMATS = tuple(OPTIONS)
#: AWS's documentation writes flags both ways.
TRUE, FALSE = (True, "true", "True"), (False, "false", "False")
FLAGS = ("header", "lines", "line")


def required(name: str) -> str:
    """A setting of the environment; UserError if it is absent or empty."""
    value = os.environ.get(name)
    if not value:
        raise UserError(f"the environment variable {name} is missing: set it as for SageMaker Model Monitor's analyzer")
    return value


def dataset_format(text: str) -> tuple[str, Mapping[str, Any]]:
    """Kind and options of a `dataset_format` document; UserError if it is none that is known."""
    try:
        ((kind, options),) = json.loads(text).items()
    except (ValueError, AttributeError) as error:
        raise UserError(
            f'{contract.DATASET_FORMAT} is {text!r}: write JSON such as {{"csv": {{"header": true}}}}'
        ) from error
    if kind not in FORMATS:
        raise UserError(f"{contract.DATASET_FORMAT} is {kind!r}: use one of {', '.join(FORMATS)}")
    if not isinstance(options or {}, Mapping):
        raise UserError(f"{contract.DATASET_FORMAT} gives {kind} {options!r}: give it an object of options, or {{}}")
    for name, value in (options or {}).items():
        _check_option(kind, name, value)
    return kind, options or {}


def _check_option(kind: str, name: str, value: Any) -> None:
    """A misspelt option would be left out in silence, and a header be read as a row of data."""
    if name not in OPTIONS[kind]:
        allowed = f"use one of {', '.join(OPTIONS[kind])}" if OPTIONS[kind] else "it takes none"
        raise UserError(f"{contract.DATASET_FORMAT} gives {kind} the option {name!r}: {allowed}")
    if name in FLAGS and value not in (*TRUE, *FALSE):
        raise UserError(f"{contract.DATASET_FORMAT} gives {kind} the option {name} = {value!r}: write true or false")


def metric_time() -> datetime:
    """The time stamp of published metrics: metric_time, else the window's end, else now."""
    given = os.environ.get(contract.METRIC_TIME) or os.environ.get(contract.END_TIME)
    return parse_time(given, "the time of the metrics") if given else datetime.now(timezone.utc)

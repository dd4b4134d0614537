"""What all analyses read of their environment in the same way: settings, the data set's format, metric times."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from include.jobs import contract
from include.jobs.config import parse_time
from include.jobs.job import UserError

CSV, JSON, PARQUET = "csv", "json", "parquet"
CAPTURE, MERGED = "sagemakerCaptureJson", "sagemakerMergeJson"
FORMATS = (CSV, JSON, PARQUET, CAPTURE, MERGED)
#: AWS's documentation writes flags both ways.
TRUE = (True, "true", "True")


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
    return kind, options if isinstance(options, Mapping) else {}


def metric_time() -> datetime:
    """The time stamp of published metrics: metric_time, else the window's end, else now."""
    given = os.environ.get(contract.METRIC_TIME) or os.environ.get(contract.END_TIME)
    return parse_time(given, "the time of the metrics") if given else datetime.now(timezone.utc)  # noqa: UP017

"""Metric files of a monitor run: JSON lines that SageMaker's service publishes to CloudWatch for a schedule."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sagewind.facts import contract
from sagewind.jobs.analysis import output
from sagewind.jobs.monitor.checks import Distance
from sagewind.jobs.monitor.column_profile import ColumnProfile


def write(folder: Path, profiles: Sequence[ColumnProfile], distances: Mapping[str, Distance], moment: datetime) -> Path:
    """Write the metrics of all columns below `folder`; returns the file. `moment` is their time stamp."""
    common = {"Timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"), "Dimensions": output.dimensions()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / contract.CLOUDWATCH_FILE
    with path.open("w", encoding="utf-8") as file:
        for profile in profiles:
            for metric in _metrics(profile, distances.get(profile.name)):
                file.write(json.dumps({**metric, **common}) + "\n")
    return path


def _metrics(profile: ColumnProfile, distance: Distance | None) -> Iterator[dict[str, Any]]:
    rows = profile.present + profile.missing
    if profile.numeric:
        yield _statistic(f"feature_data_{profile.name}", profile.present, profile.sum, profile.min, profile.max)
    if rows:
        least, most = float(profile.missing == 0), float(profile.present > 0)
        yield _statistic(f"feature_non_null_{profile.name}", rows, float(profile.present), least, most)
    if distance is not None:
        yield {"MetricName": f"feature_baseline_drift_{profile.name}", "Value": distance.value, "Unit": "None"}


def _statistic(name: str, count: int, total: float, least: float, most: float) -> dict[str, Any]:
    values = {"SampleCount": float(count), "Sum": total, "Minimum": least, "Maximum": most}
    return {"MetricName": name, "StatisticValues": values, "Unit": "None"}

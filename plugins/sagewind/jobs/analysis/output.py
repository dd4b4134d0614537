"""What every analysis leaves behind beside its own files: metric file for CloudWatch, log, message, page's notes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sagewind.facts import contract
from sagewind.jobs import page
from sagewind.jobs.analysis import dataset, settings
from sagewind.jobs.job import write_message

#: What an infinite metric is published as (developer guide, CloudWatch metrics for bias drift analysis).
INFINITE = 2.348543e108


@dataclass(frozen=True)
class MetricDatum:
    """A number to publish and the dimensions that it has beside endpoint and schedule."""

    name: str
    value: float
    dimensions: Mapping[str, str] = field(default_factory=dict)


def publish(metrics: Iterable[MetricDatum], program: str) -> None:
    """Write the metrics as JSON lines where the service looks for them, if `publish_cloudwatch_metrics` is Enabled.

    Infinity is published as a large number (documented), a number that is none is not published.
    """
    if os.environ.get(contract.PUBLISH_CLOUDWATCH) != settings.ENABLED:
        return
    stamp = dataset.metric_time().strftime("%Y-%m-%dT%H:%M:%SZ")
    folder = contract.cloudwatch_dir()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / contract.CLOUDWATCH_FILE
    with path.open("w", encoding="utf-8") as file:
        for metric in metrics:
            if not math.isnan(metric.value):
                file.write(json.dumps(_record(metric, stamp)) + "\n")
    print(f"{program}: metrics for CloudWatch in {path}")


def _record(metric: MetricDatum, stamp: str) -> dict[str, object]:
    value = math.copysign(INFINITE, metric.value) if math.isinf(metric.value) else metric.value
    return {
        "MetricName": metric.name,
        "Timestamp": stamp,
        "Dimensions": dimensions(metric.dimensions),
        "Value": value,
        "Unit": "None",
    }


def dimensions(more: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """The dimensions of a metric in CloudWatch: endpoint and schedule where the environment names them, then `more`."""
    named = {"Endpoint": contract.ENDPOINT_NAME, "MonitoringSchedule": contract.SCHEDULE_NAME}
    given = {name: os.environ[key] for name, key in named.items() if os.environ.get(key)}
    return [{"Name": name, "Value": value} for name, value in {**given, **(more or {})}.items()]


def tell(program: str, notes: Sequence[str], violations: Sequence[str] | None) -> None:
    """Log and message. `violations` is None for a baseline."""
    for line in [*notes, *(violations or ())]:
        print(f"{program}: {line}")
    conclude(len(violations or ()))


def conclude(violations: int) -> None:
    """Write the message of a run that found so many violations; its texts are those of AWS's analyzer (seen)."""
    if violations:
        write_message(f"CompletedWithViolations: Job completed successfully with {violations} violations.")
    else:
        write_message("Completed: Job completed successfully with no violations.")


def notes(lines: Sequence[str]) -> str:
    """The section of the page that tells what was counted on the way in."""
    return page.section("What was read", page.card(*(page.paragraph(line) for line in lines)))

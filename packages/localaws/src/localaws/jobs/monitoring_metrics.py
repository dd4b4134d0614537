"""CloudWatch metrics that a monitoring job leaves as files, put under the namespace of its kind of monitoring."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.jobs import execution, s3data
from localaws.jobs.outcome import JobError
from localaws.kinds import MONITORING_SCHEDULE

log = logging.getLogger("localaws.monitoring")

FOLDER = Path("output", "metrics", "cloudwatch")  # below /opt/ml
LARGEST = 4 * 1024 * 1024  # bytes of a file that are read
NAMESPACES = {
    "DataQuality": "aws/sagemaker/Endpoints/data-metrics",
    "ModelQuality": "aws/sagemaker/Endpoints/model-metrics",
    "ModelBias": "aws/sagemaker/Endpoints/bias-metrics",
    "ModelExplainability": "aws/sagemaker/Endpoints/explainability-metrics",
}
BEHAVIOURS = (
    Behaviour(
        "metrics that a monitoring job writes to /opt/ml/output/metrics/cloudwatch are published when it has ended",
        "documented",
        "developer guide, CloudWatch Metrics for Bring Your Own Containers",
    ),
    Behaviour(
        "namespaces of monitoring metrics, as users' alarms have them; the guide spells them in several ways",
        "seen",
        "aws-samples/amazon-sagemaker-drift-detection",
    ),
)


def _lines(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    try:
        folder = execution.settled(root, root / FOLDER)
    except JobError:
        log.warning("%s is or lies behind a symbolic link: no metrics are read from it", FOLDER)
        return
    for file in s3data.files(folder):
        # Not through a link, which would lead to a file of the machine.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as handle:
            for line in handle.read(LARGEST).splitlines():
                if not line.strip():
                    continue
                try:
                    found = json.loads(line)
                except ValueError:
                    found = None
                if isinstance(found, dict):
                    yield file, found
                else:
                    log.warning("%s holds a line that is no metric: %.80s", file.name, line)


def _put(ctx: Context, namespace: str, given: Mapping[str, Any]) -> None:
    moment = datetime.fromisoformat(given["Timestamp"])
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    dimensions = {d["Name"]: d["Value"] for d in given.get("Dimensions", ())}
    place = {"unit": given.get("Unit", "None"), "timestamp": moment.timestamp()}
    if "StatisticValues" in given:
        values = {k: float(given["StatisticValues"][k]) for k in ("SampleCount", "Sum", "Minimum", "Maximum")}
        ctx.metrics.put_statistics(namespace, given["MetricName"], values, dimensions, **place)
    else:
        ctx.metrics.put(namespace, given["MetricName"], float(given["Value"]), dimensions, **place)


def publish(ctx: Context, environment: Mapping[str, str], roots: Sequence[Path]) -> None:
    """Publish what a job has left, if it is one of a monitoring schedule that publishes; others are left alone."""
    if environment.get("publish_cloudwatch_metrics") != "Enabled":
        return
    schedule = ctx.store.get(MONITORING_SCHEDULE.word, environment.get("sagemaker_monitoring_schedule_name", ""))
    if schedule is None:
        return
    namespace = NAMESPACES[schedule.body.get("MonitoringType") or "DataQuality"]
    for root in roots:
        for file, given in _lines(root):
            try:
                _put(ctx, namespace, given)
            except (KeyError, TypeError, ValueError) as error:
                log.warning("%s of schedule %s holds a metric that is not valid: %s", file.name, schedule.name, error)

"""The SageMaker Metrics service: values that programs put on the trial component of their job, and queries for them.

Every training, processing and transform job has a trial component of its own, called `<job>-aws-training-job` and so
on; experiments, which make others, are not here. Values are kept in the store, one document a metric.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localaws import shapes
from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import SerializationException, ValidationException
from localaws.kinds import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB

SERVICE = "sagemaker-metrics"
KIND = "metric-series"
SUFFIXES = {kind: f"-aws-{kind}" for kind in (job.word for job in (TRAINING_JOB, PROCESSING_JOB, TRANSFORM_JOB))}
MOST_POINTS = 100_000  # of one metric
LONGEST_ANSWER = 10_000  # values of one query; AWS names no number
PERIODS = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}
BEHAVIOURS = (
    Behaviour("metrics: a job's trial component: `<job>-aws-training-job`", "seen", "amazon-sagemaker-examples"),
    Behaviour("metrics: for an unknown trial component each value is answered with VALIDATION_ERROR", "assumed"),
    Behaviour("metrics: Start, End and the x axis of times are epoch seconds; bounds are inclusive", "assumed"),
    Behaviour("metrics: values put are found at once", "assumed"),
)  # fmt: skip
Point = list[float | None]  # time in epoch seconds, step, value


def _exists(ctx: Context, component: str) -> bool:
    for kind, suffix in SUFFIXES.items():
        if component.endswith(suffix):
            wanted = component.removesuffix(suffix)
            return any(job.name.lower() == wanted for job in ctx.store.list(kind))
    return False


def _series(component: str, metric: str) -> str:
    return f"{component}/{hashlib.sha256(metric.encode()).hexdigest()[:32]}"


def put(ctx: Context, request: Mapping[str, Any]) -> dict[str, Any]:
    """BatchPutMetrics: keep the values; errors name the places in the request that were not kept."""
    component = request["TrialComponentName"]
    data: Sequence[Mapping[str, Any]] = request["MetricData"]
    if not _exists(ctx, component):
        return {"Errors": [{"Code": "VALIDATION_ERROR", "MetricIndex": index} for index in range(len(data))]}
    errors = []
    for index, given in enumerate(data):
        point: Point = [given["Timestamp"], given.get("Step"), given["Value"]]
        if not _append(ctx, component, given["MetricName"], point):
            errors.append({"Code": "METRIC_LIMIT_EXCEEDED", "MetricIndex": index})
    return {"Errors": errors or None}


def _append(ctx: Context, component: str, metric: str, point: Point) -> bool:
    name = _series(component, metric)
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        if found is None:
            body = {"component": component, "metric": metric, "points": [point]}
            ctx.store.insert(KIND, name, ctx.config.arn(KIND, name), "Active", body)
            return True
        points = found.body["points"]
        if len(points) >= MOST_POINTS:
            return False
        ctx.store.update(KIND, name, points=[*points, point])
    return True


def _component(arn: str) -> str:
    """The trial component of a resource: a component's own ARN, or the ARN of a job."""
    kind, _, name = arn.split(":", 5)[5].partition("/")
    if kind == "experiment-trial-component":
        return name
    if kind not in SUFFIXES:
        raise ValidationException(
            f"ResourceArn {arn} is neither a trial component nor a {', '.join(k.replace('-', ' ') for k in SUFFIXES)}"
        )
    return f"{name}{SUFFIXES[kind]}"


STATS: dict[str, Callable[[Sequence[float]], float]] = {
    "Min": min,
    "Max": max,
    "Avg": statistics.fmean,
    "Count": lambda values: float(len(values)),
    "StdDev": statistics.pstdev,
    "Last": lambda values: values[-1],
}


def _result(ctx: Context, query: Mapping[str, Any]) -> dict[str, Any]:
    by_step = query["XAxisType"] == "IterationNumber"
    if by_step != (query["Period"] == "IterationNumber"):
        raise ValidationException(f"Period {query['Period']} does not go with XAxisType {query['XAxisType']}")
    component = _component(query["ResourceArn"])
    if not _exists(ctx, component):
        raise ValidationException(f"ResourceArn {query['ResourceArn']} does not exist")
    found = ctx.store.get(KIND, _series(component, query["MetricName"]))
    low, high = query.get("Start", float("-inf")), query.get("End", float("inf"))
    groups: dict[int, list[float]] = {}
    for moment, step, value in sorted(found.body["points"] if found else (), key=lambda point: point[0]):
        place = step if by_step else moment
        if place is not None and low <= place <= high:
            period = 1 if by_step else PERIODS[query["Period"]]
            groups.setdefault(int(place // period * period), []).append(value)
    axis = sorted(groups)
    return {
        "Status": "Complete" if len(axis) <= LONGEST_ANSWER else "Truncated",
        "XAxisValues": axis[:LONGEST_ANSWER],
        "MetricValues": [STATS[query["MetricStat"]](groups[place]) for place in axis[:LONGEST_ANSWER]],
    }


def get(ctx: Context, request: Mapping[str, Any]) -> dict[str, Any]:
    """BatchGetMetrics: one result a query, in their order; a query that makes no sense spoils only its own."""
    results = []
    for query in request["MetricQueries"]:
        try:
            results.append(_result(ctx, query))
        except ValidationException as error:
            refused = {"Status": "ValidationError", "Message": error.message, "XAxisValues": [], "MetricValues": []}
            results.append(refused)
    return {"MetricQueryResults": results}


HANDLERS = {"/BatchPutMetrics": ("BatchPutMetrics", put), "/BatchGetMetrics": ("BatchGetMetrics", get)}


def call(ctx: Context, path: str, body: bytes) -> Any:
    """Validate, execute and filter one operation; raises ApiError."""
    name, handler = HANDLERS[path]
    model = shapes.service(SERVICE).operation_model(name)
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        raise SerializationException("The body is not valid JSON") from None
    return shapes.answer(model.output_shape, handler(ctx, shapes.validate(model.input_shape, request)))

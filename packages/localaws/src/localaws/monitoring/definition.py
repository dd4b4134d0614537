"""What a monitoring job is to do, read from either form: inside a schedule, or a job definition of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from localaws.context import Context
from localaws.errors import ResourceNotFound, ValidationException
from localaws.jobs.execution import check_isolation
from localaws.jobs.s3data import split
from localaws.member_checks import refuse_value
from localaws.monitoring.times import DAY, recurrence
from localaws.serving.endpoint_plan import capture_summary
from localaws.serving.lookup import find_endpoint

DEFINITIONS = {
    "DataQuality": "data-quality-job-definition",
    "ModelQuality": "model-quality-job-definition",
    "ModelBias": "model-bias-job-definition",
    "ModelExplainability": "model-explainability-job-definition",
}
NEEDS_TRUTH = ("ModelQuality", "ModelBias")
ATTRIBUTES = {
    "FeaturesAttribute": "features_attribute",
    "InferenceAttribute": "inference_attribute",
    "ProbabilityAttribute": "probability_attribute",
    "ProbabilityThresholdAttribute": "probability_threshold_attribute",
    "ExcludeFeaturesAttribute": "exclude_features_attribute",
}


@dataclass(frozen=True)
class MonitoringJob:
    """One monitoring job, whatever form it was given in; members are those of the API."""

    kind: str
    app: Mapping[str, Any]
    source: Mapping[str, Any]
    output: Mapping[str, Any]
    cluster: Mapping[str, Any]
    role: str
    environment: Mapping[str, str] = field(default_factory=dict)
    truth: str | None = None
    constraints: str | None = None
    statistics: str | None = None
    key: str | None = None
    network: Mapping[str, Any] | None = None
    limit: int | None = None

    @property
    def endpoint(self) -> str:
        """The endpoint whose captured data are looked at."""
        return str(self.source["EndpointName"])

    def attributes(self) -> dict[str, str]:
        """The input's attributes as the containers are given them."""
        found = {name: str(self.source[member]) for member, name in ATTRIBUTES.items() if member in self.source}
        if "ProblemType" in self.app:
            found["problem_type"] = self.app["ProblemType"]
        if self.kind == "ModelQuality":
            found["analysis_type"] = "MODEL_QUALITY"
        return found


def _baseline(config: Mapping[str, Any] | None) -> dict[str, Any]:
    config = config or {}
    constraints = config.get("ConstraintsResource", {}).get("S3Uri")
    statistics = config.get("StatisticsResource", {}).get("S3Uri")
    if "BaseliningJobName" in config and constraints is None:
        raise ValidationException(
            "BaseliningJobName alone does not say where the baseline is: give ConstraintsResource.S3Uri"
        )
    return {"constraints": constraints, "statistics": statistics}


def _input(given: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if "EndpointInput" not in given:
        raise ValidationException(f"{where}.EndpointInput is required")
    source: Mapping[str, Any] = given["EndpointInput"]
    return source


def from_definition(kind: str, request: Mapping[str, Any]) -> MonitoringJob:
    """The monitor of a Create...JobDefinition request."""
    given, app, output = request[f"{kind}JobInput"], request[f"{kind}AppSpecification"], f"{kind}JobOutputConfig"
    return MonitoringJob(
        kind=kind,
        app=app,
        source=_input(given, f"{kind}JobInput"),
        output=request[output]["MonitoringOutputs"][0]["S3Output"],
        key=request[output].get("KmsKeyId"),
        cluster=request["JobResources"]["ClusterConfig"],
        role=request["RoleArn"],
        environment=app.get("Environment", {}),
        truth=given.get("GroundTruthS3Input", {}).get("S3Uri"),
        network=request.get("NetworkConfig"),
        limit=request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds"),
        **_baseline(request.get(f"{kind}BaselineConfig")),
    )


def _inline(job: Mapping[str, Any], kind: str) -> MonitoringJob:
    outputs = job["MonitoringOutputConfig"]
    return MonitoringJob(
        kind=kind,
        app=job["MonitoringAppSpecification"],
        source=_input(job["MonitoringInputs"][0], "MonitoringInputs"),
        output=outputs["MonitoringOutputs"][0]["S3Output"],
        key=outputs.get("KmsKeyId"),
        cluster=job["MonitoringResources"]["ClusterConfig"],
        role=job["RoleArn"],
        environment=job.get("Environment", {}),
        network=job.get("NetworkConfig"),
        limit=job.get("StoppingCondition", {}).get("MaxRuntimeInSeconds"),
        **_baseline(job.get("BaselineConfig")),
    )


def of_schedule(ctx: Context, config: Mapping[str, Any]) -> MonitoringJob:
    """The monitor of a MonitoringScheduleConfig; ValidationException or ResourceNotFound when there is none."""
    job, name, kind = (
        config.get(k) for k in ("MonitoringJobDefinition", "MonitoringJobDefinitionName", "MonitoringType")
    )
    if (job is None) == (name is None):
        raise ValidationException("Exactly one of MonitoringJobDefinition and MonitoringJobDefinitionName is required")
    if job is not None:
        return _inline(job, kind or "DataQuality")
    if kind is None:
        raise ValidationException("MonitoringType is required with MonitoringJobDefinitionName")
    found = ctx.store.get(DEFINITIONS[kind], str(name))
    if found is None:
        raise ResourceNotFound(f"Could not find {DEFINITIONS[kind].replace('-', ' ')} {name}")
    return from_definition(kind, found.body)


def captured_to(ctx: Context, endpoint: str) -> str:
    """Where an endpoint's captured data go; ValidationException when it is not there or captures nothing."""
    capture = capture_summary(find_endpoint(ctx, endpoint).body["plan"].get("capture"))
    if capture is None or not capture["EnableCapture"]:
        raise ValidationException(
            f'Endpoint "{endpoint}" captures no data: give its endpoint configuration a DataCaptureConfig'
        )
    return str(capture["DestinationS3Uri"])


def _check_place(where: str, local: str) -> None:
    path = PurePosixPath(local)
    if not path.is_relative_to("/opt/ml/processing") or ".." in path.parts:
        raise ValidationException(f"{where} LocalPath '{local}' must lie under /opt/ml/processing")


def check(ctx: Context, monitor: MonitoringJob) -> None:
    """Raise ValidationException for what no execution could do, so that it is known before the first one."""
    ctx.images.resolve(monitor.app["ImageUri"])
    check_isolation(ctx, (monitor.network or {}).get("EnableNetworkIsolation", False))
    _check_place("EndpointInput", monitor.source["LocalPath"])
    _check_place("S3Output", monitor.output["LocalPath"])
    refuse_value(monitor.source, "S3InputMode", ["File"], "EndpointInput")
    for uri in (monitor.output["S3Uri"], monitor.truth, monitor.constraints, monitor.statistics):
        if uri is not None:
            split(uri)
    for member in ("RecordPreprocessorSourceUri", "PostAnalyticsProcessorSourceUri", "ConfigUri"):
        if member in monitor.app:
            split(monitor.app[member])


def check_runtime(monitor: MonitoringJob, config: Mapping[str, Any]) -> None:
    """The documented limit: a job ends before the next one is due, in half that time where two jobs are needed."""
    period = recurrence(config)
    most = period.period if period else DAY
    if period and monitor.kind in NEEDS_TRUTH:
        most /= 2
    if monitor.limit is not None and monitor.limit > most:
        raise ValidationException(
            f"MaxRuntimeInSeconds {monitor.limit} is longer than the {most:g} seconds that this schedule leaves a "
            f"{monitor.kind} job"
        )

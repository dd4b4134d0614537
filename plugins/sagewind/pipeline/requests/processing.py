"""CreateProcessingJob requests of the job programs: prepare, evaluate, monitor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sagewind.facts import contract
from sagewind.facts.algorithms import JOBS_IMAGE
from sagewind.facts.contract import INPUT, OUTPUT
from sagewind.facts.metrics import MONITOR_TYPES
from sagewind.pipeline.refs import RunRefs
from sagewind.pipeline.requests.common import kms, stopping, vpc
from sagewind.pipeline.spec import InstanceSpec, ModelSpec

#: Folders of inputs that hold what an analysis looks at.
DATASET, CAPTURED, LABELS = "dataset", "captured", "labels"
BASELINE = f"{INPUT}/{contract.BASELINE}"


def _processing(
    spec: ModelSpec,
    refs: RunRefs,
    *,
    program: str,
    image: str,
    inputs: Mapping[str, str],
    output: str,
    instance: InstanceSpec,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A request that runs the job program `program`; `inputs` maps folders under the input root to S3 URIs."""
    everything = {contract.CODE: refs.code, **inputs}
    return {
        "AppSpecification": {
            "ImageUri": refs.images[image],
            "ContainerEntrypoint": ["python3", "-m", f"sagewind.jobs.{program}"],
        },
        "Environment": {"PYTHONPATH": f"{INPUT}/{contract.CODE}", **(environment or {})},
        "NetworkConfig": {
            "EnableNetworkIsolation": spec.aws.isolate,
            "EnableInterContainerTrafficEncryption": spec.aws.encrypt_traffic,
            **vpc(spec.aws),
        },
        "ProcessingInputs": [_input(name, uri) for name, uri in everything.items()],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "result",
                    "S3Output": {"S3Uri": output, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"},
                }
            ],
            **kms(spec.aws, "KmsKeyId"),
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": instance.count,
                "InstanceType": instance.type,
                "VolumeSizeInGB": instance.volume_gb,
                **kms(spec.aws, "VolumeKmsKeyId"),
            }
        },
        "RoleArn": refs.role_arn,
        "StoppingCondition": stopping(instance),
    }


def _input(name: str, uri: str) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"{INPUT}/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
        },
    }


def prepare(spec: ModelSpec, refs: RunRefs) -> dict[str, Any]:
    """Clean, encode and split the ingested snapshot."""
    return _processing(
        spec,
        refs,
        program="prepare",
        image=JOBS_IMAGE,
        inputs={contract.CONFIG: refs.config, contract.RAW: f"{refs.prefix}/{contract.RAW}"},
        output=f"{refs.prefix}/prepare",
        instance=spec.processing,
    )


def evaluate(spec: ModelSpec, refs: RunRefs) -> dict[str, Any]:
    """Score the test rows with the artifact and measure it; in the image that trained it."""
    return _processing(
        spec,
        refs,
        program="evaluate",
        image=spec.train.image,
        inputs={
            contract.CONFIG: refs.config,
            contract.MODEL: refs.result(spec.fit_task, "artifact"),
            contract.TEST: refs.prepared(contract.TEST),
            contract.SCHEMA: refs.prepared(contract.SCHEMA),
        },
        output=f"{refs.prefix}/evaluate",
        instance=spec.processing,
    )


def baseline(spec: ModelSpec, refs: RunRefs) -> dict[str, Any]:
    """Statistics and constraints of the training features: what later traffic is held against."""
    return _processing(
        spec,
        refs,
        program="monitor",
        image=JOBS_IMAGE,
        inputs={contract.CONFIG: refs.config, DATASET: refs.prepared(contract.BASELINE)},
        output=refs.baseline,
        instance=spec.monitor.instance,
        environment={
            contract.DATASET_SOURCE: f"{INPUT}/{DATASET}",
            contract.DATASET_FORMAT: json.dumps({"csv": {"header": True}}),
            contract.OUTPUT_PATH: OUTPUT,
            contract.PUBLISH_CLOUDWATCH: "Disabled",
        },
    )


def check_captured(
    spec: ModelSpec,
    refs: RunRefs,
    *,
    captured: str,
    baseline: str,
    output: str,
    settings: Mapping[str, str] | None = None,
    manifest: bool = False,
) -> dict[str, Any]:
    """Hold captured traffic against a baseline; `settings` may hold start_time and end_time (ISO) and other settings
    of the analyzer.

    `captured` is an S3 prefix, or with `manifest` the URI of an S3 manifest.
    """
    request = _check(
        spec,
        refs,
        dataset=captured,
        baseline=baseline,
        output=output,
        dataset_format={"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput"]}},
        extra=settings or {},
    )
    return _by_manifest(request, DATASET) if manifest else request


def check_batch(spec: ModelSpec, refs: RunRefs, *, batch: str, baseline: str, output: str) -> dict[str, Any]:
    """Hold a batch of feature rows (CSV without header) against a baseline."""
    return _check(
        spec,
        refs,
        dataset=batch,
        baseline=baseline,
        output=output,
        dataset_format={"csv": {"header": False}},
        extra={},
    )


def check_labelled(
    spec: ModelSpec,
    refs: RunRefs,
    *,
    captured: str,
    labels: str,
    baseline: str,
    output: str,
    settings: Mapping[str, str],
) -> dict[str, Any]:
    """Merge captured traffic with labels (URIs of S3 manifests) and hold the model's quality against the evaluation in
    the folder `baseline`: one job for both.
    """
    request = _processing(
        spec,
        refs,
        program="quality.labelled",
        image=JOBS_IMAGE,
        inputs={CAPTURED: captured, LABELS: labels, contract.BASELINE: baseline},
        output=output,
        instance=spec.monitor.instance,
        environment={
            contract.DATASET_SOURCE: f"{INPUT}/{CAPTURED}",
            contract.GROUND_TRUTH_SOURCE: f"{INPUT}/{LABELS}",
            contract.PROBLEM_TYPE: MONITOR_TYPES[spec.problem],
            contract.BASELINE_STATISTICS: f"{BASELINE}/{contract.EVALUATION_JSON}",
            contract.BASELINE_CONSTRAINTS: f"{BASELINE}/{contract.CONSTRAINTS_JSON}",
            contract.TOLERANCE: repr(spec.monitor.quality_tolerance),
            contract.OUTPUT_PATH: OUTPUT,
            contract.PUBLISH_CLOUDWATCH: "Disabled",
            **settings,
        },
    )
    return _by_manifest(request, CAPTURED, LABELS)


def _by_manifest(request: dict[str, Any], *names: str) -> dict[str, Any]:
    for item in request["ProcessingInputs"]:
        if item["InputName"] in names:
            item["S3Input"]["S3DataType"] = "ManifestFile"
    return request


def _check(
    spec: ModelSpec,
    refs: RunRefs,
    *,
    dataset: str,
    baseline: str,
    output: str,
    dataset_format: Mapping[str, Any],
    extra: Mapping[str, str],
) -> dict[str, Any]:
    return _processing(
        spec,
        refs,
        program="monitor",
        image=JOBS_IMAGE,
        inputs={contract.CONFIG: refs.config, DATASET: dataset, contract.BASELINE: baseline},
        output=output,
        instance=spec.monitor.instance,
        environment={
            contract.DATASET_SOURCE: f"{INPUT}/{DATASET}",
            contract.DATASET_FORMAT: json.dumps(dataset_format),
            contract.BASELINE_STATISTICS: f"{BASELINE}/{contract.STATISTICS_JSON}",
            contract.BASELINE_CONSTRAINTS: f"{BASELINE}/{contract.CONSTRAINTS_JSON}",
            contract.OUTPUT_PATH: OUTPUT,
            contract.PUBLISH_CLOUDWATCH: "Disabled",
            **extra,
        },
    )

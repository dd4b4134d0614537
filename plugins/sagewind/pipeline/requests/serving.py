"""CreateModel, CreateEndpointConfig, CreateEndpoint and CreateTransformJob requests."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from sagewind.facts import contract
from sagewind.pipeline.refs import RunRefs
from sagewind.pipeline.requests.common import CSV, kms, vpc
from sagewind.pipeline.spec import ModelSpec

VARIANT = "main"


def container_environment(spec: ModelSpec) -> dict[str, str]:
    """Environment of the model's container: where a script's serving code lies in the artifact."""
    if spec.train.script is None:
        return {}
    return {
        "SAGEMAKER_PROGRAM": PurePosixPath(contract.INFERENCE_PY).name,
        "SAGEMAKER_SUBMIT_DIRECTORY": f"{contract.ROOT}/model/{PurePosixPath(contract.INFERENCE_PY).parent}",
        "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
    }


def model(spec: ModelSpec, refs: RunRefs) -> dict[str, Any]:
    """A SageMaker model from this run's artifact: it is verified before its version is approved."""
    container = {
        "Image": refs.images[spec.train.image],
        "ModelDataUrl": refs.result(spec.fit_task, "artifact"),
        "Environment": container_environment(spec),
    }
    return _model(spec, refs, container)


def approved_model(spec: ModelSpec, refs: RunRefs, *, package_arn: str) -> dict[str, Any]:
    """A SageMaker model from an approved version of the registry."""
    return _model(spec, refs, {"ModelPackageName": package_arn})


def _model(spec: ModelSpec, refs: RunRefs, container: dict[str, Any]) -> dict[str, Any]:
    return {
        "Containers": [container],
        "ExecutionRoleArn": refs.role_arn,
        "EnableNetworkIsolation": spec.aws.isolate,
        **vpc(spec.aws),
    }


def endpoint_config(spec: ModelSpec, refs: RunRefs, *, model_name: str, capture: int | None = None) -> dict[str, Any]:
    """One variant, with data capture of `capture` percent of the requests (default: the model file's)."""
    capture = spec.deploy.capture if capture is None else capture
    request: dict[str, Any] = {
        "ProductionVariants": [
            {
                "VariantName": VARIANT,
                "ModelName": model_name,
                "InstanceType": spec.deploy.instance.type,
                "InitialInstanceCount": spec.deploy.instance.count,
                "InitialVariantWeight": 1.0,
            }
        ],
        **kms(spec.aws, "KmsKeyId"),
    }
    if capture:
        request["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": capture,
            "DestinationS3Uri": refs.capture,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": [CSV]},
            **kms(spec.aws, "KmsKeyId"),
        }
    return request


def transform(spec: ModelSpec, *, model_name: str, source: str, output: str) -> dict[str, Any]:
    """Score every row under `source` (CSV without header, features only); one output line per input line."""
    return {
        "ModelName": model_name,
        "BatchStrategy": "MultiRecord",
        "MaxPayloadInMB": 6,
        "TransformInput": {
            "ContentType": CSV,
            "SplitType": "Line",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
        },
        "TransformOutput": {
            "Accept": CSV,
            "AssembleWith": "Line",
            "S3OutputPath": output,
            **kms(spec.aws, "KmsKeyId"),
        },
        "TransformResources": {
            "InstanceCount": spec.batch.instance.count,
            "InstanceType": spec.batch.instance.type,
            **kms(spec.aws, "VolumeKmsKeyId"),
        },
    }

"""CreateModelPackageGroup and CreateModelPackage requests."""

from __future__ import annotations

from typing import Any

from sagewind.pipeline.refs import RunRefs
from sagewind.pipeline.requests.common import CSV
from sagewind.pipeline.requests.serving import container_environment
from sagewind.pipeline.spec import ModelSpec

JSON = "application/json"


def group(spec: ModelSpec) -> dict[str, Any]:
    """The group that holds the versions of one model."""
    return {"ModelPackageGroupDescription": spec.description}


def package(spec: ModelSpec, refs: RunRefs, *, group_name: str) -> dict[str, Any]:
    """One version: artifact, image, measured quality and the baselines that its traffic is held against."""
    evaluation = f"{refs.prefix}/evaluate/evaluation"
    quality = {
        "Statistics": {"ContentType": JSON, "S3Uri": f"{evaluation}/evaluation.json"},
        "Constraints": {"ContentType": JSON, "S3Uri": f"{evaluation}/constraints.json"},
    }
    statistics = {"ContentType": JSON, "S3Uri": f"{refs.prefix}/baseline/statistics.json"}
    constraints = {"ContentType": JSON, "S3Uri": f"{refs.prefix}/baseline/constraints.json"}
    return {
        "ModelPackageGroupName": group_name,
        "ModelPackageDescription": spec.description,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": refs.images[spec.train.image],
                    "ModelDataUrl": refs.result(spec.fit_task, "artifact"),
                    "Environment": container_environment(spec),
                }
            ],
            "SupportedContentTypes": [CSV],
            "SupportedResponseMIMETypes": [CSV],
            "SupportedRealtimeInferenceInstanceTypes": [spec.deploy.instance.type],
            "SupportedTransformInstanceTypes": [spec.batch.instance.type],
        },
        "ModelMetrics": {
            "ModelQuality": quality,
            "ModelDataQuality": {"Statistics": statistics, "Constraints": constraints},
        },
        "DriftCheckBaselines": {
            "ModelQuality": quality,
            "ModelDataQuality": {"Statistics": statistics, "Constraints": constraints},
        },
        "CustomerMetadataProperties": {
            "sagewind:prefix": refs.prefix,
            "sagewind:baseline": f"{refs.prefix}/baseline",
            "sagewind:model": spec.name,
        },
    }

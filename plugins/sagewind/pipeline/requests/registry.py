"""CreateModelPackageGroup and CreateModelPackage requests."""

from __future__ import annotations

from typing import Any

from sagewind.facts import contract
from sagewind.facts.tags import BASELINE, MODEL, RUN_FOLDER, full
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
    quality = _measured(refs.evaluation, contract.EVALUATION_JSON)
    data_quality = _measured(refs.baseline, contract.STATISTICS_JSON)
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
            "ModelDataQuality": data_quality,
        },
        "DriftCheckBaselines": {
            "ModelQuality": quality,
            "ModelDataQuality": data_quality,
        },
        "CustomerMetadataProperties": {
            full(RUN_FOLDER): refs.prefix,
            full(BASELINE): refs.baseline,
            full(MODEL): spec.name,
        },
    }


def _measured(folder: str, statistics: str) -> dict[str, Any]:
    """What was measured, and the constraints beside it that later traffic is held against."""
    return {
        "Statistics": {"ContentType": JSON, "S3Uri": f"{folder}/{statistics}"},
        "Constraints": {"ContentType": JSON, "S3Uri": f"{folder}/{contract.CONSTRAINTS_JSON}"},
    }

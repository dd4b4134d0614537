"""Parts that several requests share: machines, time limits, network, encryption."""

from __future__ import annotations

from typing import Any

from sagewind.pipeline.spec import AwsSpec, InstanceSpec

CSV = "text/csv"


def stopping(instance: InstanceSpec) -> dict[str, int]:
    """StoppingCondition: the service stops the job at this many seconds."""
    return {"MaxRuntimeInSeconds": instance.max_minutes * 60}


def vpc(aws: AwsSpec) -> dict[str, Any]:
    """VpcConfig as a one-key dict, or nothing."""
    if not aws.subnets:
        return {}
    return {"VpcConfig": {"SecurityGroupIds": list(aws.security_groups), "Subnets": list(aws.subnets)}}


def kms(aws: AwsSpec, key: str) -> dict[str, str]:
    """The KMS key under the field name `key`, or nothing."""
    return {key: aws.kms_key} if aws.kms_key else {}


def container_network(aws: AwsSpec) -> dict[str, Any]:
    """Network fields of training jobs."""
    return {
        "EnableNetworkIsolation": aws.isolate,
        "EnableInterContainerTrafficEncryption": aws.encrypt_traffic,
        **vpc(aws),
    }


def s3_channel(name: str, uri: str, content_type: str | None = CSV) -> dict[str, Any]:
    """One input channel of a training job: everything under `uri`, copied to each instance."""
    channel: dict[str, Any] = {
        "ChannelName": name,
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": uri,
                "S3DataDistributionType": "FullyReplicated",
            }
        },
        "InputMode": "File",
    }
    if content_type:
        channel["ContentType"] = content_type
    return channel

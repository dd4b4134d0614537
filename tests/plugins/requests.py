"""One valid Create request of each kind of job, without its name."""

from __future__ import annotations

from typing import Any

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/line:1"
ROLE = "arn:aws:iam::123456789012:role/service-role"
LIMIT = {"MaxRuntimeInSeconds": 600}
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
INPUT = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in/"}}
TRAINING: dict[str, Any] = {
    "InputDataConfig": [{"ChannelName": "train", "DataSource": INPUT}],
    "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/models"},
    "ResourceConfig": CLUSTER,
    "RoleArn": ROLE,
    "StoppingCondition": LIMIT,
    "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"},
}
REQUESTS: dict[str, dict[str, Any]] = {
    "processing": {
        "ProcessingResources": {"ClusterConfig": CLUSTER},
        "AppSpecification": {"ImageUri": IMAGE},
        "RoleArn": ROLE,
        "StoppingCondition": LIMIT,
    },
    "training": TRAINING,
    "tuning": {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"MetricName": "error", "Type": "Minimize"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2, "MaxRuntimeInSeconds": 600},
        },
        "TrainingJobDefinition": TRAINING,
    },
    "transform": {
        "ModelName": "model",
        "TransformInput": {"DataSource": INPUT},
        "TransformOutput": {"S3OutputPath": "s3://bucket/out/"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
    },
}

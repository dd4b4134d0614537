"""Small valid configurations, as users write them for the operators."""

from __future__ import annotations

from typing import Any

BUCKET = "provider-tests"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/line:1"
ROLE = "arn:aws:iam::123456789012:role/service-role"
POLL = 0.05  # seconds between two looks at a job; the provider's own default is 30
#: How often a job is looked at before a wait gives up; by default operators look 60 times: at this pace for 3 seconds.
LOOKS = 6000
PATIENT: dict[str, Any] = {"waiter_delay": POLL, "waiter_max_attempts": LOOKS}


class Names(str):
    """A prefix of one test; `names("model")` is a name with it."""

    __slots__ = ()

    def __call__(self, what: str) -> str:
        return f"{what}-{self}"


def channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}


def training_request(name: str, data: str, /, **hyperparameters: str) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": hyperparameters,
        "InputDataConfig": [channel("train", data)],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def processing_request(name: str, data: str, output: str, *arguments: str) -> dict[str, Any]:
    source = {"S3Uri": data, "LocalPath": "/opt/ml/processing/input", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    target = {"S3Uri": output, "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}
    specification: dict[str, Any] = {"ImageUri": IMAGE}
    if arguments:
        specification["ContainerArguments"] = list(arguments)
    return {
        "ProcessingJobName": name,
        "ProcessingInputs": [{"InputName": "input", "S3Input": source}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "output", "S3Output": target}]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "AppSpecification": specification,
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def tuning_request(name: str, data: str, /, **static: str) -> dict[str, Any]:
    definition = training_request("unused", data)
    del definition["TrainingJobName"], definition["HyperParameters"]
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "RandomSeed": 7,
            "HyperParameterTuningJobObjective": {"MetricName": "validation:error", "Type": "Minimize"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "ContinuousParameterRanges": [{"Name": "shrink", "MinValue": "0.0", "MaxValue": "1.0"}]
            },
        },
        "TrainingJobDefinition": {**definition, "StaticHyperParameters": static},
    }


def model_request(name: str, artifact: str) -> dict[str, Any]:
    return {
        "ModelName": name,
        "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": artifact},
        "ExecutionRoleArn": ROLE,
    }


def transform_request(name: str, model: str, data: str, output: str) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}}
    return {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        "TransformOutput": {"S3OutputPath": output, "AssembleWith": "Line"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
    }


def endpoint_config_request(name: str, model: str) -> dict[str, Any]:
    variant = {
        "VariantName": "only",
        "ModelName": model,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    return {"EndpointConfigName": name, "ProductionVariants": [variant]}

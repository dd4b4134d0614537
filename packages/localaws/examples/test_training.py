"""How to test code that uses SageMaker. Copy this directory and run `pytest` in it: it needs no AWS account, no Docker.

The fixture `localaws` is a local AWS account. It is empty when a test begins, and while the test runs boto3 talks to it
without any setting. Training jobs and endpoints are real processes on this machine: they end in seconds.
"""

import io
import json
import tarfile

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mycompany/line:1"  # images/line here


# The code under test. It knows nothing of tests and makes its clients as it does on AWS.
def train(name, rows, **hyperparameters):
    boto3.client("s3").create_bucket(Bucket="data")
    boto3.client("s3").put_object(Bucket="data", Key=f"{name}/rows.csv", Body="\n".join(f"{x},{y}" for x, y in rows))
    data = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://data/{name}/"}}
    return boto3.client("sagemaker").create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn="arn:aws:iam::123456789012:role/any",
        HyperParameters=hyperparameters,
        InputDataConfig=[{"ChannelName": "train", "DataSource": data}],
        OutputDataConfig={"S3OutputPath": "s3://data/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )


def test_a_training_job_leaves_its_model_in_s3(localaws):
    train("first", [(1, 2), (2, 4)])
    # boto3's own waiter looks every two minutes; this one looks ten times a second.
    localaws.wait("training_job_completed_or_stopped", TrainingJobName="first")
    job = localaws.client("sagemaker").describe_training_job(TrainingJobName="first")
    assert job["TrainingJobStatus"] == "Completed"
    assert job["FinalMetricDataList"][0]["MetricName"] == "train:error"
    assert localaws.logs("first") == ["error=0.0"]
    key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://data/")
    archive = localaws.client("s3").get_object(Bucket="data", Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(archive)) as model:
        assert json.load(model.extractfile("slope.json")) == 2.0


def test_a_job_that_fails_says_why(localaws):
    train("empty", [])
    with pytest.raises(WaiterError, match="Failed"):
        localaws.wait("training_job_completed_or_stopped", TrainingJobName="empty")
    job = localaws.client("sagemaker").describe_training_job(TrainingJobName="empty")
    assert "there are no rows" in job["FailureReason"]


# A fault on request: the first two calls are throttled. boto3 tries again by itself, so the code does not notice.
@pytest.mark.localaws_fault("CreateTrainingJob", error="ThrottlingException", calls=2)
def test_throttling_is_survived(localaws):
    answer = train("patient", [(1, 3)])
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2


# An error that boto3 does not try again: the code under test has to tell it.
@pytest.mark.localaws_fault("CreateTrainingJob", error="ResourceLimitExceeded")
def test_a_quota_that_is_used_up_is_told(localaws):
    with pytest.raises(ClientError, match="ResourceLimitExceeded"):
        train("refused", [(1, 3)])
    assert localaws.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []


def test_a_model_is_deployed_and_asked(localaws):
    sagemaker = boto3.client("sagemaker")
    train("model", [(1, 3)], scale="2")
    localaws.wait("training_job_completed_or_stopped", TrainingJobName="model")
    model = sagemaker.describe_training_job(TrainingJobName="model")["ModelArtifacts"]["S3ModelArtifacts"]
    container = {"Image": IMAGE, "ModelDataUrl": model}
    sagemaker.create_model(ModelName="line", PrimaryContainer=container, ExecutionRoleArn=localaws.role)
    variant = {"VariantName": "one", "ModelName": "line", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="line", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="line", EndpointConfigName="line")
    localaws.wait("endpoint_in_service", EndpointName="line")
    runtime = boto3.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="line", Body="10\n20", ContentType="text/csv")
    assert answer["Body"].read() == b"60\n120\n"

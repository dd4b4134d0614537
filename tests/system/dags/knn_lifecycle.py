"""Processing, k-NN training, registering, tuning and batch transform, each started by an operator, awaited by a sensor.

The provider's system test `example_sagemaker` has the same steps and settings, with AutoML and an experiment besides.
"""

from __future__ import annotations

import json
from typing import Any

import boto3
from airflow.providers.amazon.aws.operators.s3 import (
    S3CreateBucketOperator,
    S3CreateObjectOperator,
    S3DeleteBucketOperator,
)
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerDeleteModelOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerRegisterModelVersionOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import (
    SageMakerProcessingSensor,
    SageMakerTrainingSensor,
    SageMakerTransformSensor,
    SageMakerTuningSensor,
)
from airflow.sdk import DAG, TriggerRule, chain, task
from knn import IMAGE, RESOURCES, ROLE, channel, env_id, model, note, require_all, training_definition

ENV = env_id()
BUCKET = f"{ENV}-sagemaker-example"
RAW, SPLIT, RESULTS, SCORES = (f"{ENV}/{part}" for part in ("raw/input.csv", "split", "results", "transform"))
GROUP, MODEL, REPOSITORY = f"{ENV}-group", f"{ENV}-KNN-model", f"{ENV}-repo"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"})
SAMPLES = 600
ROWS = "".join(f"{i % 100},{i},{SAMPLES - i}\n" for i in range(SAMPLES))
ARTIFACT = f"s3://{BUCKET}/{RESULTS}/{ENV}-train/output/model.tar.gz"


def processing() -> dict[str, Any]:
    source = {
        "S3Uri": f"s3://{BUCKET}/{RAW}",
        "LocalPath": "/opt/ml/processing/input",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }
    target = {
        "S3Uri": f"s3://{BUCKET}/{SPLIT}",
        "LocalPath": "/opt/ml/processing/output",
        "S3UploadMode": "EndOfJob",
    }
    return {
        "ProcessingJobName": f"{ENV}-processing",
        "ProcessingInputs": [{"InputName": "input", "AppManaged": False, "S3Input": source}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "output", "S3Output": target, "AppManaged": False}]},
        "ProcessingResources": {"ClusterConfig": RESOURCES},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "AppSpecification": {"ImageUri": f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{REPOSITORY}"},
        "RoleArn": ROLE,
    }


def training() -> dict[str, Any]:
    return training_definition(f"s3://{BUCKET}/{SPLIT}/train.csv", f"s3://{BUCKET}/{RESULTS}/") | {
        "TrainingJobName": f"{ENV}-train",
        "HyperParameters": {"predictor_type": "classifier", "feature_dim": "2", "k": "3", "sample_size": str(SAMPLES)},
        "ExperimentConfig": {"ExperimentName": f"{ENV}-experiment"},
    }


def tuning() -> dict[str, Any]:
    definition = training_definition(f"s3://{BUCKET}/{SPLIT}/train.csv", f"s3://{BUCKET}/{RESULTS}")
    definition["InputDataConfig"].append(channel("test", f"s3://{BUCKET}/{SPLIT}/train.csv"))
    ranges = [{"Name": name, "MinValue": "1", "MaxValue": str(SAMPLES)} for name in ("k", "sample_size")]
    return {
        "HyperParameterTuningJobName": f"{ENV}-tune",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"MetricName": "test:accuracy", "Type": "Maximize"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 10, "MaxParallelTrainingJobs": 10},
            "ParameterRanges": {"CategoricalParameterRanges": [], "IntegerParameterRanges": ranges},
        },
        "TrainingJobDefinition": {
            **definition,
            "StaticHyperParameters": {"predictor_type": "classifier", "feature_dim": "2"},
        },
    }


def transform() -> dict[str, Any]:
    data = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{SPLIT}/test.csv"}}
    return {
        "TransformJobName": f"{ENV}-transform",
        "TransformInput": {"DataSource": data, "SplitType": "Line", "ContentType": "text/csv"},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/{SCORES}"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"},
        "ModelName": MODEL,
    }


@task
def set_up() -> None:
    """The repository of the processing image; an image directory answers for it instead of a build and a push."""
    ecr = boto3.client("ecr")
    ecr.create_repository(repositoryName=REPOSITORY)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "ecr:*"}]}
    ecr.set_repository_policy(repositoryName=REPOSITORY, policyText=json.dumps(policy))
    ecr.put_image(repositoryName=REPOSITORY, imageTag="latest", imageManifest=MANIFEST)


@task
def look(package: str) -> None:
    """Note what the jobs left, before it is removed."""
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")

    def text(key: str) -> str:
        return str(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode())

    tuned = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=f"{ENV}-tune")
    children = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=f"{ENV}-tune", SortBy="FinalObjectiveMetricValue", SortOrder="Descending"
    )["TrainingJobSummaries"]
    note(
        train=len(text(f"{SPLIT}/train.csv").splitlines()),
        test=text(f"{SPLIT}/test.csv").splitlines(),
        scores=text(f"{SCORES}/test.csv.out"),
        artifact=s3.head_object(Bucket=BUCKET, Key=ARTIFACT.removeprefix(f"s3://{BUCKET}/"))["ContentLength"],
        best=tuned["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"],
        counters=tuned["TrainingJobStatusCounters"],
        objectives=[
            child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
            for child in children
            if "FinalHyperParameterTuningJobObjectiveMetric" in child
        ],
        package=sagemaker.describe_model_package(ModelPackageName=package)["InferenceSpecification"]["Containers"][0][
            "ModelDataUrl"
        ],
        experiment=sagemaker.describe_training_job(TrainingJobName=f"{ENV}-train").get("ExperimentConfig"),
    )


@task(trigger_rule=TriggerRule.ALL_DONE)
def delete_repository() -> None:
    ecr = boto3.client("ecr")
    images = ecr.list_images(repositoryName=REPOSITORY)["imageIds"]
    digests = [{"imageDigest": image["imageDigest"]} for image in images]
    ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=digests)
    ecr.delete_repository(repositoryName=REPOSITORY)


@task(trigger_rule=TriggerRule.ALL_DONE)
def delete_group(package: str) -> None:
    sagemaker = boto3.client("sagemaker")
    sagemaker.delete_model_package(ModelPackageName=package)
    sagemaker.delete_model_package_group(ModelPackageGroupName=GROUP)


@task(trigger_rule=TriggerRule.ALL_DONE)
def prune_logs() -> None:
    logs = boto3.client("logs")
    for kind in ("ProcessingJobs", "TrainingJobs", "TransformJobs"):
        group = f"/aws/sagemaker/{kind}"
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=ENV)["logStreams"]
        note(**{kind: len(streams)})
        for stream in streams:
            logs.delete_log_stream(logGroupName=group, logStreamName=stream["logStreamName"])


with DAG("knn_lifecycle", schedule=None) as dag:
    register_model = SageMakerRegisterModelVersionOperator(
        task_id="register_model", image_uri=IMAGE, model_url=ARTIFACT, package_group_name=GROUP
    )
    package = register_model.output
    waiting = {"poke_interval": 0.5, "timeout": 900}
    chain(
        set_up(),
        S3CreateBucketOperator(task_id="create_bucket", bucket_name=BUCKET),
        S3CreateObjectOperator(
            task_id="upload_dataset", s3_bucket=BUCKET, s3_key=RAW, data=f"class,x,y\n{ROWS}", replace=True
        ),
        SageMakerProcessingOperator(task_id="preprocess", config=processing(), wait_for_completion=False),
        SageMakerProcessingSensor(task_id="await_preprocess", job_name=f"{ENV}-processing", **waiting),
        SageMakerTrainingOperator(
            task_id="train_model", config=training(), wait_for_completion=False, check_interval=1
        ),
        SageMakerTrainingSensor(task_id="await_training", job_name=f"{ENV}-train", print_log=False, **waiting),
        SageMakerModelOperator(task_id="create_model", config=model(MODEL, ARTIFACT)),
        register_model,
        SageMakerTuningOperator(task_id="tune_model", config=tuning(), wait_for_completion=False),
        SageMakerTuningSensor(task_id="await_tuning", job_name=f"{ENV}-tune", **waiting),
        SageMakerTransformOperator(task_id="test_model", config=transform(), wait_for_completion=False),
        SageMakerTransformSensor(task_id="await_transform", job_name=f"{ENV}-transform", **waiting),
        look(package),
        delete_repository(),
        delete_group(package),
        SageMakerDeleteModelOperator(
            task_id="delete_model", config={"ModelName": MODEL}, trigger_rule=TriggerRule.ALL_DONE
        ),
        S3DeleteBucketOperator(
            task_id="delete_bucket", bucket_name=BUCKET, force_delete=True, trigger_rule=TriggerRule.ALL_DONE
        ),
        prune_logs(),
    )

require_all(dag)

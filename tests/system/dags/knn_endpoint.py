"""k-NN training and an endpoint that is asked one question, as in the provider's `example_sagemaker_endpoint`."""

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
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerTrainingOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerEndpointSensor
from airflow.sdk import DAG, TriggerRule, chain, task
from knn import env_id, model, note, require_all, training_definition

ENV = env_id()
BUCKET = f"{ENV}-sagemaker"
DATA, RESULTS = f"{ENV}/input-data/train.csv", f"{ENV}/results"
CONFIG, ENDPOINT, MODEL = f"{ENV}-endpoint-config", f"{ENV}-endpoint", f"{ENV}-KNN-model"
ROWS = "0,4.9,2.5,4.5,1.7\n1,7.0,3.2,4.7,1.4\n0,7.3,2.9,6.3,1.8\n2,5.1,3.5,1.4,0.2\n"
QUESTION = "6.4,3.2,4.5,1.5"


def training() -> dict[str, Any]:
    return training_definition(f"s3://{BUCKET}/{DATA}", f"s3://{BUCKET}/{RESULTS}/") | {
        "TrainingJobName": f"{ENV}-train",
        "HyperParameters": {
            "predictor_type": "classifier",
            "feature_dim": "4",
            "k": "3",
            "sample_size": str(ROWS.count("\n") - 1),
        },
    }


@task
def call_endpoint() -> None:
    answer = boto3.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=ENDPOINT, ContentType="text/csv", Body=QUESTION
    )
    note(predictions=json.loads(answer["Body"].read())["predictions"])


@task(trigger_rule=TriggerRule.ALL_DONE)
def delete_endpoint_config() -> None:
    boto3.client("sagemaker").delete_endpoint_config(EndpointConfigName=CONFIG)


@task(trigger_rule=TriggerRule.ALL_DONE)
def delete_endpoint() -> None:
    boto3.client("sagemaker").delete_endpoint(EndpointName=ENDPOINT)


@task(trigger_rule=TriggerRule.ALL_DONE)
def archive_logs() -> None:
    boto3.client("logs").put_retention_policy(logGroupName=f"/aws/sagemaker/Endpoints/{ENDPOINT}", retentionInDays=1)


with DAG("knn_endpoint", schedule=None) as dag:
    variant = {
        "VariantName": f"{ENV}-demo",
        "ModelName": MODEL,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    chain(
        S3CreateBucketOperator(task_id="create_bucket", bucket_name=BUCKET),
        S3CreateObjectOperator(task_id="upload_data", s3_bucket=BUCKET, s3_key=DATA, data=ROWS),
        SageMakerTrainingOperator(task_id="train_model", config=training(), check_interval=1, print_log=False),
        SageMakerModelOperator(
            task_id="create_model", config=model(MODEL, f"s3://{BUCKET}/{RESULTS}/{ENV}-train/output/model.tar.gz")
        ),
        SageMakerEndpointConfigOperator(
            task_id="configure_endpoint", config={"EndpointConfigName": CONFIG, "ProductionVariants": [variant]}
        ),
        SageMakerEndpointOperator(
            task_id="deploy_endpoint",
            config={"EndpointName": ENDPOINT, "EndpointConfigName": CONFIG},
            wait_for_completion=False,
        ),
        SageMakerEndpointSensor(task_id="await_endpoint", endpoint_name=ENDPOINT, poke_interval=0.5, timeout=900),
        call_endpoint(),
        delete_endpoint_config(),
        delete_endpoint(),
        SageMakerDeleteModelOperator(
            task_id="delete_model", config={"ModelName": MODEL}, trigger_rule=TriggerRule.ALL_DONE
        ),
        S3DeleteBucketOperator(
            task_id="delete_bucket", bucket_name=BUCKET, force_delete=True, trigger_rule=TriggerRule.ALL_DONE
        ),
        archive_logs(),
    )

require_all(dag)

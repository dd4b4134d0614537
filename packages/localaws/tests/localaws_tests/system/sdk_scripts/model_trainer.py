"""A user's script: the SageMaker SDK's ModelTrainer trains a script of its own; the last line tells of it, as JSON.

Arguments: the folder of the script, the S3 URI of the data, the name of the role, the bucket for everything else.
"""

import json
import logging
import sys

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.training.configs import Compute, InputData, SourceCode, StoppingCondition
from sagemaker.train import ModelTrainer

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
folder, data, role, bucket = sys.argv[1:]
trainer = ModelTrainer(
    training_image="683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-py312",
    source_code=SourceCode(source_dir=folder, entry_script="fit.py"),
    compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=5),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=3600),
    hyperparameters={"alpha": 0.5, "label": "a b"},
    base_job_name="trainer",
    role=role,
    sagemaker_session=Session(
        boto_session=boto3.Session(), sagemaker_client=boto3.client("sagemaker"), default_bucket=bucket
    ),
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=data)], wait=True, logs=True)
job = trainer._latest_training_job
job.refresh()
result = {"name": job.training_job_name, "artifact": job.model_artifacts.s3_model_artifacts}
sys.stdout.write(f"\n{json.dumps(result)}\n")

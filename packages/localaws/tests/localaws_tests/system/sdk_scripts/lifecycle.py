"""A user's script: a processing script, a tuning, a batch transform and an endpoint with the SDK's own classes.

Arguments: a folder to write to, the S3 URI of the data, the name of the role, the bucket for everything else.
The last line tells what came of it, as JSON.
"""

import json
import logging
import sys
from pathlib import Path

import boto3
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.parameter import ContinuousParameter
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.resources import Endpoint, EndpointConfig, HyperParameterTuningJob, Model, TransformJob
from sagemaker.core.shapes import (
    ContainerDefinition,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    ProductionVariant,
    TransformDataSource,
    TransformInput,
    TransformOutput,
    TransformResources,
    TransformS3DataSource,
)
from sagemaker.core.training.configs import Compute, InputData
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/line:1"
SCRIPT = """
import pathlib, sys
rows = pathlib.Path("/opt/ml/processing/input/data.csv").read_text().split()
kept = [row for row in rows if float(row.split(",")[1]) <= float(sys.argv[1])]
pathlib.Path("/opt/ml/processing/output/train.csv").write_text("".join(f"{row}\\n" for row in kept))
print("kept", len(kept), "of", len(rows))
"""

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
folder, data, role, bucket = sys.argv[1:]
session = Session(boto_session=boto3.Session(), sagemaker_client=boto3.client("sagemaker"), default_bucket=bucket)

script = Path(folder, "keep.py")
script.write_text(SCRIPT)
processor = ScriptProcessor(
    role=role,
    image_uri=IMAGE,
    command=["python3"],
    instance_count=1,
    instance_type="ml.m5.large",
    base_job_name="keep",
    sagemaker_session=session,
)
processor.run(
    code=str(script),
    arguments=["2"],
    inputs=[
        ProcessingInput(
            input_name="rows",
            s3_input=ProcessingS3Input(
                s3_uri=data, local_path="/opt/ml/processing/input", s3_data_type="S3Prefix", s3_input_mode="File"
            ),
        )
    ],
    outputs=[
        ProcessingOutput(
            output_name="kept",
            s3_output=ProcessingS3Output(
                s3_uri=f"s3://{bucket}/kept", local_path="/opt/ml/processing/output", s3_upload_mode="EndOfJob"
            ),
        )
    ],
)

tuner = HyperparameterTuner(
    model_trainer=ModelTrainer(
        training_image=IMAGE,
        compute=Compute(instance_type="ml.m5.large", instance_count=1, volume_size_in_gb=1),
        base_job_name="line",
        role=role,
        sagemaker_session=session,
    ),
    objective_metric_name="validation:error",
    metric_definitions=[{"Name": "validation:error", "Regex": "validation-error=([0-9.e+-]+)"}],
    hyperparameter_ranges={"shrink": ContinuousParameter(0.0, 1.0)},
    strategy="Random",
    random_seed=3,
    objective_type="Minimize",
    max_jobs=3,
    max_parallel_jobs=3,
)
tuner.tune(inputs=[InputData(channel_name="train", data_source=f"s3://{bucket}/kept/")], wait=True)
tuning = HyperParameterTuningJob.get(tuner.latest_tuning_job.hyper_parameter_tuning_job_name)
best = tuning.best_training_job
artifact = session.sagemaker_client.describe_training_job(TrainingJobName=best.training_job_name)["ModelArtifacts"]

role_arn = session.expand_role(role)
model = Model.create(
    model_name="sdk-model",
    primary_container=ContainerDefinition(image=IMAGE, model_data_url=artifact["S3ModelArtifacts"]),
    execution_role_arn=role_arn,
)
job = TransformJob.create(
    transform_job_name="sdk-transform",
    model_name="sdk-model",
    transform_input=TransformInput(
        data_source=TransformDataSource(
            s3_data_source=TransformS3DataSource(s3_data_type="S3Prefix", s3_uri=f"s3://{bucket}/questions.csv")
        ),
        content_type="text/csv",
        split_type="Line",
    ),
    transform_output=TransformOutput(s3_output_path=f"s3://{bucket}/answers", assemble_with="Line"),
    transform_resources=TransformResources(instance_type="ml.m5.large", instance_count=1),
)
job.wait(poll=1)
EndpointConfig.create(
    endpoint_config_name="sdk-config",
    production_variants=[
        ProductionVariant(
            variant_name="only", model_name="sdk-model", instance_type="ml.m5.large", initial_instance_count=1
        )
    ],
)
endpoint = Endpoint.create(endpoint_name="sdk-endpoint", endpoint_config_name="sdk-config")
endpoint.wait_for_status("InService", poll=1)
answer = endpoint.invoke(body=b"100\n", content_type="text/csv").body.read().decode()
endpoint.delete()
endpoint.wait_for_delete(poll=1)
model.delete()
result = {
    "shrink": float(best.tuned_hyper_parameters["shrink"]),
    "error": best.final_hyper_parameter_tuning_job_objective_metric.value,
    "answer": float(answer),
}
sys.stdout.write(f"\n{json.dumps(result)}\n")

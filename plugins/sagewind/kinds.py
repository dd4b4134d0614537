"""The kinds of SageMaker jobs as a table: calls, fields, ends and limits, named once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sagewind import settings
from sagewind.pipeline.names import JOB_NAME_LIMIT, TUNING_NAME_LIMIT

KindName = Literal["processing", "training", "tuning", "transform"]
#: Ends of a job. Everything else is alive; `Stopped` is never a success.
ENDED = frozenset({"Completed", "Failed", "Stopped"})


@dataclass(frozen=True)
class JobApi:
    """One kind of job: boto3 method names and the fields of its requests and descriptions."""

    name: KindName
    #: What such a job is called on the pages of Airflow.
    shown: str
    create: str
    describe: str
    stop: str
    list: str
    summaries: str
    name_field: str
    arn_field: str
    status_field: str
    log_group: str
    started_field: str
    ended_field: str
    #: Path of such jobs' pages in AWS's console (not documented; as its own pages show it).
    console: str
    name_limit: int = JOB_NAME_LIMIT

    @property
    def resource(self) -> str:
        """The kind as ARNs and the local endpoint's status page write it, for example `processing-job`."""
        return self.describe.removeprefix("describe_").replace("_", "-")

    def own_limit(self, description: Mapping[str, Any]) -> int | None:
        """Seconds after which the service itself stops such a job, as far as its description says."""
        if self.name == "tuning":
            limits = description.get("HyperParameterTuningJobConfig", {}).get("ResourceLimits", {})
            found = limits.get("MaxRuntimeInSeconds")
        else:
            found = description.get("StoppingCondition", {}).get("MaxRuntimeInSeconds")
        return None if found is None else int(found)

    def instance_type(self, request: Mapping[str, Any]) -> str:
        """The machine that a Create request asks for."""
        if self.name == "processing":
            return str(request["ProcessingResources"]["ClusterConfig"]["InstanceType"])
        if self.name == "transform":
            return str(request["TransformResources"]["InstanceType"])
        definition = request["TrainingJobDefinition"] if self.name == "tuning" else request
        return str(definition["ResourceConfig"]["InstanceType"])

    def limit_seconds(self, request: Mapping[str, Any], transform_minutes: int) -> int:
        """How long a task waits for the job: its own time limit plus the allowance for its start.

        A tuning job may run its trainings one after another; a transform job has no limit of its own, so the model
        file's is taken.
        """
        start = settings.JOB_START.read()
        if self.name == "transform":
            return int(transform_minutes * 60 + start)
        if self.name == "tuning":
            limits = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
            rounds = -(-limits["MaxNumberOfTrainingJobs"] // limits["MaxParallelTrainingJobs"])
            each = request["TrainingJobDefinition"]["StoppingCondition"]["MaxRuntimeInSeconds"]
            return int(rounds * (each + start))
        return int(request["StoppingCondition"]["MaxRuntimeInSeconds"] + start)


KINDS: Mapping[KindName, JobApi] = {
    "processing": JobApi(
        name="processing",
        shown="SageMaker processing",
        create="create_processing_job",
        describe="describe_processing_job",
        stop="stop_processing_job",
        list="list_processing_jobs",
        summaries="ProcessingJobSummaries",
        name_field="ProcessingJobName",
        arn_field="ProcessingJobArn",
        status_field="ProcessingJobStatus",
        log_group="/aws/sagemaker/ProcessingJobs",
        started_field="ProcessingStartTime",
        ended_field="ProcessingEndTime",
        console="processing-jobs",
    ),
    "training": JobApi(
        name="training",
        shown="SageMaker training",
        create="create_training_job",
        describe="describe_training_job",
        stop="stop_training_job",
        list="list_training_jobs",
        summaries="TrainingJobSummaries",
        name_field="TrainingJobName",
        arn_field="TrainingJobArn",
        status_field="TrainingJobStatus",
        log_group="/aws/sagemaker/TrainingJobs",
        started_field="TrainingStartTime",
        ended_field="TrainingEndTime",
        console="jobs",
    ),
    "tuning": JobApi(
        name="tuning",
        shown="SageMaker tuning",
        create="create_hyper_parameter_tuning_job",
        describe="describe_hyper_parameter_tuning_job",
        stop="stop_hyper_parameter_tuning_job",
        list="list_hyper_parameter_tuning_jobs",
        summaries="HyperParameterTuningJobSummaries",
        name_field="HyperParameterTuningJobName",
        arn_field="HyperParameterTuningJobArn",
        status_field="HyperParameterTuningJobStatus",
        log_group="/aws/sagemaker/TrainingJobs",
        started_field="CreationTime",
        ended_field="HyperParameterTuningEndTime",
        console="hyper-tuning-jobs",
        name_limit=TUNING_NAME_LIMIT,
    ),
    "transform": JobApi(
        name="transform",
        shown="SageMaker batch transform",
        create="create_transform_job",
        describe="describe_transform_job",
        stop="stop_transform_job",
        list="list_transform_jobs",
        summaries="TransformJobSummaries",
        name_field="TransformJobName",
        arn_field="TransformJobArn",
        status_field="TransformJobStatus",
        log_group="/aws/sagemaker/TransformJobs",
        started_field="TransformStartTime",
        ended_field="TransformEndTime",
        console="transform-jobs",
    ),
}

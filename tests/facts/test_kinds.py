"""The tables of jobs and resources against botocore's model of SageMaker."""

from __future__ import annotations

from typing import Any, get_args

import botocore.session
import pytest
from botocore import xform_name

from sagewind.facts.calls import NAME_LIMIT, ApiNames, says_missing
from sagewind.facts.kinds import ENDED, KINDS, JobApi, KindName
from sagewind.facts.resources import RESOURCES, ResourceApi, ResourceName

MODEL = botocore.session.get_session().get_service_model("sagemaker")
OPERATIONS = {xform_name(name): name for name in MODEL.operation_names}
JOBS = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
THINGS = pytest.mark.parametrize("kind", RESOURCES.values(), ids=RESOURCES)


def members(call: str, side: str) -> dict[str, Any]:
    found: dict[str, Any] = getattr(MODEL.operation_model(OPERATIONS[call]), f"{side}_shape").members
    return found


def inside(shape: dict[str, Any], *path: str) -> Any:
    for key in path[:-1]:
        shape = shape[key].members
    return shape[path[-1]]


def check_names(kind: ApiNames, limit: int) -> None:
    assert members(kind.create, "input")[kind.name_field].metadata["max"] == limit
    assert kind.name_field in members(kind.describe, "input")
    assert kind.arn_field in members(kind.create, "output")
    assert {kind.name_field, kind.arn_field} <= members(kind.describe, "output").keys()


def summary(kind: JobApi | ResourceApi) -> Any:
    return members(kind.list, "output")[kind.summaries].member.members


@JOBS
def test_the_calls_and_fields_of_a_kind_are_botocores(kind: JobApi) -> None:
    check_names(kind, kind.name_limit)
    assert kind.name_field in members(kind.stop, "input")
    assert {kind.name_field, kind.arn_field, kind.status_field} <= summary(kind).keys()
    described = members(kind.describe, "output")
    assert described[kind.status_field].enum
    assert set(described[kind.status_field].enum) >= ENDED
    assert {described[field].type_name for field in (kind.started_field, kind.ended_field)} == {"timestamp"}


@JOBS
def test_what_is_asked_of_a_request_is_where_the_row_says(kind: JobApi) -> None:
    for operation, side in ((kind.create, "input"), (kind.describe, "output")):
        request = members(operation, side)
        run = request[kind.definition].members if kind.definition else request
        assert inside(run, *kind.machines, "InstanceType").enum
        assert ("StoppingCondition" in run) == (kind.limit is not None)
        if kind.limit:
            assert inside(run, *kind.limit).type_name == "integer"
        if kind.of_trainings:
            assert request[f"{kind.definition}s"].member.name == request[kind.definition].name
            for limit in ("MaxNumberOfTrainingJobs", "MaxParallelTrainingJobs", "MaxRuntimeInSeconds"):
                assert inside(request, *kind.budget, limit).type_name == "integer"


def test_a_job_is_written_by_arns_as_its_kind_is_called() -> None:
    assert {name: kind.resource for name, kind in KINDS.items()} == {
        "processing": "processing-job",
        "training": "training-job",
        "tuning": "hyper-parameter-tuning-job",
        "transform": "transform-job",
    }


def test_a_tuning_logs_where_its_trainings_do() -> None:
    assert KINDS["tuning"].log_group == KINDS["training"].log_group == "/aws/sagemaker/TrainingJobs"
    assert KINDS["transform"].log_group == "/aws/sagemaker/TransformJobs"


def test_every_name_has_its_row() -> None:
    assert get_args(KindName) == tuple(KINDS)
    assert set(get_args(ResourceName)) == set(RESOURCES)


@THINGS
def test_the_calls_and_fields_of_a_resource_are_botocores(kind: ResourceApi) -> None:
    check_names(kind, NAME_LIMIT)
    assert kind.name_field in members(kind.delete, "input")
    assert kind.arn_field in summary(kind)
    # SageMaker can also change a package, which we never do but for its approval.
    assert bool(kind.update) == (f"update_{kind.snake}" in OPERATIONS and kind.kind != "package")


def test_an_answer_means_missing_by_its_code_or_by_its_words() -> None:
    assert says_missing("ResourceNotFound", "x")
    assert says_missing("ValidationException", "Could not find endpoint x")
    assert says_missing("ValidationException", "ModelPackageGroup x does not exist.")
    assert not says_missing("ValidationException", "1 validation error detected")
    assert not says_missing("AccessDeniedException", "Could not find x")


RUN = {"StoppingCondition": {"MaxRuntimeInSeconds": 60}, "ResourceConfig": {"InstanceType": "ml.m5.large"}}
LONGER = {**RUN, "StoppingCondition": {"MaxRuntimeInSeconds": 90}}
LIMITS = {"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 2}


def test_a_tuning_of_several_definitions_waits_for_the_longest() -> None:
    request = {
        "TrainingJobDefinitions": [RUN, LONGER],
        "HyperParameterTuningJobConfig": {"ResourceLimits": LIMITS},
    }
    assert KINDS["tuning"].limit_seconds(request, 0, 10) == 3 * (90 + 10)
    assert KINDS["tuning"].count(request) == 5
    assert KINDS["tuning"].cluster(request) == {"InstanceType": "ml.m5.large"}


def test_the_limit_of_the_service_is_that_of_the_whole_job() -> None:
    assert KINDS["training"].own_limit(RUN) == 60
    assert KINDS["transform"].own_limit(RUN) is None
    tuning = {"TrainingJobDefinition": RUN, "HyperParameterTuningJobConfig": {"ResourceLimits": LIMITS}}
    assert KINDS["tuning"].own_limit(tuning) is None
    tuning["HyperParameterTuningJobConfig"] = {"ResourceLimits": {**LIMITS, "MaxRuntimeInSeconds": 7200}}
    assert KINDS["tuning"].own_limit(tuning) == 7200


def s3(uri: str) -> dict[str, Any]:
    return {"DataSource": {"S3DataSource": {"S3Uri": uri}}}


FILES: dict[KindName, tuple[dict[str, Any], list[str], list[str]]] = {
    "processing": (
        {
            "ProcessingInputs": [
                {"InputName": "a", "S3Input": {"S3Uri": "s3://b/in"}},
                {"InputName": "b", "DatasetDefinition": {}},
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {"OutputName": "rows", "S3Output": {"S3Uri": "s3://b/out"}},
                    {"OutputName": "features", "FeatureStoreOutput": {}},
                ]
            },
        },
        ["s3://b/in"],
        ["s3://b/out"],
    ),
    "training": (
        {
            "InputDataConfig": [s3("s3://b/train"), {"DataSource": {"FileSystemDataSource": {}}}],
            "OutputDataConfig": {"S3OutputPath": "s3://b/fit"},
        },
        ["s3://b/train"],
        ["s3://b/fit"],
    ),
    "tuning": (
        {
            "TrainingJobDefinitions": [
                {"InputDataConfig": [s3(f"s3://b/{name}")], "OutputDataConfig": {"S3OutputPath": "s3://b/fit"}}
                for name in ("one", "two")
            ]
        },
        ["s3://b/one", "s3://b/two"],
        ["s3://b/fit"],
    ),
    "transform": (
        {"TransformInput": s3("s3://b/rows"), "TransformOutput": {"S3OutputPath": "s3://b/scores"}},
        ["s3://b/rows"],
        ["s3://b/scores"],
    ),
}


@JOBS
def test_what_a_job_reads_and_writes(kind: JobApi) -> None:
    request, reads, writes = FILES[kind.name]
    assert list(kind.reads(request)) == reads
    assert list(kind.writes(request)) == writes


@pytest.mark.parametrize("name", ["processing", "training"])
def test_a_request_without_a_limit_has_that_of_aws(name: KindName) -> None:
    assert KINDS[name].limit_seconds({}, 60, 1800) == 24 * 3600 + 1800

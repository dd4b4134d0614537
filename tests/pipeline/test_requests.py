"""Requests: equal to what is expected, and valid in the eyes of botocore and of the local endpoint's validation."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from localaws.shapes import validate
from sagewind.jobs.quality import constraints as quality
from sagewind.pipeline import dry_run, plan
from sagewind.pipeline.refs import templates
from sagewind.pipeline.requests import processing, registry, training, tuning
from sagewind.pipeline.spec import ModelSpec
from tests.conftest import ROOT
from tests.models import load_model, model_names

MODEL = botocore.session.get_session().get_service_model("sagemaker")


def everything(spec: ModelSpec):
    made = dry_run.make_plan(spec, ROOT, "eu-central-1")
    return list(dry_run.requests(spec, plan.refs(made, dry_run.stand_ins(spec, made)), made))


NETWORK = {"subnets": ("subnet-1",), "security_groups": ("sg-1",), "kms_key": "key", "isolate": True}


def variants() -> dict[str, ModelSpec]:
    specs = {name: load_model(name) for name in model_names()}
    tumor = specs["tumor"]
    specs["tumor without tuning"] = tumor.model_copy(update={"tune": None})
    specs["tumor in a VPC"] = tumor.model_copy(update={"aws": tumor.aws.model_copy(update=NETWORK)})
    return specs


@pytest.mark.parametrize("name", variants())
def test_every_request_is_valid(name: str) -> None:
    sent = everything(variants()[name])
    assert {operation for _, operation, _ in sent} >= {"CreateProcessingJob", "CreateModelPackage", "CreateEndpoint"}
    for _, operation, request in sent:
        shape = MODEL.operation_model(operation).input_shape
        assert not ParamValidator().validate(request, shape).has_errors(), operation
        validate(shape, request)


def test_network_settings_reach_every_job() -> None:
    for _, operation, request in everything(variants()["tumor in a VPC"]):
        text = str(request)
        if operation in ("CreateProcessingJob", "CreateHyperParameterTuningJob", "CreateModel"):
            assert "subnet-1" in text, operation
            assert "'EnableNetworkIsolation': True" in text, operation
        if operation in ("CreateProcessingJob", "CreateHyperParameterTuningJob", "CreateTransformJob"):
            assert "'KmsKeyId': 'key'" in text, operation


def test_templates_leave_only_what_a_run_knows() -> None:
    request = processing.prepare(load_model("tumor"), templates())
    assert request == {
        "AppSpecification": {
            "ImageUri": "{{ plan.images.sklearn }}",
            "ContainerEntrypoint": ["python3", "-m", "sagewind.jobs.prepare"],
        },
        "Environment": {"PYTHONPATH": "/opt/ml/processing/input/code"},
        "NetworkConfig": {"EnableNetworkIsolation": False, "EnableInterContainerTrafficEncryption": False},
        "ProcessingInputs": [
            {
                "InputName": name,
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"/opt/ml/processing/input/{name}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                    "S3DataDistributionType": "FullyReplicated",
                },
            }
            for name, uri in (
                ("code", "{{ plan.code }}"),
                ("config", "{{ plan.config }}"),
                ("raw", "{{ plan.prefix }}/raw"),
            )
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "result",
                    "S3Output": {
                        "S3Uri": "{{ plan.prefix }}/prepare",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30}
        },
        "RoleArn": "{{ plan.role_arn }}",
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def labelled(spec: ModelSpec) -> dict[str, Any]:
    refs = plan.refs(dry_run.make_plan(spec, ROOT, "eu-central-1"), {})
    return processing.check_labelled(
        spec,
        refs,
        captured="s3://b/traffic.manifest",
        labels="s3://b/labels.manifest",
        baseline="s3://b/evaluation",
        output="s3://b/out",
        settings={"start_time": "2026-01-01T00:00:00+00:00"},
    )


def test_labels_are_merged_and_judged_in_one_job() -> None:
    request = labelled(load_model("tumor"))
    assert request["AppSpecification"]["ContainerEntrypoint"] == ["python3", "-m", "sagewind.jobs.quality.labelled"]
    inside = "/opt/ml/processing"
    assert request["Environment"] == {
        "PYTHONPATH": f"{inside}/input/code",
        "dataset_source": f"{inside}/input/captured",
        "ground_truth_source": f"{inside}/input/labels",
        "problem_type": "BinaryClassification",
        "baseline_statistics": f"{inside}/input/baseline/evaluation.json",
        "baseline_constraints": f"{inside}/input/baseline/constraints.json",
        "constraint_tolerance": "0.05",
        "output_path": f"{inside}/output",
        "publish_cloudwatch_metrics": "Disabled",
        "start_time": "2026-01-01T00:00:00+00:00",
    }
    inputs = {item["InputName"]: item["S3Input"] for item in request["ProcessingInputs"]}
    assert {name: (item["S3DataType"], item["S3Uri"]) for name, item in inputs.items() if name != "code"} == {
        "captured": ("ManifestFile", "s3://b/traffic.manifest"),
        "labels": ("ManifestFile", "s3://b/labels.manifest"),
        "baseline": ("S3Prefix", "s3://b/evaluation"),
    }
    sent = {"ProcessingJobName": "job", **request}
    shape = MODEL.operation_model("CreateProcessingJob").input_shape
    assert not ParamValidator().validate(sent, shape).has_errors()
    validate(shape, sent)


@pytest.mark.parametrize("problem", quality.PROBLEM_TYPES)
def test_problems_have_the_names_that_the_job_knows(problem: Any) -> None:
    spec = load_model("tumor").model_copy(update={"problem": problem})
    assert labelled(spec)["Environment"]["problem_type"] == quality.PROBLEM_TYPES[problem]


def test_a_version_brings_both_its_baselines() -> None:
    request = registry.package(load_model("tumor"), templates(), group_name="g")

    def pair(statistics: str, constraints: str) -> dict[str, Any]:
        return {
            name: {"ContentType": "application/json", "S3Uri": "{{ plan.prefix }}/" + key}
            for name, key in (("Statistics", statistics), ("Constraints", constraints))
        }

    both = {
        "ModelQuality": pair("evaluate/evaluation/evaluation.json", "evaluate/evaluation/constraints.json"),
        "ModelDataQuality": pair("baseline/statistics.json", "baseline/constraints.json"),
    }
    assert request["ModelMetrics"] == both
    assert request["DriftCheckBaselines"] == both


def test_a_script_gets_json_hyperparameters_and_its_code_as_a_channel() -> None:
    spec = load_model("tumor").model_copy(update={"tune": None})
    request = training.train(spec, templates())
    assert request["HyperParameters"] == {
        "estimator": '"logistic_regression"',
        "problem": '"binary"',
        "seed": "7",
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"/opt/ml/input/data/code/sourcedir.tar.gz"',
    }
    assert [channel["ChannelName"] for channel in request["InputDataConfig"]] == ["train", "validation", "code"]


def test_a_built_in_algorithm_gets_plain_strings_and_the_ranges_aws_allows() -> None:
    spec = load_model("census")
    request = tuning.tune(spec, templates())
    fixed = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert fixed["objective"] == "binary:logistic"
    assert not set(fixed) & {"eta", "min_child_weight", "alpha", "max_depth"}
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert {item["Name"] for item in ranges["ContinuousParameterRanges"]} == {"eta", "min_child_weight", "alpha"}
    assert ranges["IntegerParameterRanges"] == [
        {"Name": "max_depth", "MinValue": "3", "MaxValue": "10", "ScalingType": "Auto"}
    ]
    assert "MetricDefinitions" not in request["TrainingJobDefinition"]["AlgorithmSpecification"]

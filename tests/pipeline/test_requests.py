"""Requests, equal to what is expected. That AWS would take them is tested with the dry run of the DAGs."""

from __future__ import annotations

from typing import Any

import pytest

from sagewind.facts.metrics import PROBLEMS
from sagewind.jobs import quality_constraints as quality
from sagewind.pipeline.refs import templates
from sagewind.pipeline.requests import processing, registry, training, tuning
from sagewind.pipeline.spec import ModelSpec
from tests.models import load_model


def test_templates_leave_only_what_a_run_knows() -> None:
    request = processing.prepare(load_model("tumor"), templates())
    assert request == {
        "AppSpecification": {
            "ImageUri": "{{ plan.images['sklearn'] }}",
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
    return processing.check_labelled(
        spec,
        templates(),
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


@pytest.mark.parametrize("problem", PROBLEMS)
def test_problems_have_the_names_that_the_job_knows(problem: Any) -> None:
    spec = load_model("tumor").model_copy(update={"problem": problem})
    assert labelled(spec)["Environment"]["problem_type"] in quality.METRICS


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

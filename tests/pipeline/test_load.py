"""Model files: the shipped ones load, wrong ones fail with one sentence that names file, key and value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sagewind.pipeline.errors import ModelFileError
from sagewind.pipeline.load import json_schema
from tests.models import load_model, model_names


@pytest.fixture
def content() -> dict[str, Any]:
    return {
        "name": "house",
        "description": "Prices",
        "problem": "regression",
        "data": {"source": "s3://bucket/house.csv", "target": "price"},
        "train": {"algorithm": "xgboost", "hyperparameters": {"num_round": 10}},
    }


def load(folder: Path, content: Any, name: str = "house"):
    target = folder / "include" / "models"
    target.mkdir(parents=True)
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (target / f"{name}.yaml").write_text(text)
    return load_model(name, target)


@pytest.mark.parametrize("name", model_names())
def test_shipped_models_load(name: str) -> None:
    assert load_model(name).name == name


def test_defaults(tmp_path: Path, content: dict[str, Any]) -> None:
    spec = load(tmp_path, content)
    assert spec.aws.connection == "aws_default"
    assert spec.fit_task == "train"
    assert spec.deploy.capture == 100
    assert (spec.monitor.checks, spec.monitor.label_delay) == (("data_quality",), 0)


def test_model_quality_takes_labels(tmp_path: Path, content: dict[str, Any]) -> None:
    monitor = {"checks": ["data_quality", "model_quality"], "ground_truth": "s3://lake/labels/house", "label_delay": 36}
    spec = load(tmp_path, {**content, "monitor": monitor})
    assert (spec.monitor.ground_truth, spec.monitor.label_delay) == ("s3://lake/labels/house", 36)
    assert "s3://" in json.loads(json_schema())["$defs"]["MonitorSpec"]["properties"]["ground_truth"]["pattern"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"nmae": "x"}, "include/models/house.yaml: nmae is not a key that this file may have: did you mean 'name'"),
        (
            {"data": {"source": "s3://b/k", "target": "p", "zzz": 1}},
            "data.zzz is not a key .*: use one of source, target",
        ),
        ({"data": {"source": "s3://b/k", "target": True}}, "data.target is True, .*: write it in quotes"),
        ({"evaluate": {"gates": {"r2": ">= high"}}}, "evaluate.gates.r2 is '>= high': write a comparison"),
        ({"data": {"source": "s3://b/k"}}, "data.target is missing"),
        ({"data": {"source": "ftp://b/k", "target": "price"}}, "data.source is 'ftp://b/k': .* use one of sklearn://"),
        (
            {"train": {"algorithm": "xgbost", "hyperparameters": {}}},
            "train.algorithm is 'xgbost': unknown algorithm: use one of xgboost",
        ),
        ({"train": {"algorithm": "xgboost"}}, "lacks 'num_round'"),
        ({"train": {"framework": "sklearn"}}, "framework and script go together"),
        ({"evaluate": {"gates": {"auc": ">= 0.9"}}}, "'auc', which a regression evaluation does not measure"),
        ({"evaluate": {"gates": {"rmse": "small"}}}, "'small': write a comparison and a number"),
        ({"data": {"source": "s3://b/k", "target": "p", "drop": ["p"]}}, "drop names the target column 'p'"),
        ({"data": {"source": "s3://b/k", "target": "p", "split": {"train": 0.9}}}, "it must be 1"),
        ({"aws": {"subnets": ["subnet-1"]}}, "subnets and security_groups go together"),
        (
            {"aws": {"pools": {"deploy": "p"}}},
            "pools names 'deploy': use one of processing, training, tuning, transform",
        ),
        ({"aws": {"pools": {"training p3": "p"}}}, "pools names 'training p3'"),
        ({"schedule": "monday"}, "schedule is 'monday': .* is not a cron expression"),
        ({"monitor": {"schedule": "0 3 * *"}}, "is not a cron expression"),
        ({"monitor": {"checks": ["bias"]}}, "monitor.checks.0 is 'bias': .*'data_quality' or 'model_quality'"),
        ({"monitor": {"checks": []}}, "monitor.checks is empty: name at least one, or leave the key out"),
        (
            {"monitor": {"checks": "model_quality"}},
            r"checks is 'model_quality': write a list, such as \[model_quality\]",
        ),
        ({"monitor": {"checks": ["model-quality"]}}, "house.yaml: monitor.checks.0 is 'model-quality': [^;]*$"),
        (
            {"monitor": {"checks": ["model_quality"]}},
            "monitor: checks holds 'model_quality', ground_truth is missing: give the S3 prefix of the labels",
        ),
        ({"monitor": {"ground_truth": "s3://b/k"}}, "ground_truth is given, but checks lacks 'model_quality'"),
        ({"monitor": {"label_delay": 3}}, "label_delay is given, but checks lacks 'model_quality'"),
        (
            {"monitor": {"checks": ["model_quality"], "ground_truth": "s3://b/k/"}},
            "monitor.ground_truth is 's3://b/k/': write an S3 prefix such as s3://bucket/labels, without a slash",
        ),
        ({"monitor": {"checks": ["model_quality"], "ground_truth": "s3://b"}}, "monitor.ground_truth is 's3://b'"),
        (
            {"monitor": {"checks": ["model_quality"], "ground_truth": "s3://b/k", "label_delay": -1}},
            "monitor.label_delay is -1: ",
        ),
        (
            {"monitor": {"checks": ["model_quality"], "ground_truth": "s3://b/k", "label_delay": "1d"}},
            "monitor.label_delay is '1d': ",
        ),
        ({"problem": "binary"}, "data.positive names the positive class"),
        (
            {"tune": {"objective": {"metric": "validation:rmse", "goal": "minimize"}, "ranges": {"depth": [1, 2]}}},
            "tune.ranges.depth cannot be tuned: use one of alpha",
        ),
        (
            {"tune": {"objective": {"metric": "validation:rmse", "goal": "minimize"}, "ranges": {"eta": [2, 1]}}},
            r"low < high",
        ),
        ({"name": "other"}, "name is 'other', it must be the file's name 'house'"),
        ({"name": "Has Space"}, "name is 'Has Space'"),
        ({"deploy": {"capture": 101}}, "deploy.capture is 101"),
    ],
)
def test_a_wrong_file_says_where_and_what(
    tmp_path: Path, content: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelFileError, match=says) as caught:
        load(tmp_path, {**content, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "says"), [("a: [", "not valid YAML"), ("- a", "found list"), ("", "found NoneType")])
def test_text_that_is_no_model_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ModelFileError, match=says):
        load(tmp_path, text)


def test_an_absent_file_names_those_there_are() -> None:
    with pytest.raises(ModelFileError, match=r"no such model file \(models: census, tumor"):
        load_model("nothing")


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not valid YAML"):
        load(tmp_path, "name: !!python/object/apply:os.getcwd []")


def test_the_schema_for_editors_knows_every_section() -> None:
    schema = json.loads(json_schema())
    assert {"data", "train", "tune", "evaluate", "deploy", "aws"} <= set(schema["properties"])


def test_a_gate_that_nothing_can_meet_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    binary = {"problem": "binary", "data": {"source": "s3://b/k", "target": "t", "positive": "1"}}
    with pytest.raises(ModelFileError, match=r"evaluate.gates.auc is '>= 1.5', but auc lies between 0 and 1"):
        load(tmp_path, {**content, **binary, "evaluate": {"gates": {"auc": ">= 1.5"}}})

"""The dry run: what it prints is what the tasks of the DAGs send, and AWS would take it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from airflow.sdk.exceptions import TaskDeferred
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from localaws.shapes import validate
from sagewind import aws
from sagewind.command import main
from sagewind.facts.prices import AS_OF, SOURCE
from sagewind.operators.base import Creation
from sagewind.operators.job import JobOperator
from sagewind.pipeline.spec import ModelSpec
from sagewind.workflows import dry_run
from sagewind.workflows.factory import FAMILIES
from sagewind.workflows.training import training_dag
from tests.conftest import ROOT
from tests.models import load_model
from tests.workflows.test_graph import specs

MODEL = botocore.session.get_session().get_service_model("sagemaker")
REGION = "eu-central-1"
NETWORK = {"subnets": ("subnet-1",), "security_groups": ("sg-1",), "kms_key": "key", "isolate": True}
#: What a placeholder may stand for, by its last field; any other one for the URI of a folder.
LEGAL = {"arn": f"arn:aws:sagemaker:{REGION}:123456789012:model-package/tumor/1", "name": "best"}
TRAINING = {
    "prepare": ["CreateProcessingJob"],
    "tune": ["CreateHyperParameterTuningJob"],
    "evaluate": ["CreateProcessingJob"],
    "baseline": ["CreateProcessingJob"],
    "register": ["CreateModelPackageGroup", "CreateModelPackage"],
    "create_model": ["CreateModel"],
    "endpoint_config": ["CreateEndpointConfig"],
    "deploy": ["CreateEndpoint"],
}


def variants() -> dict[str, ModelSpec]:
    tumor = load_model("tumor")
    return {**specs(), "in a VPC": tumor.model_copy(update={"aws": tumor.aws.model_copy(update=NETWORK)})}


def sent(spec: ModelSpec, family: str) -> list[tuple[str, str, dict[str, Any]]]:
    """(task, operation, request) of the dry run of one DAG."""
    walked = dry_run.creations(FAMILIES[family](spec, ROOT), "123456789012", REGION)
    return [(task.task_id, dry_run.operation(creation), creation[1]) for task, creation in walked]


def by_task(found: list[tuple[str, str, dict[str, Any]]]) -> dict[str, list[str]]:
    tasks: dict[str, list[str]] = {}
    for task, operation, _ in found:
        tasks.setdefault(task, []).append(operation)
    return tasks


def legal(request: dict[str, Any]) -> Any:
    """The request with something that AWS knows in place of each placeholder."""
    text = re.sub(r"<results\.[\w.]*?(\w+)>", lambda found: LEGAL.get(found[1], "s3://b/k"), json.dumps(request))
    return json.loads(text)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("spec", variants().values(), ids=variants())
def test_every_request_is_valid(spec: ModelSpec, family: str) -> None:
    found = sent(spec, family)
    assert found
    for _, operation, request in found:
        shape = MODEL.operation_model(operation).input_shape
        assert not ParamValidator().validate(request, shape).has_errors(), operation
        validate(shape, legal(request))
        assert "{{" not in str(request)


def test_each_dag_shows_what_its_own_tasks_create() -> None:
    tumor, labels = variants()["tumor"], variants()["labels"]
    assert by_task(sent(tumor, "training")) == TRAINING
    processing = ["CreateProcessingJob"]
    checked = {"batch_transform": ["CreateTransformJob"], "monitor_normal": processing, "monitor_shifted": processing}
    assert by_task(sent(tumor, "lifecycle")) == TRAINING | checked
    scored = {"create_model": ["CreateModel"], "batch_transform": ["CreateTransformJob"]}
    assert by_task(sent(tumor, "batch_scoring")) == scored
    assert by_task(sent(labels, "monitoring")) == {"check": processing, "quality_check": processing}


def test_a_model_without_an_endpoint_shows_none() -> None:
    serving = ("create_model", "endpoint_config", "deploy")
    expected = {task: operations for task, operations in TRAINING.items() if task not in serving}
    assert by_task(sent(variants()["no endpoint"], "training")) == expected


def test_a_task_that_is_added_to_a_dag_shows_up_by_itself() -> None:
    dag = training_dag(load_model("tumor"), ROOT)
    prepare = dag.get_task("prepare")
    with dag:
        added = JobOperator(
            task_id="added", kind="processing", step="added", request=prepare.request, model="tumor", connection="c"
        )
    prepare >> added
    created = {task.task_id: creation for task, creation in dry_run.creations(dag, "123456789012", REGION)}
    assert created["added"][1]["ProcessingJobName"].startswith("tumor-added-")


def test_what_follows_from_an_earlier_request_is_filled_in_and_the_rest_is_named() -> None:
    found = {operation: request for _, operation, request in sent(variants()["trained once"], "training")}
    training, model = found["CreateTrainingJob"], found["CreateModel"]
    artifact = f"{training['OutputDataConfig']['S3OutputPath']}/{training['TrainingJobName']}/output/model.tar.gz"
    assert model["Containers"][0]["ModelDataUrl"] == artifact
    variant = found["CreateEndpointConfig"]["ProductionVariants"][0]
    assert variant["ModelName"] == model["ModelName"]
    assert found["CreateEndpoint"]["EndpointConfigName"] == found["CreateEndpointConfig"]["EndpointConfigName"]
    labels = {tag["Key"]: tag["Value"] for tag in found["CreateEndpointConfig"]["Tags"]}
    assert labels["sagewind:package"] == f"arn:aws:sagemaker:{REGION}:123456789012:model-package/tumor/1"
    scored = {operation: request for _, operation, request in sent(variants()["tumor"], "batch_scoring")}
    assert scored["CreateModel"]["Containers"][0]["ModelPackageName"] == "<results.newest.arn>"


def test_a_rehearsal_is_planned_as_one() -> None:
    names = {
        family: request["EndpointName"]
        for family in ("training", "lifecycle")
        for task, _, request in sent(variants()["tumor"], family)
        if task == "deploy"
    }
    assert names["training"] == "tumor"
    assert names["lifecycle"].startswith("tumor-rehearsal-")


def test_network_settings_reach_every_job() -> None:
    for _, operation, request in sent(variants()["in a VPC"], "lifecycle"):
        text = str(request)
        if operation in ("CreateProcessingJob", "CreateHyperParameterTuningJob", "CreateModel"):
            assert "subnet-1" in text, operation
            assert "'EnableNetworkIsolation': True" in text, operation
        if operation in ("CreateProcessingJob", "CreateHyperParameterTuningJob", "CreateTransformJob"):
            assert "'KmsKeyId': 'key'" in text, operation


class EmptyAccount:
    """SageMaker where nothing is there but what was created; notes each Create."""

    meta = SimpleNamespace(region_name=REGION)

    def __init__(self) -> None:
        self.created: list[Creation] = []

    def __getattr__(self, call: str) -> Any:
        return lambda **request: self._answer(call, request)

    def get_paginator(self, _: str) -> Any:
        return SimpleNamespace(paginate=lambda **_: [])

    def _answer(self, call: str, request: dict[str, Any]) -> dict[str, Any]:
        verb, _, kind = call.partition("_")
        word = "".join(part.capitalize() for part in kind.split("_"))
        if verb == "create":
            self.created.append((call, request))
        elif not any(made == f"create_{kind}" for made, _ in self.created):
            raise ClientError({"Error": {"Code": "ResourceNotFound", "Message": "it does not exist"}}, call)
        known = {f"{word}Arn": "arn", f"{word}Status": "InProgress", "CreationTime": datetime.now(UTC)}
        return known | {"ModelPackageVersion": 1, "ModelApprovalStatus": "Approved"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_sends_what_the_dry_run_shows(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rendered task is executed in an account that is empty."""
    dag = FAMILIES[family](variants()["labels"].model_copy(update={"expires_hours": None}), ROOT)
    contexts: dict[str, Any] = {}
    make_context = dry_run._context

    def context_of(task: Any, results: Any) -> Any:
        contexts[task.task_id] = make_context(task, results)
        return contexts[task.task_id]

    monkeypatch.setattr(dry_run, "_context", context_of)
    shown: dict[Any, list[Creation]] = {}
    for task, creation in dry_run.creations(dag, "123456789012", REGION):
        shown.setdefault(task, []).append(creation)
    assert shown
    for task, expected in shown.items():
        account, context = EmptyAccount(), contexts[task.task_id]
        monkeypatch.setattr(aws, "_client", lambda *_, account=account: account)
        context["ti"].max_tries = 0
        context["task_state_store"] = Store()
        try:
            task.execute(context)
        except TaskDeferred:
            assert isinstance(task, JobOperator)
        assert account.created == expected


class Store(dict):
    set = dict.__setitem__


def test_no_operator_creates_by_another_way() -> None:
    for file in (ROOT / "plugins/sagewind/operators").glob("*.py"):
        assert not re.search(r"\.create_\w+\(|\.create\)\(", file.read_text()), file.name


def test_nothing_but_the_requests_is_on_stdout_and_nothing_is_needed(tmp_path: Path) -> None:
    """As a user calls it, with a home that has no Airflow, and from a folder below the project's."""
    left_out = ("AIRFLOW", "AWS_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    command = [sys.executable, "-m", "sagewind.command.main", "dry-run", "census", "--dag", "lifecycle"]
    done = subprocess.run(
        command,
        cwd=ROOT / "include",
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    title, *blocks = done.stdout.split("\n## ")
    assert title == "# census: requests of a lifecycle run in us-east-1; nothing is sent\n"
    *requests, costs = blocks
    for block in requests:
        heading, _, request = block.partition("\n")
        assert re.fullmatch(r"\w+: Create\w+", heading)
        assert json.loads(request)
    assert [line.split()[0] for line in costs.splitlines()[2:]] == [
        *("prepare", "baseline", "tune", "evaluate", "endpoint", "batch_transform", "monitor_normal"),
        "monitor_shifted",
    ]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_airflow_prints_goes_to_stderr(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def render(*_: Any) -> str:
        os.write(1, b"a line of Airflow's log\n")
        return "requests\n"

    monkeypatch.setattr(dry_run, "render", render)
    monkeypatch.chdir(ROOT)
    assert main.main(["dry-run", "tumor"]) == 0
    assert capfd.readouterr() == ("requests\n", "a line of Airflow's log\n")


def test_costs_are_those_of_the_dag(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert main.main(["dry-run", "tumor"]) == 0
    _, _, costs = capsys.readouterr().out.partition("## What it may cost")
    assert costs.splitlines()[1:] == [
        f"Prices of {AS_OF}, from {SOURCE}; they change and differ by region.",
        "prepare           1 x ml.m5.large         0.12",
        "tune              4 x ml.m5.large         0.46",
        "evaluate          1 x ml.m5.large         0.12",
        "baseline          1 x ml.m5.large         0.12",
        "endpoint          1 x ml.m5.large         2.76 a day, used or not, until it is deleted",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "include/models/nothing.yaml: there is no such model file (models: census, tumor)"),
        (
            ["tumor", "--dag", "serving"],
            "the DAG is 'serving': use one of lifecycle, training, batch_scoring, monitoring",
        ),
        (["tumor", "--region", "mars-1"], "region 'mars-1' has no known registry of the image 'sklearn': use one of"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main.main(["dry-run", *arguments]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert error.startswith(f"sagewind dry-run: {said}")

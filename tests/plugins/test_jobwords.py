"""What a job's task tells people: what it runs, from the request, and its kind as the operator's name."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from sagewind import jobwords
from sagewind.facts.algorithms import IMAGES
from sagewind.facts.kinds import KindName
from sagewind.operators.job import JobOperator
from sagewind.pipeline import refs
from sagewind.pipeline.requests import processing, serving, training, tuning
from tests.models import load_model

IMAGE = f"`{IMAGES['sklearn'].repository}`"
PLACE = "on 1 x ml.m5.large, for 60 minutes at most."
TUMOR, RUN = load_model("tumor"), refs.templates()
REQUESTS: dict[KindName, tuple[dict[str, Any], str]] = {
    "processing": (
        processing.prepare(TUMOR, RUN),
        f"Runs `python3 -m sagewind.jobs.prepare` in the image {IMAGE}, {PLACE}",
    ),
    "training": (training.train(TUMOR, RUN), f"Runs `train.py` in the image {IMAGE}, {PLACE}"),
    "tuning": (
        tuning.tune(TUMOR, RUN),
        "Runs 4 trainings, 2 at once, to maximize `validation:auc`. "
        f"Each runs `train.py` in the image {IMAGE}, {PLACE}",
    ),
    "transform": (
        serving.transform(TUMOR, model_name="{{ results.create_model.name }}", source="s3://a/b", output="s3://a/c"),
        f"Runs {PLACE}",
    ),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_the_requests_of_a_model(kind: KindName) -> None:
    request, said = REQUESTS[kind]
    assert jobwords.sentence(kind, request, 60) == said


def test_a_built_in_algorithm_is_named_by_its_image() -> None:
    said = jobwords.sentence("training", training.train(load_model("census"), RUN), 60)
    assert said == f"Runs the image `{IMAGES['xgboost'].repository}`, on 1 x ml.m5.xlarge, for 60 minutes at most."


@pytest.mark.parametrize(
    ("kind", "request_", "said"),
    [
        (
            "processing",
            {"AppSpecification": {"ImageUri": "1.dkr.ecr.eu-west-1.amazonaws.com/own:2"}},
            "the image `own:2`",
        ),
        ("processing", {"AppSpecification": {"ImageUri": "{{ var.value.image }}"}}, ""),
        ("processing", {"StoppingCondition": {"MaxRuntimeInSeconds": 90}}, "for 1.5 minutes at most"),
        ("training", {"AlgorithmSpecification": {"AlgorithmName": "mine"}}, "the algorithm `mine`"),
        (
            "training",
            {
                "ResourceConfig": {
                    "InstanceGroups": [
                        {"InstanceGroupName": "a", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
                        {"InstanceGroupName": "b", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
                    ]
                }
            },
            "on 2 x ml.c5.xlarge and 1 x ml.p3.2xlarge",
        ),
        (
            "transform",
            {"TransformResources": {"InstanceType": "{{ x }}", "InstanceCount": 1}},
            "for 60 minutes at most",
        ),
        ("tuning", {}, ""),
        ("training", "{{ results.plan.request }}", ""),
        ("transform", None, ""),
    ],
)
def test_what_a_request_does_not_say_yet_is_left_out(kind: KindName, request_: Any, said: str) -> None:
    assert jobwords.sentence(kind, request_, 60) == (f"Runs {said}." if said else "")


def test_a_whole_program_is_cut_and_cannot_end_the_code() -> None:
    request = {
        "AppSpecification": {"ContainerEntrypoint": ["python3", "-c"], "ContainerArguments": ["print(`1`)\n" * 50]}
    }
    said = jobwords.sentence("processing", request, 60)
    assert said.startswith("Runs `python3 -c print('1') ")
    assert said.endswith("...`.")
    assert len(said) < 100
    assert said.count("`") == 2


def stored(dag: DAG) -> Any:
    """As the pages of Airflow read it."""
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def test_tasks_are_named_by_their_kind_and_tell_what_they_run() -> None:
    with DAG("d", schedule=None) as dag:
        for kind, (request, _) in REQUESTS.items():
            JobOperator(
                task_id=kind, kind=kind, step="s", model="m", connection="c", request=request, doc_md="What for."
            )
    tasks = stored(dag).task_dict
    assert {kind: task.operator_name for kind, task in tasks.items()} == {
        "processing": "SageMaker processing",
        "training": "SageMaker training",
        "tuning": "SageMaker tuning",
        "transform": "SageMaker batch transform",
    }
    for kind, (_, said) in REQUESTS.items():
        assert tasks[kind].doc_md.startswith(f"What for.\n\n{said}\n\nRed: the job ended badly;")


def test_a_mapped_task_has_a_name_too() -> None:
    with DAG("d", schedule=None) as dag:
        JobOperator.partial(task_id="many", kind="processing", step="s", model="m", connection="c").expand(request=[{}])
    assert stored(dag).get_task("many").operator_name == "SageMaker job"

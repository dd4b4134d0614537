"""The record of an algorithm is whole: one record is all that the rest of the project asks for."""

from __future__ import annotations

import tarfile
from pathlib import Path

import jinja2
import pytest

from sagewind.facts.algorithms import ALGORITHMS, FRAMEWORKS, IMAGES, JOBS_IMAGE, Algorithm
from sagewind.facts.metrics import PROBLEMS
from sagewind.jobs import scoring
from sagewind.jobs.job import UserError
from sagewind.pipeline import refs
from sagewind.pipeline.requests.training import train
from sagewind.pipeline.spec import TrainSpec
from tests.models import load_model


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_problem_has_objectives_and_the_jobs_can_score_the_artifact(name: str) -> None:
    algorithm = ALGORITHMS[name]
    assert set(algorithm.objectives) <= set(PROBLEMS)
    assert algorithm.eval_metrics
    assert algorithm.artifact in scoring.ARTIFACTS


def test_a_name_means_one_image() -> None:
    assert JOBS_IMAGE in IMAGES
    assert all(ALGORITHMS[name].image is FRAMEWORKS[name] for name in set(ALGORITHMS) & set(FRAMEWORKS))


def test_an_artifact_of_no_known_kind_names_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "other", "other")
    with pytest.raises(UserError, match="needs 'xgboost-model' .built-in algorithm. or 'code/inference.py'"):
        scoring.load(tmp_path / "model.tar.gz", tmp_path / "unpacked", 1)


def test_a_new_algorithm_is_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    image = IMAGES["xgboost"]
    record = Algorithm(image, ("k",), {"multiclass": ("classifier",)}, {}, ("accuracy",), "model", "predictor_type")
    monkeypatch.setitem(ALGORITHMS, "linear-thing", record)  # type: ignore[arg-type]
    monkeypatch.setitem(IMAGES, "linear-thing", image)  # type: ignore[arg-type]
    tumor = load_model("tumor")
    parameters = {"k": 3, "predictor_type": "classifier"}
    given = {
        **tumor.model_dump(exclude_unset=True),
        "problem": "multiclass",
        "data": {**tumor.data.model_dump(exclude_unset=True), "positive": None},
        "train": {"algorithm": "linear-thing", "hyperparameters": parameters},
        "tune": None,
        "evaluate": {},
    }
    spec = type(tumor).model_validate(given)
    template = train(spec, refs.templates())["AlgorithmSpecification"]["TrainingImage"]
    images = {"linear-thing": "account/linear:1"}
    assert (
        jinja2.Environment(autoescape=True).from_string(template).render(plan={"images": images})
        == images["linear-thing"]
    )
    with pytest.raises(ValueError, match="lacks 'k', which linear-thing requires"):
        TrainSpec(algorithm="linear-thing")
    wrong = {**given, "train": {"algorithm": "linear-thing", "hyperparameters": {**parameters, "predictor_type": "x"}}}
    with pytest.raises(ValueError, match="predictor_type is 'x': a multiclass problem takes classifier"):
        type(tumor).model_validate(wrong)

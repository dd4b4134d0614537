"""The image directories themselves: what they answer to, what they lock, what their metrics read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from container_toolkit import xgb_hyperparameters

from include.localaws.errors import ValidationException
from include.localaws.images import Images
from include.pipeline import images as uris
from tests.images.conftest import IMAGES

REQUIRED = {"pandas", "pyarrow", "numpy", "scipy", "scikit-learn", "joblib", "waitress"}


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(IMAGES, tmp_path)


def pins(name: str) -> dict[str, str]:
    lines = (IMAGES / name / "requirements.txt").read_text().splitlines()
    found = [line.split(" ;")[0].split("==") for line in lines if line and line[0] not in " #"]
    return {package: version.strip() for package, version in found}


@pytest.mark.parametrize("name", ["xgboost", "sklearn"])
def test_the_uris_of_the_models_are_answered(name: str, images: Images) -> None:
    assert images.resolve(uris.uri(name, "us-east-1")).name == name
    with pytest.raises(ValidationException, match="No local image answers"):
        images.resolve("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1")


@pytest.mark.parametrize(("name", "main"), [("xgboost", "xgboost-cpu"), ("sklearn", "scikit-learn")])
def test_locks_are_exact_and_complete(name: str, main: str, images: Images) -> None:
    image, locked = images.by_name(name), pins(name)
    assert image.package.split() == [main.removesuffix("-cpu"), locked[main]]
    assert set(locked) >= REQUIRED
    assert not [package for package in locked if package.startswith("nvidia")]
    for program in ("train", "serve", "process"):
        assert image.program(program).stat().st_mode & 0o100


def test_metrics_cover_the_algorithm_and_read_its_lines(images: Images) -> None:
    metrics = {metric.name: metric.expression for metric in images.by_name("xgboost").metrics}
    names = (*xgb_hyperparameters.MAXIMIZE, *xgb_hyperparameters.MINIMIZE)
    assert set(metrics) == {f"{data}:{name}" for data in ("train", "validation") for name in names}
    line = "[12]#011train-auc:0.99997#011train-f1:0.99461#011validation-auc:0.98609#011validation-f1:0.94905"
    found = {name: match[1] for name, text in metrics.items() if (match := re.search(text, line))}
    assert found == {
        "train:auc": "0.99997",
        "train:f1": "0.99461",
        "validation:auc": "0.98609",
        "validation:f1": "0.94905",
    }

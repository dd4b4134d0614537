"""The image directories themselves: what they answer to, what they lock, what their metrics read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from container_toolkit import xgb_hyperparameters

from localaws.__main__ import pull
from localaws.engine.images import ImageError, Images, load_image
from localaws.errors import ValidationException
from localaws_tests.images.conftest import IMAGES

REQUIRED = {"pandas", "pyarrow", "numpy", "scipy", "scikit-learn", "joblib", "waitress"}


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(IMAGES, tmp_path)


def pins(name: str) -> dict[str, str]:
    lines = (IMAGES / name / "requirements.txt").read_text().splitlines()
    found = [line.split(" ;")[0].split("==") for line in lines if line and line[0] not in " #"]
    return {package: version.strip() for package, version in found}


def test_a_version_that_is_not_there_is_refused(images: Images) -> None:
    with pytest.raises(ValidationException, match="No local image answers"):
        images.resolve("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.5-1")


@pytest.mark.parametrize(
    ("framework", "version", "name"),
    [
        ("xgboost", "1.7-1", "xgboost-1.7-1"),
        ("xgboost", "3.0-5", "xgboost"),
        ("xgboost", "3.2-0", "xgboost-3.2-0"),
        ("sklearn", "1.2-1", "sklearn-1.2-1"),
        ("sklearn", "1.4-2", "sklearn"),
        ("sklearn", "1.4-2-py312", "sklearn"),
        ("linear-learner", "1", "linear-learner"),
        ("knn", "1", "knn"),
        ("kmeans", "1", "kmeans"),
        ("pca", "1", "pca"),
    ],
)
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_the_uris_of_the_sdk_are_answered(framework: str, version: str, name: str, region: str, images: Images) -> None:
    from sagemaker.core import image_uris

    uri = image_uris.retrieve(framework, region, version, instance_type="ml.m5.large")
    assert images.resolve(uri).name == name


def test_plain_python_is_answered(images: Images) -> None:
    for uri in ("python:3.11-slim", "public.ecr.aws/docker/library/python:3.12", "python:3"):
        assert images.resolve(uri).name == "python"


@pytest.mark.parametrize(
    ("name", "main"),
    [
        ("xgboost", "xgboost-cpu"),
        ("xgboost-3.2-0", "xgboost-cpu"),
        ("xgboost-1.7-1", "xgboost"),
        ("sklearn", "scikit-learn"),
        ("sklearn-1.2-1", "scikit-learn"),
    ],
)
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


def test_an_image_can_be_built_on_another(tmp_path: Path) -> None:
    for name, toml in (
        ("below", "uris = ['below:1']\npython = ['3.11']\npreload = ['json']\nenvironment = { A = '1', B = '2' }"),
        ("above", "uris = ['above:1']\nbase = 'below'\npackage = 'p'"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.toml").write_text(toml)
    (tmp_path / "below" / "train").write_text("below")
    (tmp_path / "below" / "serve").write_text("below")
    (tmp_path / "above" / "serve").write_text("above")
    (tmp_path / "below" / "requirements.txt").write_text("")
    image = load_image(tmp_path / "above", tmp_path)
    assert (image.name, image.uris, image.python, image.package) == ("above", ("above:1",), ("3.11",), "p")
    assert (image.preload, image.variables) == (("json",), {"A": "1", "B": "2"})
    assert [image.program(name).read_text() for name in ("train", "serve")] == ["below", "above"]
    assert image.requirements == tmp_path / "below" / "requirements.txt"
    with pytest.raises(ImageError, match="image above has no program 'process'"):
        image.program("process")


@pytest.mark.parametrize("base", ["above", "../elsewhere", "/below"])
def test_a_base_lies_beside_its_image_or_comes_with_localaws(base: str, tmp_path: Path) -> None:
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "image.toml").write_text(f"uris = ['a:1']\nbase = '{base}'")
    with pytest.raises(ImageError, match="base must name (another image|an image directory beside)"):
        load_image(tmp_path / "above", tmp_path)


def test_an_image_elsewhere_is_built_on_one_that_comes_with_localaws(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "image.toml").write_text("uris = ['mine:1']\nbase = 'sklearn'")
    image = load_image(tmp_path / "mine", tmp_path)
    assert (image.bases, image.requirements) == ((IMAGES / "sklearn",), IMAGES / "sklearn" / "requirements.txt")
    assert image.program("train") == IMAGES / "sklearn" / "train"


def test_bases_do_not_go_round(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.toml").write_text(f"uris = ['{name}:1']\nbase = '{base}'")
    with pytest.raises(ImageError, match="c/image.toml: base must name another image, found 'a'"):
        load_image(tmp_path / "a", tmp_path)


def test_built_in_algorithms_share_one_environment(images: Images) -> None:
    locks = {images.by_name(name).requirements for name in ("knn", "kmeans", "pca", "linear-learner", "python")}
    assert locks == {images.by_name("sklearn").requirements}


def test_pulling_all_leaves_out_what_this_machine_has_no_python_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, python in (("old", "2.6"), ("tiny", "host")):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "image.toml").write_text(f"uris = ['{name}:1']\npython = '{python}'")
    (tmp_path / "images" / "old" / "requirements.txt").write_text("")
    options = ["--images", str(tmp_path / "images"), "--cache", str(tmp_path / "cache")]
    assert pull(options) == 0
    said = capsys.readouterr()
    assert "image old is locked for Python 2.6, but this machine has only 3." in said.err
    assert said.out.startswith("tiny\t")
    assert pull([*options, "old"]) == 1


def test_behaviours_are_read(images: Images) -> None:
    for image in images.images:
        assert all(b.source or b.basis == "assumed" for b in image.behaviours), image.name
    assert {b.basis for b in images.by_name("kmeans").behaviours} == {"documented", "seen", "assumed"}

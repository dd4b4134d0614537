"""Image directories: URIs, errors that name file and key, environments built once by real uv."""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localaws.__main__ import main
from localaws.engine import images as module
from localaws.engine.images import Image, ImageError, Images, load_image, split_uri
from localaws.errors import ValidationException
from localaws_tests.conftest import make_image

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def image_of(directory: Path, toml: str) -> Image:
    make_image(directory, toml)
    return load_image(directory / "tiny", directory / "cache")


@pytest.mark.parametrize(
    ("uri", "reference"),
    [
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5", "sagemaker-xgboost:3.0-5"),
        ("localhost:5000/team/own:1", "team/own:1"),
        ("own", "own:latest"),
        ("own:1@sha256:abc", "own:1"),
    ],
)
def test_references(uri: str, reference: str) -> None:
    assert split_uri(uri) == reference


@given(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True), st.from_regex(r"[a-z0-9.-]{1,8}", fullmatch=True))
def test_any_registry_gives_the_same_reference(repository: str, tag: str) -> None:
    for registry in ("", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/", "localhost/", "localhost:5000/"):
        assert split_uri(f"{registry}{repository}:{tag}") == f"{repository}:{tag}"


def test_unknown_uri_names_itself_and_the_known_images(images_dir: Path, tmp_path: Path) -> None:
    images = Images(images_dir, tmp_path)
    assert images.resolve("1.dkr.ecr.us-east-1.amazonaws.com/tiny:1.0-1").name == "tiny"
    with pytest.raises(ValidationException, match=r"'tiny:2'. Known images: tiny \(tiny:1\\.0-.*\)"):
        images.resolve("tiny:2")
    with pytest.raises(ImageError, match="no image is called 'x'; there are: tiny"):
        images.by_name("x")


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ("uris = ['a'", "cannot be read"),
        ("name = 'a'", "uris must list at least one pattern"),
        ("uris = ['(']", "which is no expression"),
        ("uris = ['a']\nuri = 1", "unknown key 'uri'; known keys: base, behaviours"),
        ("uris = ['a']\npython = 3.11", "python must be a text or a list of texts, found 3.11"),
        ("uris = ['a']\nmetrics = [{name = 'x'}]", "each of metrics needs a name and a regex"),
        ("uris = ['a']\ncode = ['../absent']", "code must name directories from the image's own, found /"),
    ],
)
def test_mistakes_in_image_toml_are_named(tmp_path: Path, toml: str, text: str) -> None:
    with pytest.raises(ImageError, match=text.replace("(", r"\(")) as error:
        image_of(tmp_path, toml)
    assert "image.toml" in str(error.value)


def test_an_image_shows_its_own_code_and_its_bases(tmp_path: Path) -> None:
    for name in ("mine", "below"):
        (tmp_path / name).mkdir()
    make_image(tmp_path / "images", "uris = ['a']\ncode = ['../../below']")
    other = tmp_path / "images/other"
    other.mkdir()
    (other / "image.toml").write_text("uris = ['b']\nbase = 'tiny'\ncode = ['../../mine']")
    assert load_image(other, tmp_path).code == (tmp_path / "mine", tmp_path / "below")


def test_missing_program(images_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="image tiny has no program 'serve'"):
        Images(images_dir, tmp_path).by_name("tiny").program("serve")


def test_python_that_is_not_here(tmp_path: Path) -> None:
    image = image_of(tmp_path, "uris = ['a']\npython = ['3.99']")
    with pytest.raises(ImageError, match=r"locked for Python 3\.99, but this machine has only"):
        image.environment()


def wheel(directory: Path) -> str:
    """A package of our own as a wheel, so that the test needs no network."""
    name = "tinypackage-1.0"
    path = directory / "tinypackage-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tinypackage.py", "ANSWER = 42\n")
        info = f"{name}.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinypackage\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return f"tinypackage @ {path.as_uri()}"


def test_environment_is_built_once_even_by_many_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    image = image_of(tmp_path, f"uris = ['a']\npython = ['{HERE}']")
    image.requirements.write_text(wheel(tmp_path) + "\n")
    built: list[Path] = []
    real = module._build

    def counted(image: Image, python: str, home: Path) -> None:
        built.append(home)
        real(image, python, home)

    monkeypatch.setattr(module, "_build", counted)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(image.environment())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len(set(found)) == 1
    assert any("image tiny: Installed 1 package" in message for message in caplog.messages), caplog.messages
    answer = subprocess.run(
        [found[0], "-c", "import tinypackage; print(tinypackage.ANSWER)"], capture_output=True, text=True
    )
    assert answer.stdout == "42\n"
    image.requirements.write_text(wheel(tmp_path) + "  # changed\n")
    assert image.environment() != found[0]


def test_package_without_a_wheel_is_one_sentence(tmp_path: Path) -> None:
    image = image_of(tmp_path, f"uris = ['a']\npython = ['{HERE}']")
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text('[project]\nname = "onlysource"\nversion = "1"\n')
    image.requirements.write_text(f"onlysource @ {source.as_uri()}\n")
    with pytest.raises(ImageError, match="image tiny cannot be built: .*") as error:
        image.environment()
    assert "\n" not in str(error.value)
    assert not list((image.cache / "environments").glob("tiny-*/complete.json"))
    assert not list((image.cache / "environments").glob(".tiny-*"))


def test_pull(images_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--images", str(images_dir), "--cache", str(tmp_path)]
    assert main(["pull", *options, "tiny"]) == 0
    assert capsys.readouterr().out == f"tiny\t{sys.executable}\n"
    assert main(["pull", *options, "other"]) == 1
    assert capsys.readouterr().err.startswith("localaws: no image is called 'other'; there are: tiny, kmeans, knn, ")

"""docs/images.md: its list of images is complete, and its example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from localaws.engine.images import KEYS, Images
from localaws_tests.conftest import PACKAGE
from localaws_tests.images.conftest import IMAGES, MlDir

PAGE = (PACKAGE / "docs/images.md").read_text(encoding="utf-8")


def test_every_image_and_key_is_listed(tmp_path: Path) -> None:
    rows = "\n".join(re.findall(r"^\| `.*$", PAGE, re.MULTILINE))
    listed = set(re.findall(r"`([^`]+)`", rows))
    assert {image.name for image in Images(IMAGES, tmp_path).images} <= listed
    assert listed >= KEYS


def test_the_example_trains(ml: MlDir, tmp_path: Path) -> None:
    for path, text in re.findall(r"```\w+\n# myimages/(\S+)\n(.*?)```", PAGE, re.DOTALL):
        file = tmp_path / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    image = Images(tmp_path / "images", tmp_path).resolve(
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/mycompany/churn:1.4"
    )
    ml.training({"threshold": "2"}, {"train": "1,3\n0,1\n1,1\n0,0\n"})
    (ml.root / "model").mkdir()
    done = subprocess.run([sys.executable, image.program("train")], capture_output=True, text=True, check=True)
    (metric,) = image.metrics
    assert re.search(metric.expression, done.stdout)[1] == "0.75"  # type: ignore[index]
    assert ml.text("model/threshold") == "2.0"

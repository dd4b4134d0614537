"""Image URIs are those of the SageMaker SDK, in every region that we know."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.session import Session

from sagewind.facts.algorithms import IMAGES
from sagewind.pipeline import images, plan
from sagewind.pipeline.errors import ModelFileError

#: What the SDK must be asked to name the same image.
ASKED: dict[str, dict[str, Any]] = {
    "xgboost": {"version": "3.0-5"},
    "sklearn": {"version": "1.4-2-py312", "py_version": "py3", "instance_type": "ml.m5.large"},
}


@pytest.mark.parametrize(("name", "region"), [(name, region) for name in IMAGES for region in IMAGES[name].accounts])
def test_uris_are_the_sdks(name: str, region: str) -> None:
    from sagemaker.core import image_uris

    assert images.uri(name, region) == image_uris.retrieve(name, region, **ASKED[name])


def test_the_partition_of_known_regions_is_the_plain_one() -> None:
    session = Session()
    regions = {region for image in IMAGES.values() for region in image.accounts}
    assert {session.get_partition_for_region(region) for region in regions} == {plan.PARTITION}


def test_an_unknown_region_names_those_there_are() -> None:
    with pytest.raises(ModelFileError, match="'moon-1' has no known registry .* use one of ap-northeast-1"):
        images.uri("xgboost", "moon-1")

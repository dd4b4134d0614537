"""Image URIs are those of the SageMaker SDK, in every region that we know."""

from __future__ import annotations

import pytest

from sagewind.pipeline import images
from sagewind.pipeline.errors import ModelFileError


@pytest.mark.parametrize("region", images.FRAMEWORK_ACCOUNTS)
def test_uris_are_the_sdks(region: str) -> None:
    from sagemaker.core import image_uris

    assert images.uri("xgboost", region) == image_uris.retrieve("xgboost", region, "3.0-5")
    sklearn = image_uris.retrieve("sklearn", region, "1.4-2-py312", py_version="py3", instance_type="ml.m5.large")
    assert images.uri("sklearn", region) == sklearn


def test_an_unknown_region_names_those_there_are() -> None:
    with pytest.raises(ModelFileError, match="'moon-1' has no known registry .* use one of ap-northeast-1"):
        images.uri("xgboost", "moon-1")

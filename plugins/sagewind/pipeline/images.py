"""URIs of AWS's prebuilt images, held equal to `sagemaker.core.image_uris` by a contract test."""

from __future__ import annotations

from collections.abc import Iterable

from sagewind.facts.algorithms import IMAGES
from sagewind.pipeline.errors import ModelFileError


def uri(name: str, region: str) -> str:
    """URI of the prebuilt image `name` in `region`; ModelFileError names the regions that have it."""
    image = IMAGES[name]
    if region not in image.accounts:
        known = ", ".join(sorted(image.accounts))
        raise ModelFileError(f"region {region!r} has no known registry of the image {name!r}: use one of {known}")
    return f"{image.accounts[region]}.dkr.ecr.{region}.amazonaws.com/{image.repository}"


def uris(names: Iterable[str], region: str) -> dict[str, str]:
    """The URIs of several images in `region`, by name."""
    return {name: uri(name, region) for name in names}

"""URIs of AWS's prebuilt images: constants, held equal to `sagemaker.core.image_uris` by a contract test."""

from __future__ import annotations

from collections.abc import Mapping

from sagewind.pipeline.errors import ModelFileError

#: Registry accounts of the xgboost and scikit-learn images by region (source: the SageMaker SDK's tables).
FRAMEWORK_ACCOUNTS: Mapping[str, str] = {
    "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698",
    "ap-south-1": "720646828776",
    "ap-southeast-1": "121021644041",
    "ap-southeast-2": "783357654285",
    "ca-central-1": "341280168497",
    "eu-central-1": "492215442770",
    "eu-north-1": "662702820516",
    "eu-west-1": "141502667606",
    "eu-west-2": "764974769150",
    "eu-west-3": "659782779980",
    "sa-east-1": "737474898029",
    "us-east-1": "683313688378",
    "us-east-2": "257758044811",
    "us-west-1": "746614075791",
    "us-west-2": "246618743249",
}
#: Image name -> repository:tag, the newest that this project was tried with.
REPOSITORIES: Mapping[str, str] = {
    "xgboost": "sagemaker-xgboost:3.0-5",
    "sklearn": "sagemaker-scikit-learn:1.4-2-py312-cpu-py3",
}


def uri(name: str, region: str) -> str:
    """URI of the prebuilt image `name` ("xgboost" or "sklearn") in `region`; ModelFileError names what there is."""
    if region not in FRAMEWORK_ACCOUNTS:
        known = ", ".join(sorted(FRAMEWORK_ACCOUNTS))
        raise ModelFileError(f"region {region!r} has no known registry of prebuilt images: use one of {known}")
    return f"{FRAMEWORK_ACCOUNTS[region]}.dkr.ecr.{region}.amazonaws.com/{REPOSITORIES[name]}"


def all_uris(region: str) -> dict[str, str]:
    """Every prebuilt image in `region`, by name."""
    return {name: uri(name, region) for name in REPOSITORIES}

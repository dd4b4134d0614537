"""Tags of SageMaker resources: what a later process must know about a thing is written on the thing itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sagewind.facts.tags import full, ours

#: Longest tag value that SageMaker takes.
LIMIT = 256
#: Characters of ids that AWS does not take in tag values (Airflow's run ids may hold a tilde).
_REFUSED = re.compile(r"[^\w .:/=+\-@]")


def made(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Our tags as AWS takes them; empty values are left out."""
    return [{"Key": full(key), "Value": _REFUSED.sub("_", value)[:LIMIT]} for key, value in values.items() if value]


def read(aws: Any, arn: str) -> dict[str, str]:
    """Our tags of one resource, without their prefix."""
    pages = aws.client("sagemaker").get_paginator("list_tags").paginate(ResourceArn=arn)
    return ours({tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]})


def write(aws: Any, arn: str, values: Mapping[str, str]) -> None:
    """Set some of our tags."""
    aws.client("sagemaker").add_tags(ResourceArn=arn, Tags=made(values))


def remove(aws: Any, arn: str, *names: str) -> None:
    """Take some of our tags away."""
    aws.client("sagemaker").delete_tags(ResourceArn=arn, TagKeys=[full(name) for name in names])

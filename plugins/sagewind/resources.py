"""Deleting a resource that is no job, of whatever kind."""

from __future__ import annotations

from sagewind import endpoints
from sagewind.aws import AwsClients, is_missing
from sagewind.facts.resources import ResourceApi


def remove(aws: AwsClients, kind: ResourceApi, name: str) -> bool:
    """Delete it; False if it was not there. An endpoint is awaited until it is gone: it bills until then."""
    if kind.kind == "endpoint":
        return endpoints.delete(aws, name)
    try:
        getattr(aws.client("sagemaker"), kind.delete)(**{kind.name_field: name})
    except Exception as error:
        if is_missing(error):
            return False
        raise
    return True

"""Models and endpoints in the store, with AWS's sentence when one is not there."""

from __future__ import annotations

from localaws.context import Context
from localaws.errors import ValidationException
from localaws.kinds import ENDPOINT, MODEL
from localaws.serving.model_data import ServedModel
from localaws.store import StoredResource


def find_endpoint(ctx: Context, name: str) -> StoredResource:
    """The endpoint; raises ValidationException with AWS's text when there is none."""
    found = ctx.store.get(ENDPOINT.word, name)
    if found is None:
        raise ValidationException(f'Could not find endpoint "{ctx.config.arn(ENDPOINT.word, name)}".')
    return found


def find_model(ctx: Context, name: str) -> StoredResource:
    """The model; raises ValidationException with AWS's text when there is none."""
    found = ctx.store.get(MODEL.word, name)
    if found is None:
        raise ValidationException(f'Could not find model "{ctx.config.arn(MODEL.word, name)}".')
    return found


def served_model(ctx: Context, name: str, *, pipelines: bool = False) -> ServedModel:
    """What is to be served for a model of this name; a pipeline is refused unless the caller can serve one."""
    served = ServedModel.from_document(find_model(ctx, name).body["served"])
    if served.then and not pipelines:
        raise ValidationException(
            f"Model {name} is an inference pipeline of {1 + len(served.then)} containers, which the local AWS endpoint "
            "serves on endpoints only."
        )
    return served

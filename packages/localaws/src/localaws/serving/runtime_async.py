"""SageMaker Runtime: InvokeEndpointAsync puts a request into the endpoint's queue and says where its answer will be."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlsplit

from botocore.model import StructureShape

from localaws import shapes
from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationError, ValidationException
from localaws.front.auth import read_body
from localaws.jobs import s3data
from localaws.serving import endpoint_works as works
from localaws.serving.async_queue import AsyncRequest
from localaws.serving.hosting import hosting

Environ = dict[str, Any]
MAX_INLINE_BYTES = 128_000
TTL_SECONDS = 21600
TIMEOUT_SECONDS = 900
PREFIX = "HTTP_X_AMZN_SAGEMAKER_"
HEADERS = {
    "ContentType": "CONTENT_TYPE",
    "Accept": "ACCEPT",
    "CustomAttributes": "CUSTOM_ATTRIBUTES",
    "InferenceId": "INFERENCE_ID",
    "InputLocation": "INPUTLOCATION",
    "S3OutputPathExtension": "S3OUTPUTPATHEXTENSION",
    "Filename": "FILENAME",
    "RequestTTLSeconds": "REQUESTTTLSECONDS",
    "InvocationTimeoutSeconds": "INVOCATIONTIMEOUTSECONDS",
}
NUMBERS = ("RequestTTLSeconds", "InvocationTimeoutSeconds")

BEHAVIOURS = (
    Behaviour("asynchronous: members, patterns and limits; exactly one of Body (128,000 bytes) and InputLocation",
              "documented", "botocore's service model"),
    Behaviour("InvokeEndpoint of an asynchronous endpoint and the other way round are `ValidationError`", "assumed"),
)  # fmt: skip


def submit(ctx: Context, endpoint: str, environ: Environ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Document and headers of the answer; raises ApiError."""
    given = _members(endpoint, environ)
    body = _body(environ)
    if (body is None) == ("InputLocation" not in given):
        raise ValidationError("Exactly one of Body and InputLocation must be given.")
    if "InputLocation" in given:
        _check_s3(given["InputLocation"])
    host = hosting(ctx)
    with host.serving(endpoint) as fleet:
        if fleet is None:
            raise works.not_serving(ctx, endpoint)
        if fleet.queued is None:
            raise ValidationError(
                f"Endpoint {endpoint} is not configured for asynchronous inference: call InvokeEndpoint, or give its "
                "endpoint configuration an AsyncInferenceConfig."
            )
        output = fleet.queued["OutputConfig"]
    request = _request(given, output, ctx.clock())
    host.queues.submit(endpoint, request, body)
    headers = [("X-Amzn-SageMaker-OutputLocation", request.output)]
    if request.failure is not None:
        headers.append(("X-Amzn-SageMaker-FailureLocation", request.failure))
    return {"InferenceId": request.inference_id}, headers


def _members(endpoint: str, environ: Environ) -> dict[str, Any]:
    """The members of the request as the service model checks them."""
    given: dict[str, Any] = {"EndpointName": endpoint}
    for member, header in HEADERS.items():
        if value := environ.get(PREFIX + header):
            given[member] = value
    for member in NUMBERS:
        if member in given:
            if not given[member].isdigit():
                raise ValidationError(f"'{member}' is {given[member]!r}: it must be a whole number of seconds.")
            given[member] = int(given[member])
    shape = shapes.service("sagemaker-runtime").operation_model("InvokeEndpointAsync").input_shape
    assert isinstance(shape, StructureShape)
    try:
        return shapes.validate(shape, given)
    except ValidationException as error:
        raise ValidationError(error.message) from None


def _body(environ: Environ) -> bytes | None:
    length = environ.get("CONTENT_LENGTH") or "0"
    body = read_body(environ) if length.isdigit() and int(length) <= MAX_INLINE_BYTES else None
    if body is None or len(body) > MAX_INLINE_BYTES:
        raise ValidationError(
            "1 validation error detected: Value at 'body' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_INLINE_BYTES}"
        )
    return body or None


def _check_s3(uri: str) -> None:
    if urlsplit(uri).scheme != "s3":
        raise ValidationError(f"'InputLocation' is {uri!r}: the local AWS endpoint reads s3://bucket/key only.")


def _request(given: dict[str, Any], output: dict[str, Any], now: float) -> AsyncRequest:
    inference_id = given.get("InferenceId") or str(uuid.uuid4())
    extension = [given["S3OutputPathExtension"].strip("/")] if "S3OutputPathExtension" in given else []
    name = given.get("Filename")
    failure = output.get("S3FailurePath")
    sent = {
        "Content-Type": given.get("ContentType"),
        "Accept": given.get("Accept"),
        "X-Amzn-SageMaker-Custom-Attributes": given.get("CustomAttributes"),
        "X-Amzn-SageMaker-Inference-Id": inference_id,
    }
    return AsyncRequest(
        inference_id=inference_id,
        input=given.get("InputLocation"),
        output=s3data.join(output["S3OutputPath"], *extension, name or f"{inference_id}.out"),
        failure=s3data.join(failure, *extension, name or f"{inference_id}-error.out") if failure else None,
        at=now,
        ttl=given.get("RequestTTLSeconds", TTL_SECONDS),
        timeout=given.get("InvocationTimeoutSeconds", TIMEOUT_SECONDS),
        headers={key: value for key, value in sent.items() if value},
    )

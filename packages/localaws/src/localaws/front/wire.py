"""Answers and refusals on the wire: JSON (1.1 and REST), query XML, S3 XML."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

from localaws.errors import ApiError, RequestRefused

StartResponse = Callable[..., Any]
REASONS = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    424: "Failed Dependency",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
# What each family of protocols calls a refusal: JSON, query (STS, IAM), S3.
REFUSALS = {
    "missing": ("MissingAuthenticationTokenException", "MissingAuthenticationToken", "AccessDenied"),
    "unknown": ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"),
    "expired": ("ExpiredTokenException", "ExpiredToken", "ExpiredToken"),
    "signature": ("InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch"),
    "time": ("InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"),
    "headers": ("InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied"),
    "scope": ("InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied"),
    "size": ("RequestEntityTooLargeException", "RequestEntityTooLarge", "EntityTooLarge"),
    "operation": ("UnknownOperationException", "InvalidAction", "NotImplemented"),
    "host": ("AccessDeniedException", "AccessDenied", "AccessDenied"),
}

RUNTIME_OPERATIONS = {  # the last part of SageMaker Runtime's paths, /endpoints/NAME/...
    "invocations": "InvokeEndpoint",
    "async-invocations": "InvokeEndpointAsync",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
}


def error_xml(code: str, message: str, *, query: bool) -> bytes:
    """An error as the query protocol carries it (STS, IAM), or as S3 does."""
    said = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if query:
        said = (
            f"<ErrorResponse><Error><Type>Sender</Type>{said}</Error>"
            f"<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
        )
    else:
        said = f"<Error>{said}</Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{said}'.encode()


def respond(
    start_response: StartResponse, status: int, body: bytes, kind: str, headers: Iterable[tuple[str, str]] = ()
) -> list[bytes]:
    """A complete answer with its length and a request id."""
    start_response(
        f"{status} {REASONS.get(status, 'Unknown')}",
        [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("x-amzn-RequestId", str(uuid.uuid4())),
            *headers,
        ],
    )
    return [body]


def respond_error(
    start_response: StartResponse,
    error: ApiError | RequestRefused,
    code: str | None = None,
    status: int | None = None,
) -> list[bytes]:
    """An error as the JSON protocols (1.1 and REST) carry it: code in `__type` and in a header."""
    extra: dict[str, object] = {}
    if isinstance(error, ApiError):
        code, status, extra = code or error.code, status or error.status, dict(error.extra)
    # SageMaker's error shapes spell the member "Message", botocore reads both.
    body = {"__type": code, "message": error.message, "Message": error.message, **extra}
    return respond(
        start_response,
        status or 400,
        json.dumps(body).encode(),
        "application/x-amz-json-1.1",
        [("x-amzn-ErrorType", str(code))],
    )

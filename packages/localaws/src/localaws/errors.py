"""Errors that a client sees: one class per code on the wire, and one for requests that are not let in.

`code` is what botocore puts into `ClientError.response["Error"]["Code"]`, `status` the HTTP status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class ApiError(Exception):
    """A refusal that is sent to the client; `extra` holds further members of the error shape."""

    code: ClassVar[str]
    status: ClassVar[int] = 400

    def __init__(self, message: str, **extra: object) -> None:
        super().__init__(message)
        self.message = message
        self.extra: Mapping[str, object] = extra


class ValidationException(ApiError):
    """A request that breaks a rule of the API, or names something that this endpoint does not support."""

    code = "ValidationException"


class ResourceInUse(ApiError):
    """The name is taken, or the resource is in a status that forbids the operation."""

    code = "ResourceInUse"


class ResourceNotFound(ApiError):
    """The resource does not exist, for those operations that say so by a code of its own."""

    code = "ResourceNotFound"


class ResourceLimitExceeded(ApiError):
    """A quota is used up."""

    code = "ResourceLimitExceeded"


class ConflictException(ApiError):
    """Two writers changed the same entity."""

    code = "ConflictException"


class ThrottlingException(ApiError):
    """Too many requests."""

    code = "ThrottlingException"


class SerializationException(ApiError):
    """The body is no JSON, or a member has a JSON type that its shape does not allow."""

    code = "SerializationException"


class AccessDeniedException(ApiError):
    """The request is not allowed here (for example a foreign Host header)."""

    code = "AccessDeniedException"
    status = 403


class UnknownOperationException(ApiError):
    """The operation does not exist in the service's model."""

    code = "UnknownOperationException"


class InternalFailure(ApiError):
    """A fault of this endpoint; its log has the details."""

    code = "InternalFailure"
    status = 500


class ServiceUnavailable(ApiError):
    """The service cannot answer now (runtime API)."""

    code = "ServiceUnavailable"
    status = 503


class ValidationError(ApiError):
    """The runtime API's code for a bad request; the control plane says `ValidationException`."""

    code = "ValidationError"


class ModelNotReadyException(ApiError):
    """The model of an endpoint is still loading (runtime API)."""

    code = "ModelNotReadyException"
    status = 429


class ModelError(ApiError):
    """The model's container answered with an error; extra: OriginalStatusCode, OriginalMessage, LogStreamArn."""

    code = "ModelError"
    status = 424


class RequestRefused(Exception):
    """A request that is not answered; `reason` is a key of `front.wire.REFUSALS`, which names the code on the wire."""

    def __init__(self, reason: str, message: str, service: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.service = service

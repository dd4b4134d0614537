"""The errors of S3 as its REST API documents them: a wire code, an HTTP status and a sentence.

Source of codes, statuses and most sentences: Amazon S3 API Reference, "Error responses".
"""

from __future__ import annotations

from typing import ClassVar

from localaws.coverage import Behaviour

BEHAVIOURS = (
    Behaviour("S3: error codes, statuses and most sentences", "documented", "Amazon S3 API Reference, Error responses"),
)


class S3Error(Exception):
    """An answer other than success; `extra` becomes further elements of the error document (Key, BucketName, ...)."""

    code: ClassVar[str] = "InternalError"
    status: ClassVar[int] = 500
    text: ClassVar[str] = "We encountered an internal error. Please try again."

    def __init__(self, message: str | None = None, **extra: str) -> None:
        super().__init__(message or self.text)
        self.message = message or self.text
        self.extra = extra


def _error(code: str, status: int, text: str) -> type[S3Error]:
    return type(code, (S3Error,), {"code": code, "status": status, "text": text, "__doc__": text})


AccessDenied = _error("AccessDenied", 403, "Access Denied")
AccessControlListNotSupported = _error("AccessControlListNotSupported", 400, "The bucket does not allow ACLs")
BadDigest = _error("BadDigest", 400, "The Content-MD5 you specified did not match what we received.")
BadRequest = _error("BadRequest", 400, "Bad Request")
BucketAlreadyOwnedByYou = _error(
    "BucketAlreadyOwnedByYou",
    409,
    "Your previous request to create the named bucket succeeded and you already own it.",
)
BucketNotEmpty = _error("BucketNotEmpty", 409, "The bucket you tried to delete is not empty")
EntityTooLarge = _error("EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed object size.")
EntityTooSmall = _error("EntityTooSmall", 400, "Your proposed upload is smaller than the minimum allowed object size.")
IllegalLocationConstraint = _error(
    "IllegalLocationConstraintException",
    400,
    "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.",
)
IncompleteBody = _error(
    "IncompleteBody",
    400,
    "You did not provide the number of bytes specified by the Content-Length HTTP header",
)
InternalError = S3Error
InvalidArgument = _error("InvalidArgument", 400, "Invalid Argument")
InvalidBucketName = _error("InvalidBucketName", 400, "The specified bucket is not valid.")
InvalidDigest = _error("InvalidDigest", 400, "The Content-MD5 you specified is not valid.")
InvalidLocationConstraint = _error("InvalidLocationConstraint", 400, "The specified location-constraint is not valid")
InvalidPart = _error(
    "InvalidPart",
    400,
    "One or more of the specified parts could not be found.  "
    "The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
)
InvalidPartNumber = _error("InvalidPartNumber", 416, "The requested partnumber is not satisfiable")
InvalidPartOrder = _error(
    "InvalidPartOrder",
    400,
    "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
)
InvalidRange = _error("InvalidRange", 416, "The requested range is not satisfiable")
InvalidRequest = _error("InvalidRequest", 400, "Invalid Request")
InvalidTag = _error("InvalidTag", 400, "The tag provided was not a valid tag.")
InvalidURI = _error("InvalidURI", 400, "Couldn't parse the specified URI.")
KeyTooLong = _error("KeyTooLongError", 400, "Your key is too long")
MalformedTrailer = _error(
    "MalformedTrailerError",
    400,
    "The request contained trailing data that was not well-formed or did not conform to our published schema.",
)
MalformedXML = _error(
    "MalformedXML",
    400,
    "The XML you provided was not well-formed or did not validate against our published schema",
)
MetadataTooLarge = _error("MetadataTooLarge", 400, "Your metadata headers exceed the maximum allowed metadata size")
MethodNotAllowed = _error("MethodNotAllowed", 405, "The specified method is not allowed against this resource.")
MissingContentLength = _error("MissingContentLength", 411, "You must provide the Content-Length HTTP header.")
NoSuchBucket = _error("NoSuchBucket", 404, "The specified bucket does not exist")
NoSuchKey = _error("NoSuchKey", 404, "The specified key does not exist.")
NoSuchUpload = _error(
    "NoSuchUpload",
    404,
    "The specified upload does not exist. The upload ID may be invalid, "
    "or the upload may have been aborted or completed.",
)
NoSuchVersion = _error("NoSuchVersion", 404, "The specified version does not exist.")
NotImplementedS3 = _error("NotImplemented", 501, "A header you provided implies functionality that is not implemented")
NotModified = _error("304", 304, "Not Modified")
OperationAborted = _error(
    "OperationAborted",
    409,
    "A conflicting conditional operation is currently in progress against this resource. Please try again.",
)
InvalidStorageClass = _error("InvalidStorageClass", 400, "The storage class you specified is not valid")
PreconditionFailed = _error("PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold")
SignatureDoesNotMatch = _error(
    "SignatureDoesNotMatch",
    403,
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method.",
)


class NotConfigured(S3Error):
    """What S3 answers when a bucket has none of the configuration that was asked for; the code differs per kind."""

    status = 404

    def __init__(self, code: str, message: str, **extra: str) -> None:
        super().__init__(message, **extra)
        self.code = code  # type: ignore[misc]  # one class for a dozen codes that differ in nothing else

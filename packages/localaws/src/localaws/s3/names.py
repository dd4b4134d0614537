"""The name of the S3 operation that a request means, from botocore's model: `GetObject`, `UploadPartCopy` ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

from botocore.loaders import Loader
from botocore.model import ServiceModel

from localaws.s3.request import target_of

# Operations that share method and path with another one: what in the request makes it this one.
_BY_HEADER = {"CopyObject": "HTTP_X_AMZ_COPY_SOURCE", "UploadPartCopy": "HTTP_X_AMZ_COPY_SOURCE"}
_BY_QUERY = {"ListObjectsV2": ("list-type", "2")}
# Older forms that the model still lists with the same request.
_OLD = {"GetBucketLifecycle", "PutBucketLifecycle", "GetBucketNotification", "PutBucketNotification"}
_ELSEWHERE = {"ListDirectoryBuckets", "WriteGetObjectResponse"}  # at hosts of their own
# Obligatory query names that are values of an operation which another name selects.
_VALUES = frozenset({"id", "annotationName", "partNumber", "select-type", "list-type"})


@cache
def _operations() -> list[tuple[str, str, int, dict[str, str]]]:
    """Name, method, parts of the path (0 service, 1 bucket, 2 key), fixed and obligatory query names; longest first."""
    model = ServiceModel(Loader().load_service_model("s3", "service-2"), "s3")
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        if name in _OLD | _ELSEWHERE:
            continue
        path, _, query = operation.http["requestUri"].partition("?")
        wanted = dict(parse_qsl(query, keep_blank_values=True))
        wanted.pop("x-id", None)
        shape = operation.input_shape
        for member in shape.required_members if shape is not None else ():
            where = shape.members[member].serialization
            if where.get("location") == "querystring":
                wanted[where["name"]] = ""
        level = 2 if "{Key+}" in path else 1 if "{Bucket}" in path else 0
        found.append((name, operation.http["method"], level, wanted))
    special = {*_BY_HEADER, *_BY_QUERY}
    return sorted(found, key=lambda item: (-len(item[3]), item[0] not in special, item[0]))


def selectors() -> frozenset[str]:
    """The query names that make an operation another one than the plain one of method and path."""
    return frozenset(name for _, _, _, wanted in _operations() for name, value in wanted.items()) - _VALUES


def operation_name(environ: Mapping[str, Any], hosts: Sequence[str] = ("localhost",)) -> str:
    """The operation, or `Unknown`."""
    bucket, key, query = target_of(environ, hosts)
    level = 2 if key is not None else 1 if bucket is not None else 0
    for name, method, parts, wanted in _operations():
        if method != environ["REQUEST_METHOD"] or parts != level or not wanted.keys() <= query.keys():
            continue
        if any(value and query[key] != value for key, value in wanted.items()):
            continue
        header, pair = _BY_HEADER.get(name), _BY_QUERY.get(name)
        if (header is not None and header not in environ) or (pair is not None and query.get(pair[0]) != pair[1]):
            continue
        return name
    return "Unknown"

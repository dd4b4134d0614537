"""Between HTTP headers and `ObjectMeta`: what a writer may say of an object, and how a reader hears it back."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate
from urllib.parse import parse_qsl

from localaws.s3 import checksums, errors
from localaws.s3.objects import DEFAULT_CONTENT_TYPE, ObjectInfo, ObjectMeta, check_tags
from localaws.s3.request import Request
from localaws.s3.request_checks import refuse_acl

Headers = list[tuple[str, str]]

_KEPT = ("cache-control", "content-disposition", "content-language", "expires", "x-amz-storage-class")
_ENCRYPTION = (
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
)
_STORAGE_CLASSES = (
    *("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"),
)
_OVERRIDES = (
    *("content-type", "content-language", "expires", "cache-control", "content-disposition", "content-encoding"),
)
_UNSUPPORTED = (
    "x-amz-server-side-encryption-customer-",
    "x-amz-copy-source-server-side-encryption-customer-",
    "x-amz-object-lock-",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
    *(checksums.HEADER + name for name in checksums.REFUSED),
)


def refuse_unsupported(request: Request) -> None:
    """Headers whose promise would not be kept here (customer keys, locks, redirects, appends), unknown versions."""
    for prefix in _UNSUPPORTED:
        if request.headers_with(prefix):
            raise errors.NotImplementedS3(Header=prefix.rstrip("-"))
    for header in ("x-amz-checksum-algorithm", "x-amz-sdk-checksum-algorithm", "x-amz-trailer"):
        value = (request.header(header) or "").lower()
        if any(name in value for name in checksums.REFUSED):
            raise errors.NotImplementedS3(f"{header}: {value} is not supported here.", Header=header)
    version = request.query.get("versionId")
    if version not in (None, "null"):
        raise errors.NoSuchVersion(VersionId=version or "", Key=request.key or "")


def meta_of(request: Request) -> ObjectMeta:
    """What the headers of a PutObject, CopyObject or CreateMultipartUpload say of the object."""
    refuse_acl(request)
    kept = {name: value for name in (*_KEPT, *_ENCRYPTION) if (value := request.header(name)) is not None}
    storage = kept.get("x-amz-storage-class", "STANDARD")
    if storage not in _STORAGE_CLASSES:
        raise errors.InvalidStorageClass(StorageClassRequested=storage)
    encodings = [item.strip() for item in (request.header("content-encoding") or "").split(",")]
    encoding = ",".join(item for item in encodings if item and item != "aws-chunked")
    if encoding:
        kept["content-encoding"] = encoding
    return ObjectMeta(
        content_type=request.content_type or DEFAULT_CONTENT_TYPE,
        headers=kept,
        user=request.headers_with("x-amz-meta-"),
        tags=tags_of(request) or {},
    )


def tags_of(request: Request) -> dict[str, str] | None:
    """The tags of the x-amz-tagging header (a query string), or None without one."""
    given = request.header("x-amz-tagging")
    return None if given is None else check_tags(parse_qsl(given, keep_blank_values=True))


def object_headers(info: ObjectInfo, request: Request, *, whole: bool) -> Headers:
    """The headers of a GetObject or HeadObject answer, except the length; checksums only with the whole object."""
    shown = {"content-type": info.meta.content_type, **info.meta.headers}
    for name in _OVERRIDES:
        if (value := request.query.get(f"response-{name}")) is not None:
            shown[name] = value
    if shown.get("x-amz-storage-class") == "STANDARD":
        del shown["x-amz-storage-class"]
    headers = [
        ("ETag", f'"{info.etag}"'),
        ("Last-Modified", formatdate(info.modified, usegmt=True)),
        ("Accept-Ranges", "bytes"),
        *((_title(name), value) for name, value in shown.items()),
        *((f"x-amz-meta-{name}", value) for name, value in info.meta.user.items()),
    ]
    if "x-amz-server-side-encryption" not in shown:
        headers.append(("x-amz-server-side-encryption", "AES256"))
    if info.meta.tags:
        headers.append(("x-amz-tagging-count", str(len(info.meta.tags))))
    if whole and (request.header("x-amz-checksum-mode") or "").upper() == "ENABLED":
        headers += checksum_headers(info.meta)
    return headers


def written_headers(info: ObjectInfo) -> Headers:
    """The headers of an answer to a write."""
    kept = [(name, info.meta.headers[name]) for name in _ENCRYPTION if name in info.meta.headers]
    return [
        ("ETag", f'"{info.etag}"'),
        *(kept or [("x-amz-server-side-encryption", "AES256")]),
        *checksum_headers(info.meta),
    ]


def checksum_headers(meta: ObjectMeta) -> Headers:
    """The checksums kept with an object."""
    if not meta.checksums:
        return []
    found = [(checksums.HEADER + name, value) for name, value in meta.checksums.items()]
    return [*found, ("x-amz-checksum-type", meta.checksum_type)]


def copied_meta(source: ObjectInfo, request: Request) -> ObjectMeta:
    """The metadata of a copy under x-amz-metadata-directive and x-amz-tagging-directive."""
    asked = meta_of(request)
    directives = {
        kind: (request.header(f"x-amz-{kind}-directive") or "COPY").upper() for kind in ("metadata", "tagging")
    }
    for kind, directive in directives.items():
        if directive not in ("COPY", "REPLACE"):
            raise errors.InvalidArgument(
                f"Unknown {kind} directive.",
                ArgumentName=f"x-amz-{kind}-directive",
                ArgumentValue=directive,
            )
    if directives["metadata"] == "COPY":
        dropped = ("x-amz-storage-class", *_ENCRYPTION)  # S3 does not copy these, the request says them anew
        headers = {k: v for k, v in source.meta.headers.items() if k not in dropped}
        headers |= {k: v for k, v in asked.headers.items() if k in dropped}
        kept = replace(source.meta, headers=headers)
    else:
        kept = asked
    return replace(
        kept,
        tags=asked.tags if directives["tagging"] == "REPLACE" else source.meta.tags,
        checksums={},
        checksum_type="FULL_OBJECT",
        parts=(),
    )


def _title(name: str) -> str:
    return name if name.startswith("x-amz-") else name.title()

"""ListObjects (v1), ListObjectsV2 and ListObjectVersions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence

from localaws.s3 import errors, xmlio
from localaws.s3.objects import Listing, ObjectInfo
from localaws.s3.request import Request, Response
from localaws.s3.request_checks import check_owner, name_of, owner
from localaws.s3.store import S3Store
from localaws.s3.xmlio import document, element, group

_MOST = 1000


def list_objects(store: S3Store, request: Request) -> Response:
    """Both versions; `list-type=2` tells them apart."""
    check_owner(store, request)
    return (_list_v2 if request.query.get("list-type") == "2" else _list_v1)(store, request)


def _encoder(request: Request) -> Callable[[str], str]:
    kind = request.query.get("encoding-type")
    if kind not in (None, "url"):
        raise errors.InvalidArgument(
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=kind or "",
        )
    return xmlio.url_encoded if kind == "url" else str


def _token_of(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _key_of(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeError):
        raise errors.InvalidArgument(
            "The continuation token provided is incorrect", ArgumentName="continuation-token"
        ) from None


def _list_v1(store: S3Store, request: Request) -> Response:
    encode, query = _encoder(request), request.query
    limit = min(request.whole_number("max-keys", _MOST), _MOST)
    marker, delimiter = query.get("marker", ""), query.get("delimiter", "")
    page = store.list_page(name_of(request), query.get("prefix", ""), delimiter, marker, limit)
    parts = [
        element("Name", name_of(request)),
        element("Prefix", encode(query.get("prefix", ""))),
        element("Marker", encode(marker)),
        element("MaxKeys", limit),
    ]
    if page.truncated and delimiter:
        parts.append(element("NextMarker", encode(page.last)))
    return _finish("ListBucketResult", request, parts, page, [_contents(o, encode, owner(store)) for o in page.objects])


def _list_v2(store: S3Store, request: Request) -> Response:
    encode, query = _encoder(request), request.query
    limit = min(request.whole_number("max-keys", _MOST), _MOST)
    token, start_after = query.get("continuation-token"), query.get("start-after", "")
    if token == "":
        raise errors.InvalidArgument("The continuation token provided is incorrect", ArgumentName="continuation-token")
    after = start_after if token is None else _key_of(token)
    page = store.list_page(name_of(request), query.get("prefix", ""), query.get("delimiter", ""), after, limit)
    parts = [
        element("Name", name_of(request)),
        element("Prefix", encode(query.get("prefix", ""))),
        element("MaxKeys", limit),
        element("KeyCount", len(page.objects) + len(page.prefixes)),
    ]
    if token is not None:
        parts.append(element("ContinuationToken", token))
    if start_after:
        parts.append(element("StartAfter", encode(start_after)))
    if page.truncated:
        parts.append(element("NextContinuationToken", _token_of(page.last)))
    owned = owner(store) if query.get("fetch-owner") == "true" else ""
    return _finish("ListBucketResult", request, parts, page, [_contents(o, encode, owned) for o in page.objects])


def list_versions(store: S3Store, request: Request) -> Response:
    """ListObjectVersions of a bucket without versioning: every object is its own latest version, `null`."""
    check_owner(store, request)
    encode, query = _encoder(request), request.query
    limit = min(request.whole_number("max-keys", _MOST), _MOST)
    marker = query.get("key-marker", "")
    page = store.list_page(name_of(request), query.get("prefix", ""), query.get("delimiter", ""), marker, limit)
    parts = [
        element("Name", name_of(request)),
        element("Prefix", encode(query.get("prefix", ""))),
        element("KeyMarker", encode(marker)),
        element("VersionIdMarker", query.get("version-id-marker", "")),
        element("MaxKeys", limit),
    ]
    if page.truncated:
        parts += [element("NextKeyMarker", encode(page.last)), element("NextVersionIdMarker", "null")]
    version = element("VersionId", "null") + element("IsLatest", True)
    entries = [_contents(o, encode, version + owner(store), "Version") for o in page.objects]
    return _finish("ListVersionsResult", request, parts, page, entries)


def _contents(info: ObjectInfo, encode: Callable[[str], str], more: str, tag: str = "Contents") -> str:
    fields = [
        element("Key", encode(info.key)),
        element("LastModified", xmlio.timestamp(info.modified)),
        element("ETag", f'"{info.etag}"'),
        element("Size", info.size),
        element("StorageClass", info.meta.storage_class),
        more,
    ]
    if info.meta.checksums:
        fields += [element("ChecksumAlgorithm", name.upper()) for name in info.meta.checksums]
        fields.append(element("ChecksumType", info.meta.checksum_type))
    return group(tag, fields)


def _finish(root: str, request: Request, parts: Sequence[str], page: Listing, entries: Sequence[str]) -> Response:
    encode = _encoder(request)
    head = [*parts, element("IsTruncated", page.truncated)]
    if request.query.get("delimiter"):
        head.append(element("Delimiter", encode(request.query["delimiter"])))
    if "encoding-type" in request.query:
        head.append(element("EncodingType", "url"))
    common = [group("CommonPrefixes", [element("Prefix", encode(prefix))]) for prefix in page.prefixes]
    return document(root, [*head, *entries, *common])

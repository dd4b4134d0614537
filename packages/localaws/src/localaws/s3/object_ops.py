"""Operations on objects: get, head, put, copy, delete, tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO
from urllib.parse import unquote

from localaws.s3 import errors, xmlio
from localaws.s3.body import BLOCK
from localaws.s3.checksums import Digests
from localaws.s3.conditions import byte_range
from localaws.s3.headers import copied_meta, meta_of, object_headers, written_headers
from localaws.s3.objects import ObjectInfo, ObjectMeta, check_tags
from localaws.s3.request import Request, Response
from localaws.s3.request_checks import check_owner, name_of
from localaws.s3.store import S3Store
from localaws.s3.xmlio import document, element, group

MAX_PUT = 5 << 30
"""Largest object or part written or copied in one request, in bytes (5 GiB)."""

_MOST_DELETES = 1000
_SELF_COPY = (
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
    "metadata, storage class, website redirect location or encryption attributes."
)


class FileBlocks:
    """`length` bytes of an open file from `start`, in blocks; the WSGI server closes it."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._left = length
        file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        while self._left and (block := self._file.read(min(BLOCK, self._left))):
            self._left -= len(block)
            yield block

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def names_of(request: Request) -> tuple[str, str]:
    """Bucket and key of a request that has both."""
    if request.key is None:
        raise errors.MethodNotAllowed()
    return name_of(request), request.key


def get_object(store: S3Store, request: Request) -> Response:
    """GetObject."""
    check_owner(store, request)
    info, file = store.open_object(*names_of(request))
    try:
        response, start, length = _describe(info, request)
    except BaseException:
        file.close()
        raise
    response.body = FileBlocks(file, start, length)
    return response


def head_object(store: S3Store, request: Request) -> Response:
    """HeadObject."""
    check_owner(store, request)
    return _describe(store.head(*names_of(request)), request)[0]


def _describe(info: ObjectInfo, request: Request) -> tuple[Response, int, int]:
    request.conditions().check_read(info)
    chosen = _part_range(info, request) or byte_range(request.header("range"), info.size)
    start, end = chosen or (0, info.size - 1)
    length = end - start + 1
    headers = object_headers(info, request, whole=length == info.size)
    headers.append(("Content-Length", str(length)))
    if chosen is not None:
        headers.append(("Content-Range", f"bytes {start}-{end}/{info.size}"))
    if "partNumber" in request.query and info.meta.parts:
        headers.append(("x-amz-mp-parts-count", str(len(info.meta.parts))))
    return Response(206 if chosen else 200, headers), start, length


def _part_range(info: ObjectInfo, request: Request) -> tuple[int, int] | None:
    if "partNumber" not in request.query or info.size == 0:
        return None
    number, sizes = request.whole_number("partNumber"), info.meta.parts or (info.size,)
    if not 1 <= number <= len(sizes):
        raise errors.InvalidPartNumber(PartNumberRequested=str(number), ActualPartCount=str(len(sizes)))
    start = sum(sizes[: number - 1])
    return start, start + sizes[number - 1] - 1


def put_or_copy(store: S3Store, request: Request) -> Response:
    """PutObject, or CopyObject when there is an x-amz-copy-source."""
    check_owner(store, request)
    return (put_object if request.header("x-amz-copy-source") is None else copy_object)(store, request)


def put_object(store: S3Store, request: Request) -> Response:
    """PutObject."""
    check_upload_size(request)
    meta = meta_of(request)

    def verify(digests: Digests, _size: int) -> ObjectMeta:
        return replace(meta, checksums=received_checksums(request, digests))

    info = store.put_stream(
        *names_of(request),
        request.body,
        verify=verify,
        algorithms=request.announced_algorithms(),
        check=request.conditions().write_check(),
    )
    return Response(200, written_headers(info))


def check_upload_size(request: Request) -> None:
    """A body must say how long it is and be at most 5 GiB."""
    if request.content_length is None and (request.header("transfer-encoding") or "").lower() != "chunked":
        raise errors.MissingContentLength()
    if (request.body.expected or 0) > MAX_PUT:
        raise errors.EntityTooLarge(ProposedSize=str(request.body.expected), MaxSizeAllowed=str(MAX_PUT))


def received_checksums(request: Request, digests: Digests) -> dict[str, str]:
    """Verify what the client declared of the body it sent; the checksums to keep with it."""
    declared = request.declared_checksums()
    digests.verify(request.header("content-md5"), declared)
    asked = (request.header("x-amz-sdk-checksum-algorithm") or "").lower()
    if not declared and (computed := digests.value(asked)) is not None:
        return {asked: computed}
    return declared


def copy_source(store: S3Store, request: Request) -> ObjectInfo:
    """The object that x-amz-copy-source names (`/bucket/key`, escaped), its own conditions checked."""
    path, _, version = (request.header("x-amz-copy-source") or "").partition("?versionId=")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    if not bucket or not key:
        raise errors.InvalidArgument(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            ArgumentName="x-amz-copy-source",
            ArgumentValue=path,
        )
    if version not in ("", "null"):
        raise errors.NoSuchVersion(VersionId=version, Key=key)
    if request.header("x-amz-source-expected-bucket-owner") not in (None, store.account):
        raise errors.AccessDenied()
    source = store.head(bucket, key)
    request.conditions("x-amz-copy-source-").check_source(source)
    return source


def copy_object(store: S3Store, request: Request) -> Response:
    """CopyObject: no bytes are copied; they are read only if ETag or checksum must be computed anew."""
    bucket, key = names_of(request)
    source = copy_source(store, request)
    meta = copied_meta(source, request)
    same = (source.bucket, source.key) == (bucket, key)
    replaces = (request.header("x-amz-metadata-directive") or "COPY").upper() == "REPLACE"
    anew = any(request.headers_with(f"x-amz-{name}") for name in ("storage-class", "server-side-encryption"))
    if same and not replaces and not anew:
        raise errors.InvalidRequest(_SELF_COPY)
    if source.size > MAX_PUT:
        raise errors.InvalidRequest(
            f"The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT}"
        )
    etag, sums = _digests_of_copy(store, source, request)
    meta = replace(meta, checksums=sums)
    check = request.conditions().write_check()
    info = store.copy(source, bucket, key, meta, etag=etag, check=check)
    fields = [element("LastModified", xmlio.timestamp(info.modified)), element("ETag", f'"{info.etag}"')]
    fields += checksum_elements(sums)
    return document("CopyObjectResult", fields)


def _digests_of_copy(store: S3Store, source: ObjectInfo, request: Request) -> tuple[str, dict[str, str]]:
    asked = (request.header("x-amz-checksum-algorithm") or "").lower()
    wanted = {asked} if asked else set(source.meta.checksums)
    known = source.meta.checksums if source.meta.checksum_type == "FULL_OBJECT" else {}
    if "-" not in source.etag and wanted <= set(known):
        return source.etag, {name: known[name] for name in wanted}
    digests = Digests(wanted)
    with store.open(source.bucket, source.key) as file:
        while block := file.read(BLOCK):
            digests.update(block)
    return digests.etag, {name: value for name in wanted if (value := digests.value(name)) is not None}


def checksum_elements(sums: dict[str, str]) -> list[str]:
    """Checksums inside an XML answer."""
    return [element(f"Checksum{name.upper()}", value) for name, value in sums.items()]


def delete_object(store: S3Store, request: Request) -> Response:
    """DeleteObject: success also when there is none."""
    check_owner(store, request)
    store.delete(*names_of(request), request.conditions().write_check())
    return Response(204)


def delete_objects(store: S3Store, request: Request) -> Response:
    """DeleteObjects, at most 1,000 keys."""
    check_owner(store, request)
    data = request.body.read_all(xmlio.MAX_DOCUMENT)
    digests = Digests(request.announced_algorithms() | set(request.declared_checksums()))
    digests.update(data)
    digests.verify(request.header("content-md5"), request.declared_checksums())
    bucket = store.bucket(name_of(request)).name
    order = xmlio.parse(data, "Delete")
    entries = order.all("Object")
    if not 1 <= len(entries) <= _MOST_DELETES:
        raise errors.MalformedXML()
    quiet = (order.get("Quiet") or "").lower() == "true"
    results: list[str] = []
    for entry in entries:
        key = entry.need("Key")
        try:
            if entry.get("VersionId") not in (None, "", "null"):
                raise errors.NoSuchVersion()
            store.delete(bucket, key)
        except errors.S3Error as error:
            reason = (element("Key", key), element("Code", error.code), element("Message", error.message))
            results.append(group("Error", reason))
        else:
            results += [] if quiet else [group("Deleted", [element("Key", key)])]
    return document("DeleteResult", results)


def get_tags(store: S3Store, request: Request) -> Response:
    """GetObjectTagging."""
    return xmlio.tagging(store.head(*names_of(request)).meta.tags)


def put_tags(store: S3Store, request: Request) -> Response:
    """PutObjectTagging."""
    tags = check_tags(xmlio.parse_tags(request.body.read_all(xmlio.MAX_DOCUMENT)))
    store.set_tags(*names_of(request), tags)
    return Response(200)


def delete_tags(store: S3Store, request: Request) -> Response:
    """DeleteObjectTagging."""
    store.set_tags(*names_of(request), {})
    return Response(204)

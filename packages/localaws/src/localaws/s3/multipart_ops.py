"""The operations of a multipart upload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from localaws.s3 import checksums, errors, xmlio
from localaws.s3.body import BLOCK
from localaws.s3.checksums import Digests
from localaws.s3.conditions import byte_range
from localaws.s3.headers import meta_of
from localaws.s3.object_ops import (
    MAX_PUT,
    check_upload_size,
    checksum_elements,
    copy_source,
    names_of,
    received_checksums,
)
from localaws.s3.objects import ObjectMeta
from localaws.s3.request import Request, Response
from localaws.s3.request_checks import check_owner, name_of, owner
from localaws.s3.store import S3Store
from localaws.s3.xmlio import document, element, group


def create(store: S3Store, request: Request) -> Response:
    """CreateMultipartUpload."""
    check_owner(store, request)
    bucket, key = names_of(request)
    algorithm = (request.header("x-amz-checksum-algorithm") or "").lower() or None
    kind = _checksum_type(algorithm, request.header("x-amz-checksum-type"))
    upload = store.uploads.create(bucket, key, replace(meta_of(request), checksum_type=kind), algorithm)
    answer = document(
        "InitiateMultipartUploadResult",
        [element("Bucket", bucket), element("Key", key), element("UploadId", upload.id)],
    )
    if algorithm is not None:
        answer.headers += [("x-amz-checksum-algorithm", algorithm.upper()), ("x-amz-checksum-type", kind)]
    return answer


def _checksum_type(algorithm: str | None, given: str | None) -> str:
    """COMPOSITE or FULL_OBJECT; InvalidRequest for a pair that S3 does not have."""
    if algorithm is not None and algorithm not in checksums.KNOWN:
        raise errors.InvalidRequest(
            f"Checksum algorithm provided is unsupported: {algorithm}. Please try again with any of the valid types: "
            f"[{', '.join(checksums.KNOWN).upper()}]"
        )
    if algorithm is None:
        if given is not None:
            raise errors.InvalidRequest("The x-amz-checksum-type header can only be used with a checksum algorithm.")
        return "COMPOSITE"
    kind = (given or ("FULL_OBJECT" if algorithm in checksums.FULL_OBJECT_ONLY else "COMPOSITE")).upper()
    if kind not in ("COMPOSITE", "FULL_OBJECT"):
        raise errors.InvalidRequest("Value for x-amz-checksum-type header is invalid.")
    impossible = checksums.FULL_OBJECT_ONLY if kind == "COMPOSITE" else checksums.COMPOSITE_ONLY
    if algorithm in impossible:
        raise errors.InvalidRequest(f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.")
    return kind


def upload_part(store: S3Store, request: Request) -> Response:
    """UploadPart, or UploadPartCopy when there is an x-amz-copy-source."""
    check_owner(store, request)
    if request.header("x-amz-copy-source") is not None:
        return _upload_part_copy(store, request)
    check_upload_size(request)

    promised = _algorithm_of(store, request)

    def verify(digests: Digests, _size: int) -> dict[str, str]:
        received = received_checksums(request, digests)
        for wanted in promised - set(received):
            if received:
                raise errors.InvalidRequest(
                    f"Checksum Type mismatch occurred, expected checksum Type: {wanted}, "
                    f"actual checksum Type: {', '.join(received)}"
                )
            return {wanted: digests.value(wanted) or ""}
        return received

    algorithms = request.announced_algorithms() | promised
    part = store.uploads.put_part(
        *_target(request), request.whole_number("partNumber"), request.body, verify=verify, algorithms=algorithms
    )
    sums = [(checksums.HEADER + name, value) for name, value in part.checksums.items()]
    return Response(200, [("ETag", f'"{part.etag}"'), *sums])


def _upload_part_copy(store: S3Store, request: Request) -> Response:
    source = copy_source(store, request)
    given = request.header("x-amz-copy-source-range")
    chosen = byte_range(given, source.size)
    if given is not None and (chosen is None or given != f"bytes={chosen[0]}-{chosen[1]}"):
        raise errors.InvalidArgument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=given,
        )
    start, end = chosen or (0, source.size - 1)
    if end - start >= MAX_PUT:
        raise errors.InvalidRequest(f"The specified copy range is larger than {MAX_PUT} bytes.")
    algorithms = _algorithm_of(store, request)

    def verify(digests: Digests, _size: int) -> dict[str, str]:
        return {name: value for name in algorithms if (value := digests.value(name)) is not None}

    def blocks() -> Iterator[bytes]:
        with store.open(source.bucket, source.key) as file:
            file.seek(start)
            left = end - start + 1
            while left and (block := file.read(min(BLOCK, left))):
                left -= len(block)
                yield block

    number = request.whole_number("partNumber")
    part = store.uploads.put_part(*_target(request), number, blocks(), verify=verify, algorithms=algorithms)
    fields = [element("LastModified", xmlio.timestamp(part.modified)), element("ETag", f'"{part.etag}"')]
    return document("CopyPartResult", [*fields, *checksum_elements(part.checksums)])


def _target(request: Request) -> tuple[str, str, str]:
    return (*names_of(request), request.query["uploadId"])


def _algorithm_of(store: S3Store, request: Request) -> set[str]:
    algorithm = store.uploads.find(*_target(request)).algorithm
    return set() if algorithm is None else {algorithm}


def list_parts(store: S3Store, request: Request) -> Response:
    """ListParts."""
    check_owner(store, request)
    bucket, key, upload_id = _target(request)
    upload = store.uploads.find(bucket, key, upload_id)
    limit = min(request.whole_number("max-parts", 1000), 1000)
    marker = request.whole_number("part-number-marker", 0)
    parts = [part for part in store.uploads.parts(bucket, key, upload_id) if part.number > marker]
    shown = parts[:limit]
    head = [
        element("Bucket", bucket),
        element("Key", key),
        element("UploadId", upload_id),
        element("PartNumberMarker", marker),
        element("NextPartNumberMarker", shown[-1].number if shown else 0),
        element("MaxParts", limit),
        element("IsTruncated", len(parts) > limit),
        element("StorageClass", upload.meta.storage_class),
        owner(store, "Initiator"),
        owner(store),
    ]
    entries = [
        group(
            "Part",
            (
                element("PartNumber", part.number),
                element("LastModified", xmlio.timestamp(part.modified)),
                element("ETag", f'"{part.etag}"'),
                element("Size", part.size),
                *checksum_elements(part.checksums),
            ),
        )
        for part in shown
    ]
    return document("ListPartsResult", [*head, *entries])


def list_uploads(store: S3Store, request: Request) -> Response:
    """ListMultipartUploads, without grouping by delimiter."""
    check_owner(store, request)
    bucket, query = store.bucket(name_of(request)).name, request.query
    if query.get("delimiter"):
        raise errors.NotImplementedS3("A delimiter in ListMultipartUploads is not supported here.")
    encode = xmlio.url_encoded if query.get("encoding-type") == "url" else str
    limit = min(request.whole_number("max-uploads", 1000), 1000)
    after = (query.get("key-marker", "").encode(), query.get("upload-id-marker", ""))
    found = store.uploads.in_bucket(bucket, query.get("prefix", ""))
    found = [u for u in found if u.key.encode() > after[0] or (u.key.encode() == after[0] and u.id > after[1] > "")]
    found.sort(key=lambda upload: (upload.key.encode(), upload.id))
    head = [
        element("Bucket", bucket),
        element("KeyMarker", encode(query.get("key-marker", ""))),
        element("UploadIdMarker", after[1]),
        element("Prefix", encode(query.get("prefix", ""))),
        element("MaxUploads", limit),
        element("IsTruncated", len(found) > limit),
    ]
    if "encoding-type" in query:
        head.append(element("EncodingType", "url"))
    if len(found) > limit > 0:
        last = found[limit - 1]
        head += [element("NextKeyMarker", encode(last.key)), element("NextUploadIdMarker", last.id)]
    entries = [
        group(
            "Upload",
            (
                element("UploadId", upload.id),
                element("Key", encode(upload.key)),
                element("Initiated", xmlio.timestamp(upload.created)),
                element("StorageClass", upload.meta.storage_class),
                owner(store),
                owner(store, "Initiator"),
            ),
        )
        for upload in found[:limit]
    ]
    return document("ListMultipartUploadsResult", [*head, *entries])


def complete(store: S3Store, request: Request) -> Response:
    """CompleteMultipartUpload."""
    check_owner(store, request)
    bucket, key, upload_id = _target(request)
    order = xmlio.parse(request.body.read_all(xmlio.MAX_DOCUMENT), "CompleteMultipartUpload")
    wanted = [_wanted(part) for part in order.all("Part")]
    declared = request.declared_checksums()
    size_given = request.header("x-mp-object-size") or request.header("x-amz-mp-object-size")

    def verify(meta: ObjectMeta, size: int) -> ObjectMeta:
        if size_given is not None and size_given != str(size):
            raise errors.InvalidRequest(
                f"The provided 'x-amz-mp-object-size' header value {size_given} does not match what was computed: "
                f"{size}"
            )
        for name, value in declared.items():
            known = meta.checksums.get(name)
            if known is None:
                raise errors.InvalidRequest(f"The upload was not begun with the checksum algorithm {name.upper()}.")
            if known.partition("-")[0] != value.partition("-")[0]:
                raise errors.BadDigest(f"The {name.upper()} you specified did not match the calculated checksum.")
        return meta

    check = request.conditions().write_check()
    info = store.complete_upload(bucket, key, upload_id, wanted, verify=verify, check=check)
    fields = [
        element("Location", f"http://{request.header('host') or ''}/{bucket}/{key}"),
        element("Bucket", bucket),
        element("Key", key),
        element("ETag", f'"{info.etag}"'),
        *checksum_elements(info.meta.checksums),
    ]
    return document("CompleteMultipartUploadResult", fields)


def _wanted(part: xmlio.Node) -> tuple[int, str, dict[str, str]]:
    number = part.need("PartNumber").strip()
    if not number.isdecimal():
        raise errors.MalformedXML()
    sums = {
        child.name.removeprefix("Checksum").lower(): child.text
        for child in part.children()
        if child.name.startswith("Checksum")
    }
    return int(number), part.need("ETag").strip(), sums


def abort(store: S3Store, request: Request) -> Response:
    """AbortMultipartUpload."""
    check_owner(store, request)
    store.uploads.abort(*_target(request))
    return Response(204)

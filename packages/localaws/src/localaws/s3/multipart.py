"""Multipart uploads: parts are blobs of their own until the upload is completed or aborted."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from localaws.s3 import checksums, errors
from localaws.s3.blobs import Blobs
from localaws.s3.checksums import Digests
from localaws.s3.index import Index
from localaws.s3.objects import ObjectMeta, Part, Upload, check_user_metadata, encode_key

MIN_PART_BYTES = 5 * 1024 * 1024
"""Every part but the last must be at least this long (S3 user guide, "Multipart upload limits")."""

MAX_PART_NUMBER = 10_000


class Uploads:
    """The unfinished uploads of a store."""

    def __init__(self, index: Index, blobs: Blobs, clock: Callable[[], float]) -> None:
        self._index = index
        self._blobs = blobs
        self._clock = clock

    def create(self, bucket: str, key: str, meta: ObjectMeta, algorithm: str | None) -> Upload:
        """Begin; NoSuchBucket without the bucket."""
        encode_key(key)
        check_user_metadata(meta.user)
        upload = Upload(secrets.token_urlsafe(48), bucket, key, self._clock(), meta, algorithm)
        with self._index.transaction():
            if self._index.bucket(bucket) is None:
                raise errors.NoSuchBucket(BucketName=bucket)
            self._index.add_upload(upload)
        return upload

    def find(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The upload with this id for this very object, else NoSuchUpload."""
        upload = self._index.upload(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            raise errors.NoSuchUpload(UploadId=upload_id)
        return upload

    def in_bucket(self, bucket: str, prefix: str) -> list[Upload]:
        """By key, then by start."""
        return self._index.uploads(bucket, prefix)

    def parts(self, bucket: str, key: str, upload_id: str) -> list[Part]:
        """The parts so far, by number."""
        return self._index.parts(self.find(bucket, key, upload_id).id)

    def put_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        chunks: Iterable[bytes],
        *,
        verify: Callable[[Digests, int], dict[str, str]],
        algorithms: Iterable[str] = (),
    ) -> Part:
        """Store one part, replacing one of the same number; `verify` checks it and gives the checksums to keep."""
        if not 1 <= number <= MAX_PART_NUMBER:
            raise errors.InvalidArgument(
                f"Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive",
                ArgumentName="partNumber",
                ArgumentValue=str(number),
            )
        self.find(bucket, key, upload_id)
        with self._blobs.writer(algorithms) as writer:
            for chunk in chunks:
                writer.write(chunk)
            kept = verify(writer.digests, writer.size)
        part = Part(number, writer.size, writer.digests.etag, int(self._clock()), kept, writer.blob)
        try:
            with self._index.transaction():
                self.find(bucket, key, upload_id)
                replaced = [p for p in self._index.parts(upload_id) if p.number == number]
                self._index.put_part(upload_id, part)
        except BaseException:
            self._blobs.remove(part.blob)
            raise
        for old in replaced:
            self._blobs.remove(old.blob)
        return part

    def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """End the upload and forget its parts."""
        with self._index.transaction():
            parts = self.parts(bucket, key, upload_id)
            self._index.remove_upload(upload_id)
        for part in parts:
            self._blobs.remove(part.blob)

    def assemble(
        self, bucket: str, key: str, upload_id: str, wanted: list[tuple[int, str, dict[str, str]]]
    ) -> tuple[str, int, str, ObjectMeta]:
        """Check the list of parts and put them in a row: the blob, its size, the ETag and the metadata of the object.

        Raises InvalidPart, InvalidPartOrder, EntityTooSmall as S3 does; the upload itself stays.
        """
        upload = self.find(bucket, key, upload_id)
        chosen = _choose({part.number: part for part in self._index.parts(upload_id)}, wanted)
        try:
            blob = self._join([part.blob for part in chosen])
        except FileNotFoundError:  # aborted, completed or a part replaced meanwhile
            raise errors.NoSuchUpload(UploadId=upload_id) from None
        etag = checksums.multipart_etag([part.etag for part in chosen])
        meta = replace(
            upload.meta,
            parts=tuple(part.size for part in chosen),
            checksums=_checksum(upload, chosen),
        )
        return blob, sum(part.size for part in chosen), etag, meta

    def _join(self, blobs: Sequence[str]) -> str:
        return self._blobs.link(blobs[0]) if len(blobs) == 1 else self._blobs.concatenate(blobs)


def _choose(there: dict[int, Part], wanted: list[tuple[int, str, dict[str, str]]]) -> list[Part]:
    numbers = [number for number, _etag, _given in wanted]
    if not numbers:
        raise errors.MalformedXML()
    if numbers != sorted(set(numbers)):
        raise errors.InvalidPartOrder()
    chosen: list[Part] = []
    for number, etag, given in wanted:
        part = there.get(number)
        mismatch = part is None or part.etag != etag.strip('"')
        if part is None or mismatch or any(part.checksums.get(k, v) != v for k, v in given.items()):
            raise errors.InvalidPart(PartNumber=str(number), ETag=etag)
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < MIN_PART_BYTES:
            raise errors.EntityTooSmall(
                ProposedSize=str(part.size),
                MinSizeAllowed=str(MIN_PART_BYTES),
                PartNumber=str(part.number),
                ETag=part.etag,
            )
    return chosen


def _checksum(upload: Upload, chosen: list[Part]) -> dict[str, str]:
    """The object's checksum from those of its parts, of the type that the upload was begun with."""
    algorithm = upload.algorithm
    if algorithm is None:
        return {}
    values = [part.checksums[algorithm] for part in chosen]  # computed for every part of such an upload
    if upload.meta.checksum_type == "FULL_OBJECT":
        sizes = [part.size for part in chosen]
        return {algorithm: checksums.combined(algorithm, zip(values, sizes, strict=True))}
    return {algorithm: checksums.composite(algorithm, values)}

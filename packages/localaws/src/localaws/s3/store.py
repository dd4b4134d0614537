"""`S3Store`: buckets and objects in a directory, for the job runner (no HTTP in between) and for the HTTP front."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from localaws.s3 import errors
from localaws.s3.blobs import Blobs
from localaws.s3.checksums import Digests
from localaws.s3.index import Index
from localaws.s3.multipart import Uploads
from localaws.s3.objects import (
    Bucket,
    Listing,
    ObjectInfo,
    ObjectMeta,
    check_bucket_name,
    check_tags,
    check_user_metadata,
    encode_key,
)

WriteCheck = Callable[[ObjectInfo | None], None]
"""Called with the object that a write would replace, or None, inside the transaction; raises to refuse."""

Verify = Callable[[Digests, int], ObjectMeta]
"""Called with digests and size (bytes) of what was received, before it is visible; gives the metadata to keep."""

_PAGE = 1000


class S3Store:
    """Buckets and objects under `root`; safe for threads. Every method raises an S3Error with the code S3 would answer.

    Durable against the end of the process at any instant: an object appears whole or not at all. Not fsynced.
    Only the process that opened the directory first cleans up what a crash left behind.
    """

    def __init__(
        self,
        root: Path,
        *,
        region: str = "us-east-1",
        account: str = "123456789012",
        clock: Callable[[], float] = time.time,
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.region = region
        self.account = account
        self._clock = clock
        self._lock = (root / "lock").open("ab")
        self._blobs = Blobs(root / "blobs")
        self._index = Index(root / "index.sqlite3")
        self.uploads = Uploads(self._index, self._blobs, clock)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        self._blobs.sweep(self._index.referenced())

    def close(self) -> None:
        """Give the directory back; later calls fail."""
        self._index.close()
        self._lock.close()

    # --- buckets -----------------------------------------------------------------------------------------------

    def create_bucket(self, name: str, region: str | None = None) -> Bucket:
        """A new bucket; one that exists is BucketAlreadyOwnedByYou, except in us-east-1 where S3 answers success."""
        check_bucket_name(name)
        bucket = Bucket(name, region or self.region, self._clock())
        with self._index.transaction():
            existing = self._index.bucket(name)
            if existing is None:
                self._index.add_bucket(bucket)
                return bucket
        if existing.region == bucket.region == "us-east-1":
            return existing
        raise errors.BucketAlreadyOwnedByYou(BucketName=name)

    def bucket(self, name: str) -> Bucket:
        """The bucket, else NoSuchBucket."""
        found = self._index.bucket(name)
        if found is None:
            raise errors.NoSuchBucket(BucketName=name)
        return found

    def buckets(self) -> list[Bucket]:
        """All buckets by name."""
        return self._index.buckets()

    def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket, and uploads never completed; BucketNotEmpty otherwise."""
        with self._index.transaction():
            self.bucket(name)
            if self._index.has_objects(name):
                raise errors.BucketNotEmpty(BucketName=name)
            blobs = [p.blob for u in self._index.uploads(name, "") for p in self._index.parts(u.id)]
            self._index.remove_bucket(name)
        for blob in blobs:
            self._blobs.remove(blob)

    def set_bucket_tags(self, name: str, tags: dict[str, str] | None) -> None:
        """Replace a bucket's tags; None removes them."""
        self.bucket(name)
        if tags is not None:
            check_tags(list(tags.items()), bucket=True)
        self._index.set_bucket_tags(name, tags)

    # --- reading -----------------------------------------------------------------------------------------------

    def find(self, bucket: str, key: str) -> ObjectInfo | None:
        """The object or None; NoSuchBucket when there is not even the bucket."""
        found = self._index.object(bucket, encode_key(key))
        if found is None:
            self.bucket(bucket)
        return found

    def head(self, bucket: str, key: str) -> ObjectInfo:
        """What is known of an object, else NoSuchKey or NoSuchBucket."""
        found = self.find(bucket, key)
        if found is None:
            raise errors.NoSuchKey(Key=key)
        return found

    def open_object(self, bucket: str, key: str) -> tuple[ObjectInfo, BinaryIO]:
        """An object and its bytes; they stay readable when the object is replaced or deleted meanwhile."""
        with self._index.reading():
            info = self.head(bucket, key)
            file = self._blobs.path(info.blob).open("rb")
        self._check_untouched(info, os.fstat(file.fileno()))
        return info, file

    def open(self, bucket: str, key: str) -> BinaryIO:
        """The bytes of an object as a file open for reading."""
        return self.open_object(bucket, key)[1]

    def link_into(self, bucket: str, key: str, dest: Path) -> ObjectInfo:
        """Make the object's bytes appear at `dest`: a read-only hard link where possible, else a read-only copy.

        `dest` must not exist. A process that may write to any file (root) could change the object through the link:
        give jobs their inputs through a read-only mount. Such a change is found at the next read, see `open_object`.
        """
        with self._index.reading():
            info = self.head(bucket, key)
            self._check_untouched(info, self._blobs.path(info.blob).stat())
            self._blobs.export(info.blob, dest)
        return info

    def iter_objects(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, in key order, fetched a page at a time."""
        self.bucket(bucket)
        after = ""
        while True:
            page = self._index.list_page(bucket, prefix, "", after, _PAGE)
            yield from page.objects
            if not page.truncated:
                return
            after = page.last

    def iter_keys(self, bucket: str, prefix: str = "") -> Iterator[str]:
        """The keys of `iter_objects`."""
        return (info.key for info in self.iter_objects(bucket, prefix))

    def list_page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Listing:
        """One page of a listing; see `Index.list_page`."""
        self.bucket(bucket)
        return self._index.list_page(bucket, prefix, delimiter, after, limit)

    # --- writing -----------------------------------------------------------------------------------------------

    def put_stream(
        self,
        bucket: str,
        key: str,
        chunks: Iterable[bytes],
        *,
        verify: Verify,
        algorithms: Iterable[str] = (),
        check: WriteCheck | None = None,
    ) -> ObjectInfo:
        """Store what `chunks` yields; nothing is visible until `verify` and `check` have let it pass."""
        raw = encode_key(key)
        self.bucket(bucket)
        with self._blobs.writer(algorithms) as writer:
            for chunk in chunks:
                writer.write(chunk)
            meta = verify(writer.digests, writer.size)
        info = self._info(bucket, key, writer.size, writer.digests.etag, meta, writer.blob)
        return self._commit(raw, info, check)

    def put_bytes(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        metadata: dict[str, str] | None = None,
        content_type: str | None = None,
    ) -> ObjectInfo:
        """Store bytes with user metadata."""
        meta = _meta(metadata, content_type)
        return self.put_stream(bucket, key, (data,), verify=lambda _digests, _size: meta)

    def put_file(
        self,
        bucket: str,
        key: str,
        path: Path,
        move: bool = True,
        *,
        metadata: dict[str, str] | None = None,
        content_type: str | None = None,
    ) -> ObjectInfo:
        """Store a file: with `move` it is renamed into the store (copied and removed across file systems).

        Raises ValueError for anything but a regular file (symbolic links are not followed). With `move` nothing may
        have the file open for writing.
        """
        raw, meta = encode_key(key), _meta(metadata, content_type)
        self.bucket(bucket)
        blob, size, digests = self._blobs.adopt(path, move=move)
        return self._commit(raw, self._info(bucket, key, size, digests.etag, meta, blob), None)

    def copy(
        self,
        source: ObjectInfo,
        bucket: str,
        key: str,
        meta: ObjectMeta,
        *,
        etag: str | None = None,
        check: WriteCheck | None = None,
    ) -> ObjectInfo:
        """Store another object's bytes under a new name without copying them; `etag` if it is not the source's.

        Raises OperationAborted when the source is no longer the object that `source` describes.
        """
        raw = encode_key(key)
        try:
            self._check_untouched(source, self._blobs.path(source.blob).stat())
            blob = self._blobs.link(source.blob)
        except FileNotFoundError:
            raise errors.OperationAborted(Key=source.key) from None
        return self._commit(raw, self._info(bucket, key, source.size, etag or source.etag, meta, blob), check)

    def delete(self, bucket: str, key: str, check: WriteCheck | None = None) -> bool:
        """Remove an object; False when there was none (which S3 does not call an error)."""
        raw = encode_key(key)
        with self._index.transaction():
            self.bucket(bucket)
            found = self._index.object(bucket, raw)
            if check is not None:
                check(found)
            self._index.remove_object(bucket, raw)
        if found is not None:
            self._blobs.remove(found.blob)
        return found is not None

    def set_tags(self, bucket: str, key: str, tags: dict[str, str]) -> None:
        """Replace an object's tags; its modification time stays."""
        check_tags(list(tags.items()))
        with self._index.transaction():
            info = self.head(bucket, key)
            self._index.put_object(replace(info, meta=info.meta.with_tags(tags)))

    def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        wanted: list[tuple[int, str, dict[str, str]]],
        *,
        verify: Callable[[ObjectMeta, int], ObjectMeta],
        check: WriteCheck | None = None,
    ) -> ObjectInfo:
        """Make one object of the named parts (number, ETag, checksums) and end the upload."""
        blob, size, etag, meta = self.uploads.assemble(bucket, key, upload_id, wanted)
        try:
            info = self._info(bucket, key, size, etag, verify(meta, size), blob)
            parts = self._index.parts(upload_id)
        except BaseException:
            self._blobs.remove(blob)
            raise
        info = self._commit(encode_key(key), info, check, ends_upload=upload_id)
        for part in parts:
            self._blobs.remove(part.blob)
        return info

    def _info(self, bucket: str, key: str, size: int, etag: str, meta: ObjectMeta, blob: str) -> ObjectInfo:
        stamp = self._blobs.path(blob).stat().st_mtime_ns
        return ObjectInfo(bucket, key, size, etag, int(self._clock()), meta, blob, stamp)

    def _commit(
        self, raw: bytes, info: ObjectInfo, check: WriteCheck | None, *, ends_upload: str | None = None
    ) -> ObjectInfo:
        try:
            check_user_metadata(info.meta.user)
            with self._index.transaction():
                self.bucket(info.bucket)
                replaced = self._index.object(info.bucket, raw)
                if check is not None:
                    check(replaced)
                if ends_upload is not None:
                    self.uploads.find(info.bucket, info.key, ends_upload)  # aborted or completed meanwhile?
                    self._index.remove_upload(ends_upload)
                self._index.put_object(info)
        except BaseException:
            self._blobs.remove(info.blob)
            raise
        if replaced is not None:
            self._blobs.remove(replaced.blob)
        return info

    def _check_untouched(self, info: ObjectInfo, found: os.stat_result) -> None:
        if (found.st_size, found.st_mtime_ns) != (info.size, info.stamp):
            raise errors.InternalError(
                f"The bytes of s3://{info.bucket}/{info.key} were changed outside S3, "
                "probably by a job that wrote to its input; put the object again.",
                Key=info.key,
            )


def _meta(user: dict[str, str] | None, content_type: str | None) -> ObjectMeta:
    meta = ObjectMeta(user={name.lower(): value for name, value in (user or {}).items()})
    return meta if content_type is None else replace(meta, content_type=content_type)

"""The bytes of objects: one file each, named at random and never by a key, so no key can leave the directory.

A blob is written once and never changed. It exists before the row that points to it is committed and is unlinked after
the row is gone, so a crash leaves at worst an unreferenced file, which `sweep` removes. Nothing is fsynced: a killed
process loses nothing that was answered, a power cut may lose the last seconds.
"""

from __future__ import annotations

import errno
import os
import queue
import secrets
import shutil
import stat
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from localaws.s3.checksums import Digests

_READ = 1 << 20
_LARGE = 8 << 20  # bytes from which a thread for the digests is worth its start
_AHEAD = 8  # blocks that may wait to be hashed: bounds the memory of an upload
_BLOB_MODE = 0o444  # a hard link given to a job shares these bits: it must not be able to write the object by accident


class _Hashing:
    """Digests computed on a thread of their own: hashing a large upload takes as long as receiving it."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._broken: BaseException | None = None
        self._blocks: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._thread = threading.Thread(target=self._run, name="digests", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (block := self._blocks.get()) is not None:
            if self._broken is None:  # else only empty the queue, or the writer would wait for ever
                try:
                    self._digests.update(block)
                except BaseException as error:
                    self._broken = error

    def update(self, data: bytes) -> None:
        """Take in the next bytes; waits while too many are still to be hashed."""
        self._blocks.put(data)

    def finish(self) -> None:
        """Return when all bytes have been taken in; raises what hashing raised."""
        self._blocks.put(None)
        self._thread.join()
        if self._broken is not None:
            raise self._broken


class BlobWriter:
    """A new blob under construction; as a context manager it removes the file again if the block fails."""

    def __init__(self, path: Path, blob: str, algorithms: Iterable[str]) -> None:
        self.blob = blob
        self.size = 0
        self._digests = Digests(algorithms)
        self._hashing: _Hashing | None = None
        self._path = path
        self._file = path.open("xb", buffering=0)

    @property
    def digests(self) -> Digests:
        """The digests of all bytes written so far."""
        self._catch_up()
        return self._digests

    def write(self, data: bytes) -> None:
        """Append bytes, which nobody may change any more, and take them into the digests."""
        if self._hashing is None and self.size >= _LARGE:
            self._hashing = _Hashing(self._digests)
        (self._hashing or self._digests).update(data)
        self._put(data)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]
        self.size += len(data)

    def _catch_up(self) -> None:
        if self._hashing is not None:
            self._hashing.finish()
            self._hashing = None

    def append(self, source: Path) -> None:
        """Append a file's bytes, on Linux inside the kernel; the digests do not see them."""
        with source.open("rb", buffering=0) as file:
            if sys.platform == "linux":  # elsewhere sendfile writes to sockets only
                while sent := os.sendfile(self._file.fileno(), file.fileno(), None, 1 << 30):
                    self.size += sent
            else:
                while block := file.read(_READ):
                    self._put(block)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._catch_up()
            os.fchmod(self._file.fileno(), _BLOB_MODE)
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        finally:
            self._file.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)


class Blobs:
    """The directory of blobs, spread over 256 sub-directories."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for number in range(256):
            (root / f"{number:02x}").mkdir(parents=True, exist_ok=True)

    def path(self, blob: str) -> Path:
        """Where a blob's bytes are."""
        return self._root / blob[:2] / blob[2:]

    def writer(self, algorithms: Iterable[str] = ()) -> BlobWriter:
        """Start a new blob; its digests cover MD5 and `algorithms`."""
        blob = secrets.token_hex(16)
        return BlobWriter(self.path(blob), blob, algorithms)

    def adopt(self, source: Path, *, move: bool) -> tuple[str, int, Digests]:
        """Take a file in, by rename when `move` and the file system allows; returns blob, size in bytes and digests.

        Raises ValueError for all but a regular file: following a job's symbolic link would store a file of the host.
        """
        with _open_regular(source) as file:
            shared = os.fstat(file.fileno()).st_nlink > 1  # another name could still change the bytes
            if not move or shared:
                return self._copy_in(file, source if move else None)
            blob = secrets.token_hex(16)
            target = self.path(blob)
            try:
                source.rename(target)
            except OSError:  # another file system
                return self._copy_in(file, source)
            target.chmod(_BLOB_MODE)
            digests, size = Digests(), 0
            while data := file.read(_READ):
                digests.update(data)
                size += len(data)
            return blob, size, digests

    def _copy_in(self, file: BinaryIO, remove: Path | None) -> tuple[str, int, Digests]:
        with self.writer() as writer:
            while data := file.read(_READ):
                writer.write(data)
        if remove is not None:
            remove.unlink()
        return writer.blob, writer.size, writer.digests

    def link(self, blob: str) -> str:
        """A second blob with the same bytes, as a hard link (blobs never change)."""
        twin = secrets.token_hex(16)
        os.link(self.path(blob), self.path(twin))
        return twin

    def concatenate(self, blobs: Iterable[str]) -> str:
        """A new blob of several in a row."""
        with self.writer() as writer:
            for blob in blobs:
                writer.append(self.path(blob))
        return writer.blob

    def export(self, blob: str, dest: Path) -> None:
        """Make the bytes appear at `dest` (parents are made): a read-only hard link, else a read-only copy."""
        dest.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.path(blob), dest)
        except FileExistsError:
            raise
        except OSError:  # another file system, or too many links
            shutil.copyfile(self.path(blob), dest)
            dest.chmod(_BLOB_MODE)

    def remove(self, blob: str) -> None:
        """Forget a blob; readers that have it open keep their bytes."""
        self.path(blob).unlink(missing_ok=True)

    def sweep(self, referenced: set[str]) -> int:
        """Remove every blob that no row points to; returns how many. Only for a store nobody else has open."""
        removed = 0
        for directory in self._root.iterdir():
            for file in directory.iterdir():
                if directory.name + file.name not in referenced:
                    file.unlink()
                    removed += 1
        return removed


def _open_regular(source: Path) -> BinaryIO:
    # NOFOLLOW and the check of the open descriptor, so that nothing can be swapped in between; NONBLOCK for a FIFO.
    try:
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ValueError(f"{source} cannot be stored: it is a symbolic link.") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ValueError(f"{source} cannot be stored: it is not a regular file.")
    return os.fdopen(fd, "rb")

"""Pipe mode: one FIFO per epoch of a channel, fed with its objects as long as the program reads."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from include.localaws.coverage import Behaviour
from include.localaws.jobs.channels import DATA, Channel, Item
from include.localaws.jobs.cluster import Cluster, Host
from include.localaws.jobs.outcome import JobError
from include.localaws.jobs.s3data import Entry
from include.localaws.s3 import S3Error

if TYPE_CHECKING:
    from include.localaws.s3.store import S3Store

MAGIC = 0xCED7230A  # RecordIO: magic number, length, data, padding to 4 bytes
LONGEST = (1 << 29) - 1  # bytes of one record: its length has 29 bits
CHUNK = 1 << 20
SPOOLED = 32 << 20  # bytes of an unpacked record that are kept in memory
DRAIN_PAUSE = 0.02  # seconds

BEHAVIOURS = (
    Behaviour(
        "Pipe: FIFO /opt/ml/input/data/<channel>_<epoch>, epochs from 0; one that is closed early is over",
        "documented",
        "developer guide, How Amazon SageMaker provides training information, Training data",
    ),
    Behaviour("the FIFO of the next epoch is there before the present one has ended", "assumed"),
    Behaviour("RecordWrapperType RecordIO wraps each object (or attribute) into one record", "documented", "Channel"),
    Behaviour("CompressionType Gzip: objects are sent unpacked", "assumed"),
)


class Readable(Protocol):
    """What can be read a piece at a time."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, none at the end."""


def record_header(length: int) -> bytes:
    """What stands before the data of a whole record; ValueError for one that is too long."""
    if length > LONGEST:
        raise ValueError(f"a RecordIO record holds at most {LONGEST} bytes, this one has {length}")
    return struct.pack("<II", MAGIC, length)


def padding(length: int) -> bytes:
    """What stands behind the data, so that the next record begins at a multiple of 4."""
    return bytes(-length % 4)


class Feeder:
    """Feeds one channel of one host on a thread of its own, from `start` to `stop`; trouble goes to `on_error`."""

    def __init__(
        self,
        s3: S3Store,
        channel: Channel,
        items: Sequence[Item],
        place: tuple[Cluster, Host, Path],
        on_error: Callable[[JobError], None],
    ) -> None:
        self._s3 = s3
        self._channel = channel
        self._items = items
        self._cluster, self._host, root = place
        self._folder = root / DATA
        self._on_error = on_error
        self._stopped = threading.Event()
        self._epoch = 0
        self._thread = threading.Thread(target=self._feed, name=f"pipe {channel.name}", daemon=True)

    def fifo(self, epoch: int) -> Path:
        """Where the host finds an epoch."""
        return self._folder / f"{self._channel.name}_{epoch}"

    def start(self) -> None:
        """Make the first FIFO and begin; it is there when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        os.mkfifo(self.fifo(0))
        self._thread.start()

    def stop(self) -> None:
        """End the thread, wherever it waits."""
        self._stopped.set()
        while self._thread.is_alive():
            # It waits for a reader, or for a reader that does not read: be one.
            with suppress(OSError):
                reader = os.open(self.fifo(self._epoch), os.O_RDONLY | os.O_NONBLOCK)
                try:
                    while self._thread.is_alive():
                        with suppress(BlockingIOError):
                            os.read(reader, CHUNK)
                        self._thread.join(DRAIN_PAUSE)
                finally:
                    os.close(reader)
            self._thread.join(DRAIN_PAUSE)

    def _feed(self) -> None:
        try:
            while not self._stopped.is_set():
                os.mkfifo(self.fifo(self._epoch + 1))
                with suppress(BrokenPipeError), self.fifo(self._epoch).open("wb", buffering=0) as pipe:
                    self._send_epoch(pipe)
                self._epoch += 1
        except JobError as error:
            self._on_error(error)
        except (S3Error, OSError, EOFError, zlib.error, ValueError) as error:
            if not self._stopped.is_set():
                self._on_error(JobError("ClientError", f"Channel '{self._channel.name}' cannot be streamed: {error}"))

    def _send_epoch(self, pipe: IO[bytes]) -> None:
        for item in self._channel.share(self._items, self._cluster, self._host, self._epoch):
            for part in item.parts:
                if self._stopped.is_set():
                    return
                self._send(pipe, part)

    def _send(self, pipe: IO[bytes], part: Entry | bytes) -> None:
        if isinstance(part, bytes):
            self._wrapped(len(part), pipe, lambda: _write(pipe, part))
            return
        info, source = self._s3.open_object(part.bucket, part.key)
        with source:
            if not self._channel.gzip:
                self._wrapped(info.size, pipe, lambda: self._copy(source, pipe))
            elif not self._channel.record_io:
                self._copy(gzip.GzipFile(fileobj=source), pipe)
            else:  # the record's length is known when it is unpacked
                with tempfile.SpooledTemporaryFile(SPOOLED) as plain:
                    shutil.copyfileobj(gzip.GzipFile(fileobj=source), plain, CHUNK)
                    size = plain.tell()
                    plain.seek(0)
                    self._wrapped(size, pipe, lambda: self._copy(plain, pipe))

    def _wrapped(self, size: int, pipe: IO[bytes], send: Callable[[], None]) -> None:
        if self._channel.record_io:
            _write(pipe, record_header(size))
        send()
        if self._channel.record_io:
            _write(pipe, padding(size))

    def _copy(self, source: Readable, pipe: IO[bytes]) -> None:
        while not self._stopped.is_set() and (chunk := source.read(CHUNK)):
            _write(pipe, chunk)


def _write(pipe: IO[bytes], data: bytes) -> None:
    """All of it: an unbuffered file may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[pipe.write(view) :]

"""Pipe mode: one FIFO per epoch of a channel, fed with its objects as long as the program reads.

The program may write to the directory of its FIFOs, the endpoint opens them outside of the program's sandbox: a name
is only ever looked up in that directory itself, a link is not followed, and what is opened has to be a FIFO.
"""

from __future__ import annotations

import errno
import gzip
import logging
import os
import select
import shutil
import stat
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from localaws.coverage import Behaviour
from localaws.jobs.channels import DATA, Channel, ManifestItem
from localaws.jobs.cluster import Cluster, Host
from localaws.jobs.outcome import JobError
from localaws.jobs.s3data import Entry
from localaws.s3 import S3Error

if TYPE_CHECKING:
    from localaws.s3.store import S3Store

log = logging.getLogger("localaws.jobs")

MAGIC = 0xCED7230A  # RecordIO: magic number, length, data, padding to 4 bytes
LONGEST = (1 << 29) - 1  # bytes of one record: its length has 29 bits
CHUNK = 1 << 20
SPOOLED = 32 << 20  # bytes of an unpacked record that are kept in memory
PAUSE = 0.02  # seconds between two looks whether there is a reader, and at most until a stop is noticed
STOP_TIME = 5.0  # seconds that a feeder has to end
GONE = (errno.ENOENT, errno.ELOOP, errno.EISDIR)  # what opening says when the program has put the FIFO away

BEHAVIOURS = (
    Behaviour(
        "Pipe: FIFO /opt/ml/input/data/<channel>_<epoch>, epochs from 0; one that is closed early is over",
        "documented",
        "developer guide, How Amazon SageMaker provides training information, Training data",
    ),
    Behaviour("a program that removes or replaces a FIFO gets no more of the channel", "assumed"),
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


class _Gone(Exception):
    """There is no FIFO any more where one was made."""


class _Pipe:
    """The writing end of a FIFO; `write` gives up when a stop is asked for."""

    def __init__(self, descriptor: int, stopped: threading.Event) -> None:
        self._descriptor = descriptor
        self._stopped = stopped
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, data: bytes) -> None:
        """All of it; raises BrokenPipeError when the reader has closed it."""
        view = memoryview(data)
        while view and not self._stopped.is_set():
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                self._poll.poll(PAUSE * 1000)

    def __enter__(self) -> _Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class Feeder:
    """Feeds one channel of one host on a thread of its own, from `start` to `stop`; trouble goes to `on_error`."""

    def __init__(
        self,
        s3: S3Store,
        channel: Channel,
        items: Sequence[ManifestItem],
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
        self._directory = -1
        self._epoch = 0
        self._thread = threading.Thread(target=self._feed, name=f"pipe {channel.name}", daemon=True)

    def start(self) -> None:
        """Make the first FIFO and begin; it is there when this returns. To be called before the program runs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._directory = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._make(0)
            self._thread.start()
        except BaseException:
            os.close(self._directory)
            raise

    def stop(self) -> None:
        """End the thread, wherever it waits."""
        self._stopped.set()
        self._thread.join(STOP_TIME)

    def _name(self, epoch: int) -> str:
        return f"{self._channel.name}_{epoch}"

    def _make(self, epoch: int) -> None:
        if os.mkfifo in os.supports_dir_fd:
            os.mkfifo(self._name(epoch), dir_fd=self._directory)
        else:  # macOS before 13, where no sandbox keeps a job from the endpoint's files either
            os.mkfifo(self._folder / self._name(epoch))

    def _open(self) -> _Pipe | None:
        """The FIFO of this epoch, once somebody reads from it; None for a stop. Raises _Gone."""
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        while not self._stopped.is_set():
            try:
                descriptor = os.open(self._name(self._epoch), flags, dir_fd=self._directory)
            except OSError as error:
                if error.errno in GONE:
                    raise _Gone from None
                if error.errno != errno.ENXIO:  # which says that there is no reader
                    raise
                self._stopped.wait(PAUSE)
                continue
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                return _Pipe(descriptor, self._stopped)
            os.close(descriptor)
            raise _Gone
        return None

    def _feed(self) -> None:
        try:
            while not self._stopped.is_set():
                with suppress(FileNotFoundError):  # the directory was removed: the open says so
                    self._make(self._epoch + 1)
                pipe = self._open()
                if pipe is not None:
                    with suppress(BrokenPipeError), pipe:
                        self._send_epoch(pipe)
                self._epoch += 1
        except _Gone:
            log.info("channel %s: its FIFO of epoch %d is gone, nothing more is sent", self._channel.name, self._epoch)
        except JobError as error:
            self._on_error(error)
        except (S3Error, OSError, EOFError, zlib.error, ValueError) as error:
            if not self._stopped.is_set():
                self._on_error(JobError("ClientError", f"Channel '{self._channel.name}' cannot be streamed: {error}"))
        finally:
            os.close(self._directory)

    def _send_epoch(self, pipe: _Pipe) -> None:
        for item in self._channel.share(self._items, self._cluster, self._host, self._epoch):
            for part in item.parts:
                if self._stopped.is_set():
                    return
                self._send(pipe, part)

    def _send(self, pipe: _Pipe, part: Entry | bytes) -> None:
        if isinstance(part, bytes):
            self._wrapped(len(part), pipe, lambda: pipe.write(part))
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

    def _wrapped(self, size: int, pipe: _Pipe, send: Callable[[], None]) -> None:
        if self._channel.record_io:
            pipe.write(record_header(size))
        send()
        if self._channel.record_io:
            pipe.write(padding(size))

    def _copy(self, source: Readable, pipe: _Pipe) -> None:
        while not self._stopped.is_set() and (chunk := source.read(CHUNK)):
            pipe.write(chunk)

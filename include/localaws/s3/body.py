"""The body of a request: bounded, streamed, and with `aws-chunked` framing taken off.

`aws-chunked` (S3 API Reference, "Signature calculations: transferring payload in multiple chunks") sends the object's
bytes in chunks `<hex size>[;chunk-signature=...]`, CRLF, bytes, CRLF, ended by a chunk of size 0, trailers such as
`x-amz-checksum-crc32:...` and a blank line. Chunk signatures are not verified: the endpoint trusts who knows the key.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from include.localaws.s3 import errors

BLOCK = 1 << 20
_MAX_LINE = 8192


class _Bounded(io.RawIOBase):
    """At most `remaining` bytes of a stream (None: to its end): a WSGI server need not mark the end of the body."""

    def __init__(self, stream: BinaryIO, remaining: int | None) -> None:
        self._stream = stream
        self._remaining = remaining

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        size = len(buffer) if self._remaining is None else min(len(buffer), self._remaining)
        data = self._stream.read(size) if size else b""
        buffer[: len(data)] = data
        if self._remaining is not None:
            self._remaining -= len(data)
        return len(data)


class Body:
    """Iterate it once for the bytes of the object; `trailers` is filled when the iteration is over.

    `length` is the Content-Length in bytes (None: transfer-encoding chunked); `decoded` the length of the object's
    bytes where the client told it. Too few bytes raise IncompleteBody.
    """

    def __init__(self, stream: BinaryIO, length: int | None, *, framed: bool, decoded: int | None) -> None:
        self._raw = io.BufferedReader(_Bounded(stream, length), 1 << 16)
        self._framed = framed
        self.expected = decoded if framed else length
        self.trailers: dict[str, str] = {}

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        for block in self._frames() if self._framed else iter(lambda: self._raw.read(BLOCK), b""):
            received += len(block)
            yield block
        if self.expected is not None and received != self.expected:
            raise errors.IncompleteBody()

    def _frames(self) -> Iterator[bytes]:
        while True:
            size = self._chunk_size()
            if size == 0:
                break
            while size:
                block = self._raw.read(min(size, BLOCK))
                if not block:
                    raise errors.IncompleteBody()
                size -= len(block)
                yield block
            if self._line() != b"":
                raise errors.IncompleteBody("A chunk is longer than its header says.")
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            self.trailers[name.strip().lower()] = value.strip()

    def _chunk_size(self) -> int:
        header = self._line()
        try:
            return int(header.split(b";", 1)[0], 16)
        except ValueError:
            raise errors.IncompleteBody(f"A chunk header was expected but {header[:40]!r} was found.") from None

    def _line(self) -> bytes:
        return self._raw.readline(_MAX_LINE).rstrip(b"\r\n")

    def read_all(self, limit: int) -> bytes:
        """The whole body when it is a document; MalformedXML beyond `limit` bytes."""
        data = bytearray()
        for block in self:
            data += block
            if len(data) > limit:
                raise errors.MalformedXML()
        return bytes(data)

    def drain(self) -> None:
        """Read what is left, so that the connection can carry the next request."""
        while self._raw.read(BLOCK):
            pass

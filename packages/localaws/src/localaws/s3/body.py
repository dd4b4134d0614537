"""The body of a request: bounded, streamed, and with `aws-chunked` framing taken off.

`aws-chunked` (S3 API Reference, "Signature calculations: transferring payload in multiple chunks") sends the object's
bytes in chunks `<hex size>[;chunk-signature=...]`, CRLF, bytes, CRLF, ended by a chunk of size 0, trailers such as
`x-amz-checksum-crc32:...` and a blank line. Signatures are verified where a `chunks.ChunkSigner` is given.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

from localaws.s3 import errors
from localaws.s3.chunks import ChunkSigner

BLOCK = 1 << 20
_MAX_LINE = 8192
_MOST_TRAILERS = 32
_TRAILER_SIGNATURE = "x-amz-trailer-signature"
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{1,16}")


class _Bounded(io.RawIOBase):
    """At most `remaining` bytes of a stream (None: to its end): a WSGI server need not mark the end of the body."""

    def __init__(self, stream: BinaryIO, remaining: int | None) -> None:
        self._stream = stream
        self._remaining = remaining

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, as the stream has made them: they are not copied once more."""
        if self._remaining is not None:
            size = self._remaining if size < 0 else min(size, self._remaining)
        data = self._stream.read(size) if size else b""
        if self._remaining is not None:
            self._remaining -= len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Body:
    """Iterate it once for the bytes of the object; `trailers` is filled when the iteration is over.

    `length` is the Content-Length in bytes (None: transfer-encoding chunked); `decoded` the length of the object's
    bytes where the client told it. Too few bytes raise IncompleteBody.
    """

    def __init__(
        self,
        stream: BinaryIO,
        length: int | None,
        *,
        framed: bool,
        decoded: int | None,
        signer: ChunkSigner | None = None,
    ) -> None:
        self._signer = signer
        bounded = _Bounded(stream, length)
        self._raw = io.BufferedReader(bounded, 1 << 16) if framed else bounded  # frames have lines
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
            size, signature = self._chunk_header()
            digest = None if self._signer is None else hashlib.sha256()
            left = size
            while left:
                block = self._raw.read(min(left, BLOCK))
                if not block:
                    raise errors.IncompleteBody()
                left -= len(block)
                if digest is not None:
                    digest.update(block)
                yield block
            if self._signer is not None and digest is not None:
                _compare(self._signer.chunk(digest.hexdigest()), signature)
            if size == 0:
                break
            if self._line() != b"":
                raise errors.IncompleteBody("A chunk is longer than its header says.")
        self._read_trailers()

    def _read_trailers(self) -> None:
        signed = b""
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            self.trailers[name.strip().lower()] = value.strip()
            if name.strip().lower() != _TRAILER_SIGNATURE:
                signed += line.strip() + b"\n"
            if len(self.trailers) > _MOST_TRAILERS:
                raise errors.MalformedTrailer()
        if self._signer is not None and signed:
            _compare(self._signer.trailer(signed), self.trailers.get(_TRAILER_SIGNATURE, ""))

    def _chunk_header(self) -> tuple[int, str]:
        """Size in bytes and signature ("" without one) of the next chunk."""
        header = self._line()
        size, _, extension = header.partition(b";")
        if not _HEXADECIMAL.fullmatch(size):
            raise errors.IncompleteBody(f"A chunk header was expected but {header[:40]!r} was found.")
        name, _, signature = extension.partition(b"=")
        return int(size, 16), signature.decode("latin-1") if name.strip() == b"chunk-signature" else ""

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


def _compare(expected: str, found: str) -> None:
    if not hmac.compare_digest(expected.encode(), found.encode("utf-8", "replace")):
        raise errors.SignatureDoesNotMatch()

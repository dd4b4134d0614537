"""cheroot's server, set up for this endpoint: uploads without detours, a bound for headers, its messages in our log."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

from cheroot import wsgi
from cheroot.makefile import StreamReader, StreamWriter
from cheroot.server import HTTPConnection

log = logging.getLogger("localaws")

BLOCK = 1 << 20  # bytes read at once
MOST_LINE = 4096  # bytes of the line before a chunk, or of a trailer
MOST_TRAILERS = 64
HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{1,16}")
LARGE = 1 << 16  # bytes: what is at least this long is received in one piece
ENOUGH = 1 << 19  # bytes of those that we are woken for at once, not for every 16 KiB that a client sends
MOST_HEADER_BYTES = 256 * 1024
IDLE_SECONDS = 120  # that an idle connection is kept
# Of a body that the application has not read, for instance that of a refused request: most clients read an answer only
# when they have sent their body. What is longer, or comes later, ends with the connection.
MOST_PASSED_OVER = 64 << 20  # bytes
PASS_OVER_SECONDS = 2.0


class _Raw(socket.SocketIO):
    """The bytes of a connection, which may have to be there until a point in time."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, "rb")
        self._socket = sock
        self._until: float | None = None

    def hurry(self, seconds: float | None) -> None:
        """Reading lasts no longer than so many seconds from now, taken together; None: no such limit any more."""
        self._until = None if seconds is None else time.monotonic() + seconds

    def readinto(self, buffer: Any) -> int | None:
        """See RawIOBase; TimeoutError."""
        if self._until is None:
            return super().readinto(buffer)
        with self._in_time():
            return super().readinto(buffer)

    def receive(self, size: int) -> list[bytes]:
        """So many bytes in pieces, fewer only at the end of the stream; TimeoutError."""
        pieces, left = [], size
        try:
            while left:
                self._wake_for(min(ENOUGH, left))
                with self._in_time():
                    piece = self._socket.recv(left)
                if not piece:
                    break
                pieces.append(piece)
                left -= len(piece)
        finally:
            self._wake_for(1)
        return pieces

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        if self._until is None:
            yield
            return
        usual = self._socket.gettimeout()
        self._socket.settimeout(max(0.001, self._until - time.monotonic()))
        try:
            yield
        finally:
            self._socket.settimeout(usual)

    def _wake_for(self, count: int) -> None:
        with contextlib.suppress(OSError):  # not every system has it, and a connection may be gone
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


class _Reader(StreamReader):
    """cheroot's reader, which joins a large read from many small ones, in Python: half of the time of an upload."""

    # Of Python's own _pyio.BufferedReader, which cheroot derives from: what has been received and not been read.
    _read_lock: Any
    _read_buf: bytes
    _read_pos: int
    raw: Any

    def __init__(self, sock: socket.socket, bufsize: int) -> None:
        super(StreamReader, self).__init__(_Raw(sock), bufsize)  # all that cheroot's does, with another class
        self.bytes_read = 0

    def read(self, size: int | None = -1) -> bytes:
        """Exactly `size` bytes, fewer only at the end of the stream."""
        if size is None or size < LARGE:
            return super().read(size)  # type: ignore[no-any-return,no-untyped-call]
        with self._read_lock:
            ready = self._read_buf[self._read_pos : self._read_pos + size]
            self._read_pos += len(ready)
            pieces = self.raw.receive(size - len(ready))
        data = b"".join([ready, *pieces] if ready else pieces)  # of a single one it makes no copy
        self.bytes_read += len(data)
        return data


class _Chunks:
    """The body of a request in HTTP's chunked coding; cheroot's own holds a whole chunk in memory, however long."""

    def __init__(self, stream: _Reader) -> None:
        self._stream = stream
        self._left = 0  # bytes of the present chunk
        self._ended = False

    def read(self, size: int | None = None) -> bytes:
        """At most `size` bytes, fewer only at the end; OSError when the connection ends within the body."""
        blocks: list[bytes] = []
        wanted = -1 if size is None else size
        while wanted and self._more():
            block = self._stream.read(min(self._left, BLOCK, wanted) if wanted > 0 else min(self._left, BLOCK))
            if not block:
                raise OSError("the connection ended within the body of a request")
            blocks.append(block)
            self._left -= len(block)
            wanted -= len(block) if wanted > 0 else 0
            if not self._left:
                self._line()
        return b"".join(blocks)

    def _more(self) -> bool:
        if self._left or self._ended:
            return bool(self._left)
        text = self._line().split(b";", 1)[0].strip()
        if not HEXADECIMAL.fullmatch(text):
            raise OSError(f"the size of a chunk was expected, {text[:40]!r} was found")
        self._left = int(text, 16)
        if not self._left:
            self._ended = True
            lines = 0
            while self._line().strip():  # trailers, which nobody here asks for
                lines += 1
                if lines > MOST_TRAILERS:
                    raise OSError("there are too many trailers behind the body of a request")
        return bool(self._left)

    def _line(self) -> bytes:
        line: bytes = self._stream.readline(MOST_LINE)
        if not line.endswith(b"\n"):
            raise OSError("the connection ended within the body of a request, or a line of it is too long")
        return line

    def readline(self, size: int | None = None) -> bytes:
        """One line of at most `size` bytes, byte by byte: hardly anybody asks for lines."""
        line = bytearray()
        while (size is None or size < 0 or len(line) < size) and not line.endswith(b"\n") and (byte := self.read(1)):
            line += byte
        return bytes(line)

    def close(self) -> None:
        """The connection stays."""


class _Gateway(wsgi.Gateway_10):
    """Hands a request to the application."""

    def __init__(self, req: Any) -> None:
        if req.chunked_read:
            req.rfile = _Chunks(req.conn.rfile)
        super().__init__(req)

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Take the head of the answer, once what is left of the request's body is out of the way.

        cheroot would read it in one piece, so that a refused upload of any length would be held in memory.
        """
        if not self._pass_over():
            self.req.close_connection = True
        return super().start_response(status, headers, exc_info)

    def _pass_over(self) -> bool:
        """Read what is left of the body; False when it is too long, too slow or broken."""
        body, raw = self.req.rfile, self.req.conn.rfile.raw
        left = MOST_PASSED_OVER
        if getattr(body, "remaining", 0) > left:  # known from the start
            return False
        raw.hurry(PASS_OVER_SECONDS)
        try:
            while left > 0 and (block := body.read(BLOCK)):
                left -= len(block)
        except OSError:
            return False
        finally:
            raw.hurry(None)
        return left > 0 and getattr(body, "remaining", 0) == 0


def _file(sock: socket.socket, mode: str = "r", bufsize: int = io.DEFAULT_BUFFER_SIZE) -> Any:
    return _Reader(sock, bufsize) if "r" in mode else StreamWriter(sock, mode, bufsize)


class _Connection(HTTPConnection):
    def __init__(self, server: Any, sock: Any, makefile: Any = _file) -> None:
        super().__init__(server, sock, _file)


class HttpServer(wsgi.Server):
    """The one HTTP server; `threads` requests are answered at once."""

    ConnectionClass = _Connection

    def __init__(self, address: tuple[str, int], app: Any, threads: int) -> None:
        # cheroot lets 5 connections wait to be accepted: of a burst of clients some were reset (seen).
        super().__init__(address, app, numthreads=threads, request_queue_size=1024)
        self.gateway = _Gateway
        self.keep_alive_conn_limit = 10 * threads  # cheroot's default of 10 closes waiting clients
        self.timeout = IDLE_SECONDS
        self.max_request_header_size = MOST_HEADER_BYTES  # else anybody could fill the memory before they are refused

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """cheroot's own messages go to the endpoint's log."""
        log.log(level or logging.INFO, "%s", msg, exc_info=traceback)

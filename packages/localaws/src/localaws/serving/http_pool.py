"""Keep-alive connections to one model server, over loopback TCP or a Unix socket, for requests from many threads."""

from __future__ import annotations

import http.client
import os
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from localaws.engine.spec import LOOPBACK

Body = bytes | BinaryIO


@dataclass(frozen=True)
class UnixTarget:
    """A Unix socket, and the process that must be the one that listens there, or an ancestor of it."""

    path: Path
    owner: Callable[[], int | None]


class NoAnswer(Exception):
    """The server could not be reached or hung up before it answered.

    `sent` is False when nothing of the request can have reached a program, so that another may safely have it.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class AnswerTimeout(Exception):
    """The server did not answer in time."""


class AnswerTooLarge(Exception):
    """The answer has more bytes than the caller takes."""


@dataclass(frozen=True)
class Answer:
    """What the server said; header names are lower case. `origin` is the container that said it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    origin: str = "primary"

    def header(self, name: str) -> str | None:
        """A header by its name in any case, or None."""
        return self.headers.get(name.lower())


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket; the path may be longer than the 107 bytes that an address holds.

    The directory belongs to a program that is not trusted: it could put a link to any socket of this machine there.
    """

    def __init__(self, target: UnixTarget, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._target = target

    def connect(self) -> None:
        path = self._target.path
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
        peer = struct.unpack("3i", self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        if not descends(peer[0], self._target.owner()):
            self.close()
            raise ConnectionRefusedError(f"{path} is not a socket of the program that it belongs to")


def descends(pid: int, ancestor: int | None) -> bool:
    """Whether a process is another one, or a child of it at whatever distance."""
    while pid > 1 and pid != ancestor:
        try:
            # The command name may hold blanks and brackets; the fields after the last one are safe to split.
            pid = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            return False
    return pid == ancestor


class Pool:
    """Connections to a loopback port or a Unix socket that are used again; thread safe."""

    def __init__(self, target: int | UnixTarget) -> None:
        self.target = target
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._lock = threading.Lock()
        self._closed = False

    def request(
        self,
        method: str,
        path: str,
        body: Body = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float,
        max_bytes: int | None = None,
    ) -> Answer:
        """One exchange; `timeout` in seconds bounds every wait for the server's next bytes.

        A kept connection that the server has closed is found before anything is sent. One that it closes in that
        very moment is replaced and the request sent again, once: RFC 9112 section 9.3.1 expects clients to.
        """
        sent_before = False
        while True:
            connection, kept = self._take(timeout)
            try:
                if not kept:
                    self._connect(connection, sent_before)
                answer = _exchange(connection, method, path, body, dict(headers or {}), max_bytes)
            except TimeoutError as error:
                connection.close()
                raise AnswerTimeout(f"no answer within {timeout:g} s") from error
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                if kept and isinstance(error, ConnectionError) and not sent_before:
                    self._drop_idle()
                    sent_before = True
                    continue
                raise NoAnswer(str(error) or type(error).__name__) from error
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
            return answer

    @staticmethod
    def _connect(connection: http.client.HTTPConnection, sent_before: bool) -> None:
        try:
            connection.connect()
        except OSError as error:
            raise NoAnswer(str(error) or type(error).__name__, sent=sent_before) from error

    def close(self) -> None:
        """Close the idle connections; those in use are closed when their request is over."""
        with self._lock:
            self._closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _take(self, timeout: float) -> tuple[http.client.HTTPConnection, bool]:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._open(timeout), False
            # Readable while nothing was asked: the server has closed it, or says something that we cannot use.
            if not _readable(connection.sock):
                connection.sock.settimeout(timeout)
                return connection, True
            connection.close()

    def _open(self, timeout: float) -> http.client.HTTPConnection:
        if isinstance(self.target, UnixTarget):
            return _UnixConnection(self.target, timeout)
        return http.client.HTTPConnection(LOOPBACK, self.target, timeout=timeout)

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        if connection.sock is None:  # the server asked for the connection to be closed
            return
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()  # select() fails above 1024 open files
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Body,
    headers: dict[str, str],
    max_bytes: int | None,
) -> Answer:
    chunked = headers.get("Transfer-Encoding") == "chunked"  # a body of any size, e.g. one that is unpacked on the way
    if not isinstance(body, bytes):
        if not chunked:
            headers["Content-Length"] = str(body.seek(0, os.SEEK_END))
        body.seek(0)
    connection.request(method, path, body or None, headers, encode_chunked=chunked)
    response = connection.getresponse()
    content = response.read() if max_bytes is None else response.read(max_bytes + 1)
    if max_bytes is not None and len(content) > max_bytes:
        raise AnswerTooLarge(f"the answer has more than {max_bytes} bytes")
    if not response.isclosed():
        response.read()  # the end of a chunked answer: without it the connection cannot be used again
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, content)

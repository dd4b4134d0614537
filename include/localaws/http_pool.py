"""Keep-alive connections to one server on the loopback interface, for requests from many threads at once."""

from __future__ import annotations

import http.client
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


class NoAnswer(Exception):
    """The server could not be reached or hung up before it answered."""


class AnswerTimeout(Exception):
    """The server did not answer in time."""


class AnswerTooLarge(Exception):
    """The answer has more bytes than the caller takes."""


@dataclass(frozen=True)
class Answer:
    """What the server said; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """A header by its name in any case, or None."""
        return self.headers.get(name.lower())


class Pool:
    """Connections to `port` that are used again; thread safe."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float,
        max_bytes: int | None = None,
    ) -> Answer:
        """One exchange; `timeout` in seconds bounds every wait for the server's next bytes.

        A kept connection that the server has closed in the meantime is replaced and the request sent again,
        which is safe as the server then has not begun to answer.
        """
        while True:
            connection, kept = self._take(timeout)
            try:
                answer = _exchange(connection, method, path, body, dict(headers or {}), max_bytes)
            except TimeoutError as error:
                connection.close()
                raise AnswerTimeout(f"no answer within {timeout:g} s") from error
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                if kept and isinstance(error, ConnectionError):
                    continue
                raise NoAnswer(str(error) or type(error).__name__) from error
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
            return answer

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _take(self, timeout: float) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            return http.client.HTTPConnection(LOOPBACK, self.port, timeout=timeout), False
        connection.sock.settimeout(timeout)
        return connection, True

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        if connection.sock is None:  # the server asked for the connection to be closed
            return
        with self._lock:
            self._idle.append(connection)


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    max_bytes: int | None,
) -> Answer:
    connection.request(method, path, body or None, headers)
    response = connection.getresponse()
    content = response.read() if max_bytes is None else response.read(max_bytes + 1)
    if max_bytes is not None and len(content) > max_bytes:
        raise AnswerTooLarge(f"the answer has more than {max_bytes} bytes")
    if not response.isclosed():
        response.read()  # the end of a chunked answer: without it the connection cannot be used again
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, content)

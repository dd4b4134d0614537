"""The HTTP server itself: large reads, pipelined requests, headers without end."""

from __future__ import annotations

import hashlib
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from localaws.front import http_server
from localaws.front.http_server import LARGE, MOST_HEADER_BYTES, HttpServer

Serve = Callable[[Callable[..., Iterable[bytes]]], socket.socket]


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The length and the hash of the body, read in pieces of the size that the path names."""
    size = int(environ["PATH_INFO"][1:])
    digest, length = hashlib.sha256(), 0
    while block := environ["wsgi.input"].read(size):
        digest.update(block)
        length += len(block)
    answer = f"{length} {digest.hexdigest()}\n".encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A server that answers with `echo`."""
    server = HttpServer(("127.0.0.1", 0), echo, 2)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server.bind_addr
    server.stop()
    thread.join()


@pytest.fixture
def connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    """A connection to it."""
    with socket.create_connection(address, timeout=240) as client:
        yield client


def answer_of(reader: Any) -> tuple[bytes, bytes]:
    """Status line and last line of the next answer."""
    status = reader.readline()
    while reader.readline() not in (b"\r\n", b""):
        pass
    return status, reader.readline()


@pytest.mark.parametrize("size", [1, 100, LARGE - 1, LARGE, LARGE + 1, 1 << 20])
@pytest.mark.parametrize("slices", [1, 7])
def test_a_body_arrives_whole_however_it_is_read(connected: socket.socket, size: int, slices: int) -> None:
    """Two requests in a row: what was read too far belongs to the second one."""
    body = bytes(range(256)) * (2000 if size > 1 else 4)
    request = b"PUT /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (size, len(body)) + body
    sent = request * 2
    step = len(sent) // slices + 1
    sender = threading.Thread(
        target=lambda: [connected.sendall(sent[at : at + step]) for at in range(0, len(sent), step)]
    )
    sender.start()
    reader = connected.makefile("rb")
    for _ in range(2):
        status, line = answer_of(reader)
        assert status.startswith(b"HTTP/1.1 200")
        assert line.decode() == f"{len(body)} {hashlib.sha256(body).hexdigest()}\n"
    sender.join()


def test_a_body_that_ends_early_is_no_endless_wait(connected: socket.socket) -> None:
    connected.sendall(b"PUT /1048576 HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 100_000)
    connected.shutdown(socket.SHUT_WR)
    assert answer_of(connected.makefile("rb"))[1].startswith(b"100000 ")


def test_headers_have_an_end(connected: socket.socket) -> None:
    line = b"X-Filler: " + b"x" * 8000 + b"\r\n"
    connected.sendall(b"GET /1 HTTP/1.1\r\nHost: x\r\n")
    try:
        for _ in range(MOST_HEADER_BYTES // len(line) + 2):
            connected.sendall(line)
        status = connected.makefile("rb").readline()
    except OSError:  # the connection was closed while headers were still being sent
        status = b"HTTP/1.1 413"
    assert status.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400")) or status == b""


@pytest.mark.parametrize("size", [1, 100, LARGE + 1, 1 << 20])
@pytest.mark.parametrize("chunk", [1000, 70_000, 10**7])
def test_chunked_bodies(connected: socket.socket, size: int, chunk: int) -> None:
    body = bytes(range(256)) * (1200 if size > 1 else 4)
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)]
    coded = b"".join(b"%x;name=value\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    head = b"PUT /%d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % size
    request = head + coded + b"0\r\nX-Trailer: y\r\n\r\n"
    sender = threading.Thread(target=connected.sendall, args=(request * 2,))
    sender.start()
    reader = connected.makefile("rb")
    for _ in range(2):
        status, line = answer_of(reader)
        assert status.startswith(b"HTTP/1.1 200")
        assert line.decode() == f"{len(body)} {hashlib.sha256(body).hexdigest()}\n"
    sender.join()


@pytest.mark.parametrize(
    "coded", [b"xyz\r\n", b"-5\r\n", b"ffffffffffff\r\nshort", b"5\r\nabc", b"5\r\nabcde", b"1" * 5000, b"0\r\n"]
)
def test_a_broken_chunked_body_is_no_body(connected: socket.socket, coded: bytes) -> None:
    """Nor is the memory that a chunk claims to need asked for."""
    connected.sendall(b"PUT /1048576 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + coded)
    connected.shutdown(socket.SHUT_WR)
    status, _line = answer_of(connected.makefile("rb"))
    assert not status.startswith(b"HTTP/1.1 200")


def ignore(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A refusal that does not look at the body."""
    start_response("403 Forbidden", [("Content-Length", "3")])
    return [b"no\n"]


def test_a_body_that_nobody_reads_is_passed_over_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "PASS_OVER_SECONDS", 240.0)  # not how fast it comes is looked at, but its length

    class Watching(HttpServer):
        def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
            raise AssertionError(msg)

    server = Watching(("127.0.0.1", 0), ignore, 1)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    size = 40 << 20
    head = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    tracemalloc.start()
    with socket.create_connection(server.bind_addr, timeout=240) as client:
        reader = client.makefile("rb")
        for _ in range(2):
            client.sendall(head)
            for _ in range(size >> 20):
                client.sendall(ONE)
            assert answer_of(reader) == (b"HTTP/1.1 403 Forbidden\r\n", b"no\n")
        largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    server.stop()
    thread.join()
    assert largest < 10 << 20


ONE = b"x" * (1 << 20)


@pytest.fixture
def refusing() -> Iterator[tuple[str, int]]:
    """A server of one thread that answers with `ignore`."""
    server = HttpServer(("127.0.0.1", 0), ignore, 1)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server.bind_addr
    server.stop()
    thread.join()


@pytest.mark.parametrize("part", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"])
def test_a_refused_body_that_does_not_come_is_not_waited_for(
    refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    """The one thread is free for others soon, and a client that trickles its body keeps it no longer."""
    monkeypatch.setattr(http_server, "PASS_OVER_SECONDS", 0.05)
    with (
        socket.create_connection(refusing, timeout=240) as silent,
        socket.create_connection(refusing, timeout=240) as other,
    ):
        silent.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\n" + part)
        head = silent.makefile("rb").read()  # to its end: the connection is closed
        assert head.startswith(b"HTTP/1.1 403 ")
        assert b"Connection: close\r\n" in head
        other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(other.makefile("rb"))[1] == b"no\n"


def test_time_for_a_refused_body_is_limited_as_a_whole(
    refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that keep coming, each in time, do not lengthen it."""
    monkeypatch.setattr(http_server, "PASS_OVER_SECONDS", 0.2)
    answered = threading.Event()
    with socket.create_connection(refusing, timeout=240) as client:
        client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")

        def trickle() -> None:
            for _ in range(900):
                if answered.wait(0.02):
                    return
                client.sendall(b"x")

        sender = threading.Thread(target=trickle)
        sender.start()
        status, line = answer_of(client.makefile("rb"))
        answered.set()
        sender.join()
    assert (status, line) == (b"HTTP/1.1 403 Forbidden\r\n", b"no\n")


def test_a_refused_body_is_passed_over_up_to_a_limit(
    refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "MOST_PASSED_OVER", 1 << 20)
    with socket.create_connection(refusing, timeout=240) as client:
        client.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (1 << 40) + b"x" * 1000)
        assert b"\r\nConnection: close\r\n" in client.makefile("rb").read()

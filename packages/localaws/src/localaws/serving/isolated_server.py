"""Runs beside a model server that has no network: carries connections from a Unix socket to its loopback port.

Executed inside the sandbox by the image's own Python as `isolated_server.py SOCKET PORT PROGRAM...`; it imports nothing
of this package. The program itself keeps the process that the endpoint watches and sends signals to; the carrier is a
child that ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
import sys
import threading
from pathlib import Path

PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
CHUNK = 64 * 1024


def raise_loopback() -> None:
    """A new network namespace has its loopback interface down; bubblewrap has raised it, `unshare` has not."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH14s", b"lo", 0, b""))
        flags = struct.unpack("16sH14s", asked)[1]
        if not flags & IFF_UP:
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until one side has said all it has."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    for side, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            side.shutdown(how)


def carry(client: socket.socket, port: int) -> None:
    """One connection, both ways; when nobody listens the client is hung up on."""
    try:
        server = socket.create_connection(("127.0.0.1", port))
    except OSError:
        client.close()
        return
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    back = threading.Thread(target=pump, args=(server, client), daemon=True)
    back.start()
    pump(client, server)
    back.join()
    client.close()
    server.close()


def serve(listener: socket.socket, port: int) -> None:
    """Carry every connection, each in a thread of its own."""
    while True:
        client, _ = listener.accept()
        threading.Thread(target=carry, args=(client, port), daemon=True).start()


def main(path: str, port: int, program: list[str]) -> None:
    """Become the program, with the carrier as a child that dies with it."""
    raise_loopback()
    Path(path).unlink(missing_ok=True)  # of a run before this one
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(128)
    parent = os.getpid()
    if os.fork() == 0:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            serve(listener, port)
        os._exit(1)
    listener.close()
    os.execv(program[0], program)  # noqa: S606 - the image's own program


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])

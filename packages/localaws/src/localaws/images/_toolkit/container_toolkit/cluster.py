"""The hosts of one training job: how they reach the first of them, which leads."""

import io
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from container_toolkit.base import UserError

WAIT = 120.0
"""Seconds for all hosts to be there: they start together, but each reads its data for itself."""


def listen(address: str, port: int, others: int, serve: Callable[[socket.socket], None]) -> threading.Thread:
    """Hand the connection of each of the other hosts to `serve`, on a thread that ends after the last of them."""
    listener = socket.create_server((address, port))

    def run() -> None:
        with listener:
            listener.settimeout(WAIT)
            for _ in range(others):
                try:
                    caller = listener.accept()[0]
                except TimeoutError:
                    return
                with caller:
                    serve(caller)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def call(leader: str, port: int) -> socket.socket:
    """A connection to the leading host, as soon as it listens; UserError when it does not."""
    address, end = socket.gethostbyname(leader), time.monotonic() + WAIT
    while True:
        try:
            return socket.create_connection((address, port), timeout=WAIT)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise UserError(f"Host {leader} ({address}) has not been reached within {WAIT:g} s.") from None
            time.sleep(0.05)


_GATHER = 9098

Table = tuple[Any, Any]
"""Features and labels."""


def send(leader: str, host: str, tables: dict[str, Table]) -> None:
    """Give a host's part of each channel to the leading host."""
    import numpy as np

    arrays = {f"{side}{name}": array for name, table in tables.items() for side, array in zip("xy", table, strict=True)}
    buffer = io.BytesIO()
    np.savez(buffer, host=np.array(host), **arrays)
    with call(leader, _GATHER) as connection:
        connection.sendall(buffer.getvalue())


def receive(leader: str, others: int) -> Callable[[], dict[str, dict[str, Table]]]:
    """Begin to listen; what is returned waits for all hosts, and gives their parts by host and channel."""
    import numpy as np

    parts: dict[str, dict[str, Table]] = {}

    def serve(caller: socket.socket) -> None:
        with caller.makefile("rb") as stream:
            arrays = np.load(io.BytesIO(stream.read()), allow_pickle=False)
        names = [key[1:] for key in arrays.files if key.startswith("x")]
        parts[str(arrays["host"])] = {name: (arrays[f"x{name}"], arrays[f"y{name}"]) for name in names}

    thread = listen(socket.gethostbyname(leader), _GATHER, others, serve)

    def wait() -> dict[str, dict[str, Table]]:
        thread.join()
        if len(parts) < others:
            raise UserError(f"Of the {others} other hosts only {len(parts)} have sent their data within {WAIT:g} s.")
        return dict(sorted(parts.items()))

    return wait

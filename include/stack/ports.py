"""Which TCP ports of the loopback interface are free, and who holds those that are not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable

import psutil

from include.stack.errors import StackError

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now (connections in TIME_WAIT do not count, as for real servers)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(count: int) -> list[int]:
    """`count` different free ports; held together while they are chosen, so that none comes twice."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def require(port: int, what: str, option: str) -> int:
    """`port` if it is valid and free, else a `StackError` that says which port, who holds it and what to do."""
    if not 0 < port < 65536:
        raise StackError(f"The port {port} of {what} ({option}) is not a number from 1 to 65535.")
    if not is_free(port):
        raise StackError(
            f"The port {port} of {what} is taken{_holder(port)}: end that process or choose another port with {option}."
        )
    return port


def _holder(port: int) -> str:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            try:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.Error:
                return f" by process {connection.pid}"
    return ""


def wait_free(ports: Iterable[int], seconds: float = 10.0) -> list[int]:
    """Wait until all `ports` are free; returns those that are still taken after `seconds`."""
    deadline = time.monotonic() + seconds
    taken = [port for port in ports if not is_free(port)]
    while taken and time.monotonic() < deadline:
        time.sleep(0.05)
        taken = [port for port in taken if not is_free(port)]
    return taken

"""Which TCP ports of the loopback interface are free, and who holds those that are not."""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from tools.stack.errors import StackError

HOST = "127.0.0.1"
LOWEST = 10_000
"""Below it are the ports of well-known programs: databases, proxies, Airflow and localaws themselves."""
MANY = 1_000
"""Of fewer ports than these two who choose at once would too often take the same."""


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
    """`count` different free ports that the kernel gives to nobody by itself.

    What is chosen here is listened on seconds later. Until then a port out of the kernel's own range could be given to
    any connection or to any server that asks for port 0; one below that range only to who chooses as we do.
    """
    below = range(LOWEST, _kernels_range().start)
    if len(below) < MANY:
        return _any(count)
    drawn = random.SystemRandom().sample(below, len(below))
    found = list(itertools.islice(filter(is_free, drawn), count))
    return found if len(found) == count else _any(count)


def _kernels_range() -> range:
    """The ports from which the kernel takes one for who names none."""
    try:
        low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
    except (OSError, ValueError):  # not Linux: the range that IANA sets apart
        return range(49152, 65536)
    return range(low, high + 1)


def _any(count: int) -> list[int]:
    """Ports of the kernel's choice; held together while they are chosen, so that none comes twice."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def parse(text: str, option: str) -> int:
    """A port as the user writes it; 0 stands for a free one."""
    port = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= port < 65536:
        raise StackError(f"{option} is {text!r}: give a number from 1 to 65535, or 0 for a free port.")
    return port


def require(port: int, what: str, option: str) -> int:
    """`port` if it is free, else a `StackError` that says which port, who holds it and what to do."""
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

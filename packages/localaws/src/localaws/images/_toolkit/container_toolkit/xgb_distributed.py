"""The hosts of a distributed XGBoost training: they find each other, agree on who has data, and train one model.

Source: distributed.py of aws/sagemaker-xgboost-container: a tracker on the first host, hosts without data stay out.
XGBoost's own collective does the rest; its interface changed between 1.7 and 3.0.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from container_toolkit import cluster
from container_toolkit.base import UserError, log

_GATE = 9099


def train(xgboost: Any, hosts: list[str], current: str, ready: bool, job: Callable[[bool], None]) -> None:
    """Run `job(is_master)` on every host that is `ready`, together; the others wait for nothing and end.

    Raises UserError when no host has data or a host does not come.
    """
    with _together(xgboost, hosts, current, _GATE):
        there = [bool(xgboost.collective.broadcast(ready, rank)) for rank in range(len(hosts))]
        everybody = [str(xgboost.collective.broadcast(current, rank)) for rank in range(len(hosts))]
        if all(there):
            job(xgboost.collective.get_rank() == 0)
            return
    included = sorted(host for host, has in zip(everybody, there, strict=True) if has)
    if not included:
        raise UserError("No host has training data: every host needs a part of each channel.")
    if not ready:
        log(
            f"Host {current} does not have data and will not be used in distributed training. Please divide the data "
            "across instances properly."
        )
        return
    if len(included) == 1:
        job(True)
        return
    with _together(xgboost, included, current, _GATE + 1):
        job(xgboost.collective.get_rank() == 0)


@contextmanager
def _together(xgboost: Any, hosts: list[str], current: str, gate: int) -> Iterator[None]:
    """Join the hosts' collective; the first of them leads."""
    leader = sorted(hosts)[0]
    address = socket.gethostbyname(leader)
    wait: Callable[[], Any] | None = None
    if current == leader:
        port, wait = _tracker(xgboost, address, len(hosts))
        # Its port is told: one of its own would stay blocked for a minute after each job.
        told = f"{port}\n".encode()
        cluster.listen(address, gate, len(hosts) - 1, lambda caller: caller.sendall(told))
    else:
        with cluster.call(leader, gate) as caller, caller.makefile() as lines:
            port = int(lines.readline())
    log(f"Distributed training with {len(hosts)} hosts: {', '.join(hosts)}; tracker on {leader}")
    arguments = {"tracker_uri": address, "tracker_port": port, "task_id": f"{sorted(hosts).index(current):05d}"}
    prefix = "DMLC_" if _is_old(xgboost) else "dmlc_"
    spelled = {prefix + (name.upper() if _is_old(xgboost) else name): value for name, value in arguments.items()}
    with xgboost.collective.CommunicatorContext(**spelled):
        yield
    if wait is not None:
        wait()


def _is_old(xgboost: Any) -> bool:
    """Before 2.1 the tracker was a Python program."""
    return hasattr(xgboost.tracker, "ExSocket")


def _tracker(xgboost: Any, address: str, count: int) -> tuple[int, Callable[[], Any]]:
    """Start a tracker; its port, which is any free one, and what waits for its end."""
    if _is_old(xgboost):
        old = xgboost.tracker.RabitTracker(host_ip=address, n_workers=count, sortby="task")
        old.start(count)
        return int(old.port), old.join
    tracker = xgboost.tracker.RabitTracker(host_ip=address, n_workers=count, sortby="task", timeout=0)
    tracker.start()
    return int(tracker.worker_args()["dmlc_tracker_port"]), tracker.wait_for

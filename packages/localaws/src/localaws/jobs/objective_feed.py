"""Metric values of training jobs as they are printed, for whoever decides while the jobs still run.

Tuning jobs stop trials early on intermediate values (dev guide, "Stop Training Jobs Early"); CloudWatch would give
them too, but late and rounded to its resolution.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from weakref import WeakKeyDictionary

from localaws.context import Context
from localaws.engine.scheduler import Scheduler

Listener = Callable[[str, float], None]

_lock = threading.Lock()
# One process may hold several endpoints, whose jobs may have equal names: a scheduler belongs to one endpoint.
_listeners: WeakKeyDictionary[Scheduler, dict[str, Listener]] = WeakKeyDictionary()


def watch(ctx: Context, job: str, listener: Listener) -> None:
    """Hand every metric of a training job, `(metric name, value)`, to the listener, in the order of its log."""
    with _lock:
        _listeners.setdefault(ctx.jobs, {})[job] = listener


def unwatch(ctx: Context, job: str) -> None:
    """Forget the listener of a job; nothing happens when there is none."""
    with _lock:
        _listeners.get(ctx.jobs, {}).pop(job, None)


def publish(ctx: Context, job: str, metric: str, value: float) -> None:
    """A training job has printed a metric."""
    with _lock:
        listener = _listeners.get(ctx.jobs, {}).get(job)
    if listener is not None:
        listener(metric, value)

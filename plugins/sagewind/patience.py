"""Waiting on a worker, for ends that are rare; what waits often waits in the triggerer."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(done: Callable[[], bool], minutes: float) -> bool:
    """Ask with growing pauses until `done`; False if the minutes are over first."""
    deadline, pause = time.monotonic() + minutes * 60, 0.2
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(15.0, pause * 1.3)
    return True

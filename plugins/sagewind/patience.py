"""Waiting on a worker, for ends that are rare; what waits often waits in the triggerer."""

from __future__ import annotations

import time
from collections.abc import Callable

from sagewind import settings


def until(done: Callable[[], bool], seconds: float) -> bool:
    """Ask with growing pauses until `done`; False if the seconds are over first."""
    deadline = time.monotonic() + seconds
    pause, longest = settings.POLL_FIRST.read(), settings.POLL_LONGEST.read()
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(longest, pause * 1.3)
    return True

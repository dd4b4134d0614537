"""A rate budget that all waits of one process share: a thousand endings must not ask for a thousand logs at once."""

from __future__ import annotations

import threading
import time


class TokenBucket:
    """A token bucket: `rate` calls a second, `burst` at once. Thread safe."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._filled = time.monotonic()
        self._lock = threading.Lock()

    def take(self, calls: int = 1) -> bool:
        """Take so many calls, or none and False."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self.burst, self._tokens + (now - self._filled) * self.rate)
            self._filled = now
            if self._tokens < calls:
                return False
            self._tokens -= calls
            return True


#: Reads of job logs by one process: CloudWatch Logs allows some 10 GetLogEvents a second and account (its quotas page).
LOGS = TokenBucket(rate=4.0, burst=20)
#: Descriptions for the sake of progress lines (the best training of a tuning job so far).
PROGRESS = TokenBucket(rate=0.5, burst=3)

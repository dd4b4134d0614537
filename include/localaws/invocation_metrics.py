"""CloudWatch metrics of invocations, put by a thread of their own so that no caller waits for them."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import dataclass

from include.localaws.logs import Metrics

LOG = logging.getLogger("localaws.invocation_metrics")
NAMESPACE = "AWS/SageMaker"


@dataclass(frozen=True)
class Invocation:
    """What is measured of one invocation; times in seconds, `at` in epoch seconds."""

    endpoint: str
    variant: str
    status: int
    model_seconds: float
    overhead_seconds: float
    at: float


class InvocationMetrics:
    """Takes invocations from any thread; `close` puts what is still waiting."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: queue.Queue[Invocation | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="invocation-metrics", daemon=True)
        self._thread.start()

    def record(self, invocation: Invocation) -> None:
        """Count the invocation; returns at once."""
        self._waiting.put(invocation)

    def flush(self) -> None:
        """Wait until all that was recorded is in CloudWatch."""
        self._waiting.join()

    def close(self) -> None:
        """Put what is left and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (invocation := self._waiting.get()) is not None:
            try:
                self._put(invocation)
            except Exception:  # a metric that cannot be put must not end the counting of the others
                LOG.exception("metrics of endpoint %s could not be put", invocation.endpoint)
            finally:
                self._waiting.task_done()

    def _put(self, invocation: Invocation) -> None:
        dimensions = {"EndpointName": invocation.endpoint, "VariantName": invocation.variant}
        for name, value, unit in (
            ("Invocations", 1.0, "Count"),
            ("Invocation4XXErrors", float(400 <= invocation.status < 500), "Count"),
            ("Invocation5XXErrors", float(invocation.status >= 500), "Count"),
            ("ModelLatency", invocation.model_seconds * 1e6, "Microseconds"),
            ("OverheadLatency", invocation.overhead_seconds * 1e6, "Microseconds"),
        ):
            self._metrics.put(NAMESPACE, name, value, dimensions, unit=unit, timestamp=invocation.at)

"""CloudWatch metrics of invocations, put by a thread of their own so that no caller waits for them.

What comes within half a second is put as one set of statistics, so that a busy endpoint costs no more memory and time
than an idle one: CloudWatch shows these metrics by the minute.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from localaws.coverage import Behaviour
from localaws.logs import Metrics

LOG = logging.getLogger("localaws.invocation_metrics")
NAMESPACE = "AWS/SageMaker"
WINDOW_SECONDS = 0.5
Value = tuple[Mapping[str, str], str, float, str]


BEHAVIOURS = (
    Behaviour("`Invocations`, `InvocationsPerInstance`, `Invocation4XXErrors`, `Invocation5XXErrors`, "
              "`InvocationModelErrors` (no unit), `ModelLatency`, `OverheadLatency`, `ModelSetupTime` (microseconds)",
              "documented", "SageMaker developer guide, Amazon SageMaker AI metrics in Amazon CloudWatch"),
    Behaviour("`InvocationsPerInstance` is 1 / number of instances for each request", "documented",
              "ScalingPolicyMetric"),
    Behaviour("asynchronous endpoints: no `Invocations`, `InvocationsPerInstance` and `OverheadLatency`", "documented",
              "SageMaker developer guide, Alarms and logs for tracking metrics from asynchronous endpoints"),
    Behaviour("units and dimensions of `ApproximateBacklogSize`, `TimeInBacklog`, `TotalProcessingTime`, "
              "`InvocationsProcessed`, `InvocationFailures`, `ExpiredRequests`", "assumed"),
    Behaviour("CPU, memory and disk utilisation of endpoints are not measured and not published", "assumed"),
)  # fmt: skip


@dataclass(frozen=True)
class Invocation:
    """What is measured of one invocation; times in seconds, `at` in epoch seconds.

    `status` is the container's, or what stands for none; `model_failed` says that the container gave no good answer.
    """

    endpoint: str
    variant: str
    status: int
    model_seconds: float
    overhead_seconds: float
    at: float
    instances: int = 1
    setup_seconds: float = 0.0
    model_failed: bool = False

    def values(self) -> Iterator[Value]:
        """Dimensions, metric name, value and unit."""
        variant = {"EndpointName": self.endpoint, "VariantName": self.variant}
        yield variant, "Invocations", 1.0, "None"
        yield variant, "InvocationsPerInstance", 1.0 / max(1, self.instances), "None"
        yield variant, "Invocation4XXErrors", float(400 <= self.status < 500), "None"
        yield variant, "Invocation5XXErrors", float(self.status >= 500), "None"
        yield variant, "InvocationModelErrors", float(self.model_failed), "None"
        yield variant, "ModelLatency", self.model_seconds * 1e6, "Microseconds"
        yield variant, "OverheadLatency", self.overhead_seconds * 1e6, "Microseconds"
        if self.setup_seconds:
            yield variant, "ModelSetupTime", self.setup_seconds * 1e6, "Microseconds"


@dataclass(frozen=True)
class AsyncInvocation:
    """What is measured of one asynchronous invocation; times in seconds, `at` in epoch seconds."""

    endpoint: str
    variant: str
    status: int
    failed: bool
    model_seconds: float
    waited_seconds: float
    total_seconds: float
    backlog: int
    at: float

    def values(self) -> Iterator[Value]:
        """Dimensions, metric name, value and unit."""
        endpoint = {"EndpointName": self.endpoint}
        variant = {**endpoint, "VariantName": self.variant}
        yield variant, "Invocation4XXErrors", float(400 <= self.status < 500), "None"
        yield variant, "Invocation5XXErrors", float(self.status >= 500 or (self.failed and not self.status)), "None"
        yield variant, "ModelLatency", self.model_seconds * 1e6, "Microseconds"
        yield endpoint, "InvocationsProcessed", 1.0, "None"
        yield endpoint, "InvocationFailures", float(self.failed), "None"
        yield endpoint, "ApproximateBacklogSize", float(self.backlog), "Count"
        yield endpoint, "TimeInBacklog", self.waited_seconds * 1e3, "Milliseconds"
        yield endpoint, "TotalProcessingTime", self.total_seconds * 1e3, "Milliseconds"


@dataclass(frozen=True)
class ExpiredInvocation:
    """An asynchronous request that nobody took in time."""

    endpoint: str
    at: float

    def values(self) -> Iterator[Value]:
        """Dimensions, metric name, value and unit."""
        yield {"EndpointName": self.endpoint}, "ExpiredRequests", 1.0, "None"


Measured = Invocation | AsyncInvocation | ExpiredInvocation


class Statistics:
    """What CloudWatch is told of several values of one metric."""

    def __init__(self, name: str, unit: str, dimensions: Mapping[str, str], at: float) -> None:
        self.name, self.unit, self.dimensions, self.at = name, unit, dimensions, at
        self._values: list[float] = []

    def add(self, value: float) -> None:
        """One value more."""
        self._values.append(value)

    def document(self) -> dict[str, float]:
        """As StatisticValues."""
        values = self._values
        return {
            "SampleCount": float(len(values)),
            "Sum": sum(values),
            "Minimum": min(values),
            "Maximum": max(values),
        }


class InvocationMetrics:
    """Takes invocations from any thread; `close` puts what is still waiting."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: queue.Queue[Measured | None] = queue.Queue()
        self._now = threading.Event()  # somebody does not want to wait for the rest of the half second
        self._thread = threading.Thread(target=self._run, name="invocation-metrics", daemon=True)
        self._thread.start()

    def record(self, invocation: Measured) -> None:
        """Count the invocation; returns at once."""
        self._waiting.put(invocation)

    def flush(self) -> None:
        """Wait until all that was recorded is in CloudWatch."""
        self._now.set()
        self._waiting.join()
        self._now.clear()

    def close(self) -> None:
        """Put what is left and end the thread."""
        self._now.set()
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        ending = False
        while not ending:
            taken = [self._waiting.get()]
            self._now.wait(WINDOW_SECONDS)
            while True:
                try:
                    taken.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            ending = None in taken
            try:
                self._put([measured for measured in taken if measured is not None])
            except Exception:  # a metric that cannot be put must not end the counting of the others
                LOG.exception("metrics of %d invocations could not be put", len(taken))
            finally:
                for _ in taken:
                    self._waiting.task_done()

    def _put(self, taken: list[Measured]) -> None:
        found: dict[tuple[object, ...], Statistics] = {}
        for measured in taken:
            for dimensions, name, value, unit in measured.values():
                place = (int(measured.at // 60), name, unit, *sorted(dimensions.items()))
                if place not in found:
                    found[place] = Statistics(name, unit, dimensions, measured.at)
                found[place].add(value)
        for statistics in found.values():
            self._metrics.put_statistics(
                NAMESPACE,
                statistics.name,
                statistics.document(),
                statistics.dimensions,
                unit=statistics.unit,
                timestamp=statistics.at,
            )

"""Log lines to CloudWatch Logs and numbers to CloudWatch, which moto serves from this process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, unquote

from include.localaws.coverage import Behaviour
from include.localaws.front.foreign import Moto

BEHAVIOURS = (
    Behaviour(
        "log events older than 14 days are not taken",
        "documented",
        "CloudWatch Logs, PutLogEvents",
    ),
    Behaviour("every line of a job is one event, in its log at once", "assumed"),
)
KEPT = 14 * 24 * 3600.0  # seconds: CloudWatch Logs takes no older events
BATCH = 10_000  # events in one PutLogEvents


class LogStream:
    """One stream: what is written appears at once in GetLogEvents and is kept in a file for the next start."""

    def __init__(self, logs: Logs, group: str, name: str) -> None:
        self.group = group
        self.name = name
        self._logs = logs
        self._lock = threading.Lock()
        path = logs.file(group, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._last = 0

    def write(self, line: str) -> None:
        """Add one line, with the present time."""
        with self._lock:
            # Times must not go backwards within a stream, even when the machine's clock does.
            self._last = max(self._last, int(self._logs.clock() * 1000))
            if not self._file.closed:
                self._file.write(json.dumps([self._last, line]) + "\n")
                self._file.flush()
            # CloudWatch refuses empty messages.
            self._logs.put(self.group, self.name, [{"timestamp": self._last, "message": line or " "}])

    def close(self) -> None:
        """End the stream's file; the events stay readable."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> LogStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Logs:
    """The log groups of the endpoint; earlier lines are read back when logs are first asked for."""

    def __init__(self, moto: Moto, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._moto = moto
        self._directory = directory
        self._lock = threading.RLock()
        self._loaded = False

    def file(self, group: str, stream: str) -> Path:
        """Where a stream's lines are kept: one JSON array [epoch milliseconds, text] per line."""
        return self._directory / quote(group, safe="") / f"{quote(stream, safe='')}.jsonl"

    def open(self, group: str, stream: str) -> LogStream:
        """A stream to write to; group and stream are made when they do not exist."""
        with self._backend() as backend:
            _ensure(backend, group, stream)
        return LogStream(self, group, stream)

    def put(self, group: str, stream: str, events: list[dict[str, Any]]) -> None:
        """Add events to an open stream; one that was deleted meanwhile is made anew, as AWS's agents do."""
        with self._backend() as backend:
            _ensure(backend, group, stream)
            backend.put_log_events(group, stream, events)

    def load(self) -> None:
        """Bring back the lines of earlier runs; does it once, later calls return at once."""
        with self._backend():
            return

    @contextmanager
    def _backend(self) -> Iterator[Any]:
        with self._lock:
            backend = self._moto.backend("logs")
            if not self._loaded:
                self._loaded = True
                for file in sorted(self._directory.glob("*/*.jsonl")):
                    self._restore(backend, file)
            yield backend

    def _restore(self, backend: Any, file: Path) -> None:
        group, stream = unquote(file.parent.name), unquote(file.name.removesuffix(".jsonl"))
        oldest = (self.clock() - KEPT) * 1000
        if group in backend.groups:
            # An earlier endpoint of this process: moto's state is the process's, the file is the truth.
            backend.groups[group].streams.pop(stream, None)
        _ensure(backend, group, stream)
        events = []
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    moment, text = json.loads(line)
                except ValueError:
                    continue  # the last line of a run that was killed while it wrote
                if moment > oldest:
                    events.append({"timestamp": moment, "message": text or " "})
        for start in range(0, len(events), BATCH):
            backend.put_log_events(group, stream, events[start : start + BATCH])


def _ensure(backend: Any, group: str, stream: str) -> None:
    if group not in backend.groups:
        backend.create_log_group(group, {})
    if stream not in backend.groups[group].streams:
        backend.create_log_stream(group, stream)


class Metrics:
    """CloudWatch metrics; moto keeps them in memory only."""

    def __init__(self, moto: Moto, clock: Callable[[], float] = time.time) -> None:
        self._moto = moto
        self._clock = clock
        self._lock = threading.Lock()

    def put(
        self,
        namespace: str,
        name: str,
        value: float,
        dimensions: Mapping[str, str],
        *,
        unit: str = "None",
        timestamp: float | None = None,
    ) -> None:
        """Add one value; `timestamp` in epoch seconds, default now."""
        self._put(namespace, {"MetricName": name, "Value": value, "Unit": unit}, dimensions, timestamp)

    def put_statistics(
        self,
        namespace: str,
        name: str,
        statistics: Mapping[str, float],
        dimensions: Mapping[str, str],
        *,
        unit: str = "None",
        timestamp: float | None = None,
    ) -> None:
        """Add values that are known by SampleCount, Sum, Minimum and Maximum only."""
        given = {"MetricName": name, "StatisticValues": dict(statistics), "Unit": unit}
        self._put(namespace, given, dimensions, timestamp)

    def _put(
        self, namespace: str, given: dict[str, Any], dimensions: Mapping[str, str], timestamp: float | None
    ) -> None:
        moment = datetime.fromtimestamp(self._clock() if timestamp is None else timestamp, UTC)
        given["Timestamp"] = moment.replace(tzinfo=None)
        given["Dimensions"] = [{"Name": k, "Value": v} for k, v in dimensions.items()]
        with self._lock:
            self._moto.backend("cloudwatch").put_metric_data(namespace, [given])

"""Log lines to CloudWatch Logs and numbers to CloudWatch, which moto serves from this process."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from urllib.parse import quote, unquote

from localaws.coverage import Behaviour
from localaws.moto_services import AccountEnded, MotoServices

BEHAVIOURS = (
    Behaviour(
        "log events older than 14 days are not taken",
        "documented",
        "CloudWatch Logs, PutLogEvents",
    ),
    Behaviour("every line of a job is one event, in its log at once", "assumed"),
    Behaviour("a stream of more than 32 MiB gives its newest lines only", "assumed"),
    Behaviour("a stream that had no line for 14 days is gone after the next start", "assumed"),
)
KEPT = 14 * 24 * 3600.0  # seconds: CloudWatch Logs takes no older events
BATCH = 10_000  # events in one PutLogEvents
MOST = 32 << 20  # bytes of memory for the events of one stream; its file has all of them
EVENT = 256  # bytes of memory that an event takes beside its text


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
            # CloudWatch refuses empty messages. A line of an account that was emptied is nobody's.
            with suppress(AccountEnded):
                self._logs.put(self.group, self.name, [{"timestamp": self._last, "message": line or " "}])

    def close(self) -> None:
        """End the stream's file; the events stay readable."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> LogStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StreamWindow:
    """The newest events of a stream of moto's: at most MOST bytes are held.

    The tokens of GetLogEvents are positions. They go on counting from the first event that there ever was, so that who
    follows a log neither misses nor repeats lines when old ones go.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._get = stream.get_log_events
        self._lock = threading.Lock()
        self._dropped = 0
        self._held = 0
        stream.window, stream.get_log_events = self, self.get_log_events

    @classmethod
    def of(cls, stream: Any) -> StreamWindow:
        """The stream's own, which lives as long as the stream."""
        found: StreamWindow | None = getattr(stream, "window", None)
        return found or cls(stream)

    def skipped(self, count: int) -> None:
        """Account for the first events of a new stream, which are left in its file."""
        self._dropped = count

    def added(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Account for events that were just put; drops the oldest when there are too many."""
        self._held += sum(_size(event["message"]) for event in events)
        for event in self._stream.events[-1:]:
            type(event).instances_tracked.clear()  # moto keeps every event that there ever was for its own tests
        if self._held > MOST:
            with self._lock:
                self._drop()

    def _drop(self) -> None:
        """Keep an eighth less than MOST, so that this is not done for every line."""
        kept, first, events = 0, len(self._stream.events), self._stream.events
        while first and kept + _size(events[first - 1].message) <= MOST * 7 // 8:
            first -= 1
            kept += _size(events[first].message)
        self._stream.events = events[first:]
        self._dropped += first
        self._held = kept

    def get_log_events(
        self, start: Any, end: Any, limit: Any, token: str | None, from_head: Any
    ) -> tuple[list[dict[str, Any]], str | None, str | None]:
        """In place of the stream's own method."""
        with self._lock:
            events, back, forward = self._get(start, end, limit, _moved(token, -self._dropped), from_head)
            return events, _moved(back, self._dropped), _moved(forward, self._dropped)


def _size(message: str) -> int:
    return EVENT + len(message)


def _moved(token: str | None, by: int) -> str | None:
    """A token of moto's (`f/` or `b/` and a position) at another position; anything else as it is."""
    if token is None or not token[2:].lstrip("-").isdigit():
        return token
    return f"{token[:2]}{max(int(token[2:]) + by, -1):056d}"


class Logs:
    """The log groups of the endpoint; earlier lines are read back when logs are first asked for."""

    def __init__(self, moto: MotoServices, directory: Path, clock: Callable[[], float] = time.time) -> None:
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
            self._add(backend, group, stream, events)

    def _add(self, backend: Any, group: str, stream: str, events: list[dict[str, Any]]) -> None:
        backend.put_log_events(group, stream, events)
        StreamWindow.of(backend.groups[group].streams[stream]).added(events)

    def load(self) -> None:
        """Bring back the lines of earlier runs; does it once, later calls return at once."""
        with self._backend():
            return

    @contextmanager
    def _backend(self) -> Iterator[Any]:
        with self._lock, self._moto.held():
            backend = self._moto.backend("logs")
            if not self._loaded:
                self._loaded = True
                for file in sorted(self._directory.glob("*/*.jsonl")):
                    if file.stat().st_mtime < self.clock() - KEPT:
                        file.unlink()
                    else:
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
        with file.open("rb") as lines:
            StreamWindow.of(backend.groups[group].streams[stream]).skipped(_skip(lines))
            for line in lines:
                try:
                    moment, text = json.loads(line)
                except ValueError:
                    continue  # the last line of a run that was killed while it wrote
                if moment > oldest:
                    events.append({"timestamp": moment, "message": text or " "})
        for start in range(0, len(events), BATCH):
            self._add(backend, group, stream, events[start : start + BATCH])


def _skip(lines: BinaryIO) -> int:
    """Go to the first whole line of the newest MOST bytes; returns how many lines are before it."""
    count, left = 0, lines.seek(0, os.SEEK_END) - MOST
    lines.seek(0)
    while left > 0 and (block := lines.read(min(left, 1 << 20))):
        count += block.count(b"\n")
        left -= len(block)
    return count + lines.readline().count(b"\n") if lines.tell() else 0


def _ensure(backend: Any, group: str, stream: str) -> None:
    if group not in backend.groups:
        backend.create_log_group(group, {})
    if stream not in backend.groups[group].streams:
        backend.create_log_stream(group, stream)


class Metrics:
    """CloudWatch metrics; moto keeps them in memory only."""

    def __init__(self, moto: MotoServices, clock: Callable[[], float] = time.time) -> None:
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
        with suppress(AccountEnded), self._lock, self._moto.held():
            self._moto.backend("cloudwatch").put_metric_data(namespace, [given])

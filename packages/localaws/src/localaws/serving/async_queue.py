"""Queues of asynchronous invocations: on disk, so that a restart loses none, and worked off by as many threads as an
endpoint has room for. What a request means is the worker's business (async_invocations)."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

LOG = logging.getLogger("localaws.async_queue")


@dataclass(frozen=True)
class AsyncRequest:
    """One accepted invocation; `at` in epoch seconds, `ttl` and `timeout` in seconds.

    `input` is the S3 URI of the payload, None when it came with the request. `failure` is None when nobody asked for
    failures to be written.
    """

    inference_id: str
    input: str | None
    output: str
    failure: str | None
    at: float
    ttl: float
    timeout: float
    headers: dict[str, str] = field(default_factory=dict)


class QueueWorker(Protocol):
    """Does the work of the queues."""

    def capacity(self, endpoint: str) -> int:
        """How many requests of an endpoint may be under way at once; 0 when nothing serves it now."""

    def work(self, endpoint: str, request: AsyncRequest, body: Path | None) -> bool:
        """Answer the request; False when it has to stay: nobody could have it now, or the server is ending."""

    def expire(self, endpoint: str, request: AsyncRequest) -> None:
        """The request has waited for longer than it may."""


class AsyncQueues:
    """The queues of all endpoints; thread safe. A request that waits costs a file and no thread."""

    def __init__(self, root: Path, clock: Callable[[], float], worker: QueueWorker) -> None:
        self._root = root
        self._clock = clock
        self._worker = worker
        self._waiting: dict[str, deque[tuple[Path, AsyncRequest]]] = defaultdict(deque)
        self._loaded: set[str] = set()  # endpoints whose files of an earlier run are in `_waiting`
        self._running: dict[str, int] = defaultdict(int)
        self._lock = threading.Condition()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the server is ending."""
        return self._closed

    def submit(self, endpoint: str, request: AsyncRequest, body: bytes | None) -> None:
        """Keep the request; it is on disk when this returns, and is begun when there is room."""
        self._take_up(endpoint)  # before there is a file of this run, which would be taken for one of an earlier run
        folder = self._root / endpoint
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{int(request.at * 1e6):020d}-{uuid.uuid4().hex}"
        if body is not None:
            (folder / f"{name}.body").write_bytes(body)
        document = folder / f"{name}.json"
        partial = folder / f"{name}.partial"
        partial.write_text(json.dumps(asdict(request)), encoding="utf-8")
        partial.replace(document)
        with self._lock:
            self._waiting[endpoint].append((document, request))
        self.pump(endpoint)

    def load(self, endpoint: str) -> None:
        """Take up what an earlier run of the server has left of this endpoint, and begin what there is room for."""
        self._take_up(endpoint)
        self.pump(endpoint)

    def _take_up(self, endpoint: str) -> None:
        with self._lock:
            if endpoint in self._loaded:
                return
            for document in sorted((self._root / endpoint).glob("*.json")):
                request = AsyncRequest(**json.loads(document.read_text(encoding="utf-8")))
                self._waiting[endpoint].append((document, request))
            self._loaded.add(endpoint)

    def drop(self, endpoint: str) -> None:
        """Forget what waits for an endpoint that is being deleted."""
        with self._lock:
            self._waiting.pop(endpoint, None)
        shutil.rmtree(self._root / endpoint, ignore_errors=True)

    def backlog(self, endpoint: str) -> int:
        """How many requests wait or are under way."""
        with self._lock:
            return len(self._waiting.get(endpoint, ())) + self._running[endpoint]

    def age(self, endpoint: str) -> float:
        """Seconds that the oldest waiting request has waited."""
        with self._lock:
            waiting = self._waiting.get(endpoint)
            return self._clock() - waiting[0][1].at if waiting else 0.0

    def pump(self, endpoint: str) -> None:
        """Begin as many requests as there is room for."""
        while True:
            room = self._worker.capacity(endpoint)
            with self._lock:
                waiting = self._waiting.get(endpoint)
                if self._closed or not waiting or self._running[endpoint] >= room:
                    return
                document, request = waiting.popleft()
                self._running[endpoint] += 1
            threading.Thread(
                target=self._run, args=(endpoint, document, request), name=f"async {endpoint}", daemon=True
            ).start()

    def _run(self, endpoint: str, document: Path, request: AsyncRequest) -> None:
        done = True
        try:
            if self._clock() - request.at > request.ttl:
                self._worker.expire(endpoint, request)
            else:
                body = document.with_suffix(".body")
                done = self._worker.work(endpoint, request, body if request.input is None else None)
        except Exception:
            LOG.exception("endpoint %s: an asynchronous invocation is lost by a fault of the endpoint", endpoint)
        if done:
            _forget(document)
        with self._lock:
            self._running[endpoint] -= 1
            if not done and not self._closed and document.exists():  # else its endpoint was deleted
                self._waiting[endpoint].appendleft((document, request))
            self._lock.notify_all()
        self.pump(endpoint)

    def tick(self) -> None:
        """Expire what has waited for too long and begin what there is room for."""
        now = self._clock()
        expired: list[tuple[str, Path, AsyncRequest]] = []
        with self._lock:
            names = list(self._waiting)
            for name in names:
                kept: deque[tuple[Path, AsyncRequest]] = deque()
                for document, request in self._waiting[name]:
                    if now - request.at > request.ttl:
                        expired.append((name, document, request))
                    else:
                        kept.append((document, request))
                self._waiting[name] = kept
        for name, document, request in expired:
            self._worker.expire(name, request)
            _forget(document)
        for name in names:
            self.pump(name)

    def close(self) -> None:
        """Begin nothing more; what waits stays on disk."""
        with self._lock:
            self._closed = True

    def join(self, timeout: float) -> bool:
        """Wait until nothing is under way; False when the timeout (seconds) passed first."""
        with self._lock:
            return self._lock.wait_for(lambda: not any(self._running.values()), timeout)


def _forget(document: Path) -> None:
    document.with_suffix(".body").unlink(missing_ok=True)
    document.unlink(missing_ok=True)

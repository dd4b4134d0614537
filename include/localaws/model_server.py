"""A model server: the `serve` program of an image, running in its sandbox and answering on a loopback port."""

from __future__ import annotations

import logging
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from include.localaws.context import Context
from include.localaws.errors import ValidationException
from include.localaws.http_pool import LOOPBACK, Answer, AnswerTimeout, NoAnswer, Pool
from include.localaws.images import ImageError
from include.localaws.model_data import ModelDataError, ServedModel, fetch
from include.localaws.runner import Process, ProcessSpec

LOG = logging.getLogger("localaws.model_server")
PING_SECONDS = 2.0  # how long one GET /ping may take
POLL_SECONDS = 0.05
STARTUP_SECONDS = 480.0  # without ContainerStartupHealthCheckTimeoutInSeconds
STOP_GRACE_SECONDS = 30.0  # SIGKILL follows SIGTERM after this time
LONGEST_RESTART_WAIT = 30.0
TAIL_LINES = 10


class ModelServerError(Exception):
    """The server did not become healthy; the text is fit for a FailureReason."""


class Cancelled(Exception):
    """The start was given up because the caller no longer wants the server."""


@dataclass(frozen=True)
class ServerSpec:
    """One server to start. `label` names it in reasons; `home` is created and removed with the server."""

    label: str
    model: ServedModel
    home: Path
    on_line: Callable[[str], None]
    environment: Mapping[str, str]
    startup_seconds: float = STARTUP_SECONDS


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


class ModelServer:
    """Start with `start`, wait with `wait_healthy`, use with `invoke`, end with `stop`; thread safe after start."""

    def __init__(self, ctx: Context, spec: ServerSpec) -> None:
        self._ctx = ctx
        self.spec = spec
        self.port = free_port()
        self._pool = Pool(self.port)
        self._process: Process | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process id of the running sandbox, or None."""
        process = self._process
        return process.pid if process is not None and process.running() else None

    def start(self) -> None:
        """Fetch the model and start the program; ModelServerError when one of them is not possible."""
        try:
            shutil.rmtree(self.spec.home, ignore_errors=True)
            fetch(self._ctx.s3, self.spec.model.artifact, self.spec.home / "ml" / "model")
            self._launch()
        except (ModelDataError, ImageError, ValidationException) as error:
            raise ModelServerError(f"{self.spec.label}: {error}") from error

    def _launch(self) -> None:
        image = self._ctx.images.resolve(self.spec.model.image)
        argv = [str(image.environment()), str(image.program("serve"))]
        environment = {
            **self.spec.environment,
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "SAGEMAKER_SAFE_PORT_RANGE": f"{self.port}-{self.port}",
            **self.spec.model.environment,
        }
        process = self._ctx.runner.start(
            ProcessSpec(
                argv=argv,
                env=environment,
                root=self.spec.home / "ml",
                image=image,
                on_line=self._take_line,
            )
        )
        with self._lock:
            self._process = process
            stopped = self._stopping.is_set()
        if stopped:
            process.kill()

    def _take_line(self, line: str) -> None:
        self._tail.append(line)
        self.spec.on_line(line)

    def wait_healthy(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Return when GET /ping answers 200.

        ModelServerError with the end of the log when the program ends or the time is over; Cancelled when the
        caller's question says so or the server was stopped.
        """
        process = self._process
        assert process is not None, "start() comes first"
        deadline = time.monotonic() + self.spec.startup_seconds
        while not self._answers_ping():
            code = process.wait(POLL_SECONDS)
            if cancelled() or self._stopping.is_set():
                raise Cancelled
            if code is not None:
                raise self._unhealthy(f"its program ended with exit code {code}")
            if time.monotonic() > deadline:
                raise self._unhealthy(f"it was not healthy after {self.spec.startup_seconds:g} s")

    def _answers_ping(self) -> bool:
        try:
            return self._pool.request("GET", "/ping", timeout=PING_SECONDS).status == 200
        except (NoAnswer, AnswerTimeout):
            return False

    def _unhealthy(self, why: str) -> ModelServerError:
        tail = " | ".join(line for line in self._tail if line.strip())
        said = f" Its log ends with: {tail}" if tail else " It wrote nothing to its log."
        return ModelServerError(
            f"The primary container for {self.spec.label} did not pass the ping health check: {why}. "
            f"Please check CloudWatch logs.{said}"
        )

    def invoke(self, body: bytes, headers: Mapping[str, str], timeout: float, max_bytes: int | None) -> Answer:
        """POST /invocations; NoAnswer, AnswerTimeout or AnswerTooLarge when there is no answer to give."""
        return self._pool.request("POST", "/invocations", body, headers, timeout=timeout, max_bytes=max_bytes)

    def get(self, path: str, timeout: float = PING_SECONDS) -> Answer:
        """GET of another path, e.g. /execution-parameters."""
        return self._pool.request("GET", path, timeout=timeout)

    def keep_running(self) -> None:
        """From now on start the program again when it ends by itself, as SageMaker does for endpoints."""
        self._watcher = threading.Thread(target=self._watch, name=f"watch {self.spec.label}", daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        failures = 0
        while (process := self._process) is not None:
            code = process.wait()
            if self._stopping.is_set():
                return
            self.spec.on_line(f"localaws: the model server ended with exit code {code} and is started again")
            delay = min(LONGEST_RESTART_WAIT, 0.5 * 2**failures)
            if failures and self._stopping.wait(delay):
                return
            failures += 1
            try:
                self._launch()
                self.wait_healthy()
                failures = 0
            except (Cancelled, RuntimeError):  # RuntimeError: the runner starts nothing any more
                return
            except Exception as error:
                LOG.warning("%s: %s", self.spec.label, error)

    def terminate(self, grace: float) -> int:
        """End the program as a stopped job's is ended: SIGTERM, SIGKILL after `grace` seconds."""
        self.stop(min(grace, STOP_GRACE_SECONDS))
        return 0

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End the program and remove its files; safe to call twice and at any time."""
        with self._lock:
            self._stopping.set()
            process = self._process
        if process is not None:
            process.terminate(grace)
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
        self._pool.close()
        shutil.rmtree(self.spec.home, ignore_errors=True)

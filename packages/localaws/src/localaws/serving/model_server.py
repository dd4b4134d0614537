"""A model server: the `serve` program of an image, running in its sandbox and answering on a loopback port.

A model with network isolation has a network namespace of its own and is reached through a Unix socket
(isolated_server).
"""

from __future__ import annotations

import logging
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.engine.images import ImageError
from localaws.engine.runner import Process
from localaws.engine.spec import LOOPBACK, ML, ProcessSpec
from localaws.errors import ValidationException
from localaws.jobs import execution
from localaws.serving.http_pool import Answer, AnswerTimeout, Body, NoAnswer, Pool, UnixTarget
from localaws.serving.model_data import ModelDataError, ServedModel, fetch

LOG = logging.getLogger("localaws.model_server")
PING_SECONDS = 2.0  # how long one GET /ping may take
POLL_SECONDS = 0.05
STARTUP_SECONDS = 480.0  # without ContainerStartupHealthCheckTimeoutInSeconds
STOP_GRACE_SECONDS = 30.0  # SIGKILL follows SIGTERM after this time
TAIL_LINES = 10
ISOLATED_PORT = 8080  # in a network namespace of its own every server has AWS's port
ISOLATED_SERVER = Path(__file__).with_name("isolated_server.py")
CARRIER = "/opt/localaws"  # where a container sees that program
INFERENCE_CODE = "SageMaker developer guide, Use your own inference code with hosting services"

BEHAVIOURS = (
    Behaviour("`GET /ping` has to answer 200 within 2 s, for the first time within 480 s by default", "documented",
              INFERENCE_CODE),
    Behaviour("SIGKILL 30 s after SIGTERM when a model server is to end", "documented", INFERENCE_CODE),
    Behaviour("a container that ends before it is healthy is started again until the time is over; here it is given up "
              "after three starts, except under the AWS-like profile", "assumed"),
    Behaviour("a model server that ends by itself is started again", "assumed"),
    Behaviour("a model server without any answer for 30 s, or for as long as a request under way has, is killed and "
              "started again", "assumed"),
    Behaviour("a model with network isolation reaches no network and is still served", "documented",
              "CreateModel, EnableNetworkIsolation"),
)  # fmt: skip


class ModelServerError(Exception):
    """The server did not become healthy; the text is fit for a FailureReason."""


class Cancelled(Exception):
    """The start was given up because the caller no longer wants the server."""


@dataclass(frozen=True)
class ServerSpec:
    """One server to start. `label` names it in reasons; `home` is created and removed with the server.

    A program that ends before it is healthy is started `tries` times; None: until `startup_seconds` are over.
    """

    label: str
    model: ServedModel
    home: Path
    on_line: Callable[[str], None]
    environment: Mapping[str, str]
    startup_seconds: float = STARTUP_SECONDS
    tries: int | None = 1


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def reserve_port() -> tuple[int, socket.socket]:
    """A free port that no other model server of this machine is given before the socket beside it is closed.

    A program begins to listen long after its port was chosen: of two with one port, the requests of both would go to
    the first. The claim is the UDP port of that number, which only one process has, until it ends.
    """
    while True:
        port, claim = free_port(), socket.socket(type=socket.SOCK_DGRAM)
        try:
            claim.bind((LOOPBACK, port))
            return port, claim
        except OSError:
            claim.close()


class ModelServer:
    """Start with `start`, wait with `wait_healthy`, use with `invoke`, end with `stop`; thread safe after start."""

    def __init__(self, ctx: Context, spec: ServerSpec, on_change: Callable[[], None] = lambda: None) -> None:
        self._ctx = ctx
        self.spec = spec
        self._on_change = on_change
        self._pool = Pool(ISOLATED_PORT)  # until there is a program
        self._claim: socket.socket | None = None  # of the present program's port
        self._process: Process | None = None
        self._bind: Mapping[Path, str] = {}
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._stopping = threading.Event()
        self._healthy = threading.Event()
        self._look = threading.Event()  # asks for a ping now
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._progress = time.monotonic()  # when it last answered anything
        self._starts = 0
        self._served = False  # whether the present program has ever been healthy
        self._requests: list[tuple[float, float]] = []  # those under way: when begun, seconds that they have
        self._silent_since: float | None = None  # when the first ping went out that was not answered

    @property
    def pid(self) -> int | None:
        """The process id of the running sandbox, or None."""
        process = self._process
        return process.pid if process is not None and process.running() else None

    @property
    def healthy(self) -> bool:
        """Whether it answered its last health check and has not ended since."""
        return self._healthy.is_set()

    def start(self) -> None:
        """Fetch the model and start the program; ModelServerError when one of them is not possible.

        Cancelled when the server was stopped meanwhile, which removes the files that this is at work with.
        """
        try:
            shutil.rmtree(self.spec.home, ignore_errors=True)
            bind = fetch(self._ctx.s3, self.spec.model.artifact, self.spec.home / "ml" / "model")
            self._bind = execution.read_only(self._ctx, bind)
            self._launch()
        except Exception as error:
            if self._stopping.is_set():
                raise Cancelled from error
            if isinstance(error, ModelDataError | ImageError | ValidationException):
                raise ModelServerError(f"{self.spec.label}: {error}") from error
            raise
        finally:
            if self._stopping.is_set():
                shutil.rmtree(self.spec.home, ignore_errors=True)

    def _launch(self) -> None:
        image = self._ctx.images.resolve(self.spec.model.image)
        argv = [str(image.environment()), str(image.program("serve"))]
        isolated = self.spec.model.isolated
        # Another port each time: the last one may still be held by connections of the program that ended.
        port, claim = (ISOLATED_PORT, None) if isolated else reserve_port()
        target: int | UnixTarget = port
        bind = dict(self._bind)
        if isolated:
            target, argv = self._carried(port, argv)
            bind[self._carrier()] = CARRIER
        environment = {
            **self.spec.environment,
            "SAGEMAKER_BIND_TO_PORT": str(port),
            "SAGEMAKER_SAFE_PORT_RANGE": f"{port}-{port}",
            **self.spec.model.environment,
        }
        process = self._ctx.runner.start(
            ProcessSpec(
                argv=argv, env=environment, root=self.spec.home / "ml", image=image, on_line=self._take_line,
                network=not isolated, bind=bind,
            )
        )  # fmt: skip
        with self._lock:
            old, self._pool = self._pool, Pool(target)
            self._process = process
            self._starts += 1
            self._served = False
            self._silent_since = None
            self._progress = time.monotonic()
            stopped = self._stopping.is_set()
        old.close()
        self._claimed(claim)
        if stopped:
            process.kill()
            self._claimed(None)

    def _claimed(self, claim: socket.socket | None) -> None:
        """Hold the claim on the present port, and give the one before back."""
        with self._lock:
            old, self._claim = self._claim, claim
        if old is not None:
            old.close()

    def _carried(self, port: int, argv: list[str]) -> tuple[UnixTarget, list[str]]:
        """The socket of a server without a network, and the command line that carries it to the server's port."""
        folder = self.spec.home / "ml" / ".localaws"
        folder.mkdir(exist_ok=True)
        target = UnixTarget(folder / "socket", lambda: self.pid)
        socket = f"{ML}/{folder.name}/socket"
        return target, [argv[0], f"{CARRIER}/{ISOLATED_SERVER.name}", socket, str(port), *argv]

    def _carrier(self) -> Path:
        """The directory with the carrier's program, beside what the container can write to: it could leave a link."""
        folder = self.spec.home / "carrier"
        folder.mkdir(exist_ok=True)
        shutil.copy(ISOLATED_SERVER, folder)
        return folder

    def _take_line(self, line: str) -> None:
        self._tail.append(line)
        self.spec.on_line(line)

    def wait_healthy(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Return when GET /ping answers 200.

        ModelServerError with the end of the log when the program ends too often or the time is over; Cancelled when
        the caller's question says so or the server was stopped.
        """
        deadline = time.monotonic() + self.spec.startup_seconds
        while (code := self._wait_ping(deadline, cancelled)) is not None:
            if self.spec.tries is not None and self._starts >= self.spec.tries:
                raise self._unhealthy(f"its program ended with exit code {code}")
            until = min(deadline, time.monotonic() + self._restart_wait(self._starts))
            self._pause(until, cancelled)
            if time.monotonic() >= deadline:
                raise self._unhealthy(f"its program ended with exit code {code}")
            self._launch()
        self._answered()

    def _restart_wait(self, failures: int) -> float:
        """Seconds before the next start of a program that has ended `failures` times in a row."""
        return min(self._ctx.profile.restart_longest, 0.25 * float(2 ** min(failures, 10)))

    def _pause(self, until: float, cancelled: Callable[[], bool]) -> None:
        while (left := until - time.monotonic()) > 0:
            if self._stopping.wait(min(left, POLL_SECONDS)) or cancelled():
                raise Cancelled

    def _wait_ping(self, deadline: float, cancelled: Callable[[], bool]) -> int | None:
        """None when it is healthy, the exit code when the program has ended."""
        process = self._process
        assert process is not None, "start() comes first"
        while not self._answers_ping():
            code = process.wait(POLL_SECONDS)
            if cancelled() or self._stopping.is_set():
                raise Cancelled
            if code is not None:
                return code
            if time.monotonic() > deadline:
                raise self._unhealthy(f"it was not healthy after {self.spec.startup_seconds:g} s")
        return None

    def _answers_ping(self) -> bool:
        try:
            return self._pool.request("GET", "/ping", timeout=PING_SECONDS).status == 200
        except (NoAnswer, AnswerTimeout):
            return False

    def _unhealthy(self, why: str) -> ModelServerError:
        times = f" (it was started {self._starts} times)" if self._starts > 1 else ""
        tail = " | ".join(line for line in self._tail if line.strip())
        said = f" Its log ends with: {tail}" if tail else " It wrote nothing to its log."
        return ModelServerError(
            f"The {self.spec.model.name} container for {self.spec.label} did not pass the ping health check. "
            f"Please check CloudWatch logs for this endpoint. Seen here: {why}{times}.{said}"
        )

    def _answered(self) -> None:
        self._progress = time.monotonic()
        self._silent_since = None
        self._served = True
        if not self._healthy.is_set():
            self._healthy.set()
            self._on_change()

    @contextmanager
    def _under_way(self, timeout: float) -> Iterator[None]:
        request = (time.monotonic(), timeout)
        with self._lock:
            self._requests.append(request)
        try:
            yield
        finally:
            with self._lock:
                self._requests.remove(request)

    def invoke(self, body: Body, headers: Mapping[str, str], timeout: float, max_bytes: int | None) -> Answer:
        """POST /invocations; NoAnswer, AnswerTimeout or AnswerTooLarge when there is no answer to give."""
        with self._under_way(timeout):
            try:
                answer = self._pool.request("POST", "/invocations", body, headers, timeout=timeout, max_bytes=max_bytes)
            except (NoAnswer, AnswerTimeout):
                self._look.set()
                raise
        self._progress = time.monotonic()
        return answer

    def suspect(self) -> None:
        """It could not be reached: it is not healthy until it has answered a ping."""
        self._healthy.clear()
        self._look.set()

    def get(self, path: str, timeout: float = PING_SECONDS) -> Answer:
        """GET of another path, e.g. /execution-parameters."""
        return self._pool.request("GET", path, timeout=timeout)

    def keep_running(self) -> None:
        """From now on start the program again when it ends or hangs, as SageMaker does for endpoints."""
        for work, name in ((self._watch, "watch"), (self._check, "ping")):
            thread = threading.Thread(target=work, name=f"{name} {self.spec.label}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _watch(self) -> None:
        failures = 0
        while (process := self._process) is not None:
            code = process.wait()
            self._healthy.clear()
            if self._stopping.is_set():
                return
            self.spec.on_line(f"localaws: the model server ended with exit code {code} and is started again")
            if failures and self._stopping.wait(self._restart_wait(failures)):
                return
            failures += 1
            try:
                self._launch()
                if self._wait_ping(time.monotonic() + self.spec.startup_seconds, lambda: False) is None:
                    self._answered()
                    failures = 0
            except (Cancelled, RuntimeError):  # RuntimeError: the runner starts nothing any more
                return
            except Exception as error:
                LOG.warning("%s: %s", self.spec.label, error)
                self._kill()

    def _check(self) -> None:
        """Ping again and again; kill what does not answer, `_watch` starts it again."""
        while not self._stopping.is_set():
            self._look.wait(self._ctx.profile.ping_every)
            self._look.clear()
            process, served = self._process, self._served
            if self._stopping.is_set() or process is None or not process.running():
                self._stopping.wait(POLL_SECONDS)
                continue
            asked = time.monotonic()
            if self._answers_ping():
                self._answered()
            elif served and process is self._process:
                self._consider(process, asked)

    def _consider(self, process: Process, asked: float) -> None:
        """A ping was not answered: no further requests unless others keep the server busy, and an end to it in time."""
        self._silent_since = self._silent_since or asked
        with self._lock:
            # What came later finds it silent already and is no reason for its silence.
            busy = [seconds for begun, seconds in self._requests if begun <= self._silent_since]
        silent = time.monotonic() - self._progress
        if not busy:
            self._healthy.clear()
        # A long request may keep all of it busy.
        if silent > max([self._ctx.profile.hung, *busy]):
            self.spec.on_line(f"localaws: the model server has answered nothing for {silent:.0f} s and is killed")
            self._healthy.clear()
            process.kill()

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def terminate(self, grace: float) -> int:
        """End the program as a stopped job's is ended: SIGTERM, SIGKILL after `grace` seconds."""
        self.stop(min(grace, STOP_GRACE_SECONDS))
        return 0

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End the program and remove its files; safe to call twice and at any time."""
        with self._lock:
            self._stopping.set()
            self._healthy.clear()
            process = self._process
        self._look.set()
        self._on_change()
        if process is not None:
            process.terminate(grace)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        self._pool.close()
        self._claimed(None)
        shutil.rmtree(self.spec.home, ignore_errors=True)

"""Processes in a private /opt/ml: start, follow, stop. Knows nothing of SageMaker's statuses."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from include.localaws.images import Image
from include.localaws.sandbox import Command, Sandbox, choose, main_process

log = logging.getLogger("localaws.runner")

READER_PATIENCE = 10.0  # seconds
MAX_LINE = 256 * 1024  # bytes: what one CloudWatch Logs event may hold


@dataclass(frozen=True)
class ProcessSpec:
    """One process to start.

    `root` is the host directory that the process sees as /opt/ml; `on_line` gets each line of stdout and
    stderr as it comes, without its end, on a thread of its own; `network=False` asks for no network at all.
    `bind` maps further host directories to the absolute paths at which they appear read-only.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    root: Path
    image: Image
    on_line: Callable[[str], None]
    network: bool = True
    bind: Mapping[Path, str] = field(default_factory=dict)


class Process:
    """A started process; safe to use from several threads."""

    def __init__(self, popen: subprocess.Popen[bytes], reader: threading.Thread, depth: int, alive: int | None) -> None:
        self._popen = popen
        self._depth = depth
        self._reader = reader
        self._alive = alive
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Process id of the sandbox (not of the program inside)."""
        return self._popen.pid

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code (128 + n after signal n), or None when the timeout (seconds) passed first.

        When it returns a code, every line that the process wrote has been handed to `on_line`.
        """
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        # A grandchild that left the sandbox's session could keep the pipe open for ever.
        self._reader.join(READER_PATIENCE)
        self._let_go()
        return 128 - code if code < 0 else code

    def running(self) -> bool:
        """Whether it has not ended yet; does not wait."""
        return self._popen.poll() is None

    def terminate(self, grace: float) -> int:
        """SIGTERM to the program, SIGKILL to all of it after `grace` seconds; returns the exit code."""
        deadline = time.monotonic() + grace
        # The program may not be there yet while the sandbox is being set up: then look again.
        while self.running() and not self.signal(signal.SIGTERM) and time.monotonic() < deadline:
            self.wait(0.02)
        code = self.wait(max(0.0, deadline - time.monotonic()))
        return self.kill() if code is None else code

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to the program inside the sandbox; False when there is no such process (yet)."""
        target = main_process(self._popen.pid, self._depth)
        if target is None:
            return False
        try:
            os.kill(target, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> int:
        """End the sandbox and all that runs in it at once; returns the exit code."""
        if not self._let_go() and self.running():
            # The whole group: a bubblewrap that is still setting up has a child that does not die with it yet (seen).
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        code = self.wait()
        assert code is not None
        return code

    def _let_go(self) -> bool:
        """Close the pipe that keeps a supervised process alive; False when there is none."""
        with self._lock:
            if self._alive is None:
                return False
            os.close(self._alive)
            self._alive = None
        return True


def clean_environment(spec: ProcessSpec) -> dict[str, str]:
    """PATH with the image's interpreter first, HOME, LANG, and what the spec gives: nothing of the server's own."""
    interpreter = spec.image.environment()
    return {
        "PATH": f"{interpreter.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",  # noqa: S108 - private to the sandbox
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **spec.image.variables,
        **spec.env,
    }


class Runner:
    """Starts processes and knows which are alive, so that none outlives the endpoint.

    All processes are started by one thread that lives as long as the runner: "die with the parent" means the
    thread that forked, and a request's thread may end long before its process.
    """

    def __init__(self, sandbox: Sandbox | None = None, hidden: Sequence[Path] = ()) -> None:
        self.sandbox = sandbox or choose()
        self.hidden = tuple(hidden)
        self._alive: set[Process] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._orders: queue.Queue[tuple[ProcessSpec, Future[Process]] | None] = queue.Queue()
        self._starter = threading.Thread(target=self._serve_orders, name="process-starter", daemon=True)
        self._starter.start()

    def start(self, spec: ProcessSpec) -> Process:
        """Start the process; builds the image's environment first if need be (ImageError)."""
        spec.image.environment()
        future: Future[Process] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the endpoint is shutting down: no process is started any more")
            self._orders.put((spec, future))
        return future.result()

    def _serve_orders(self) -> None:
        while (order := self._orders.get()) is not None:
            spec, future = order
            try:
                future.set_result(self._start(spec))
            except BaseException as error:
                future.set_exception(error)

    def _start(self, spec: ProcessSpec) -> Process:
        command: Command = self.sandbox.command(spec, clean_environment(spec), self.hidden)
        watched, alive = os.pipe() if command.watch else (None, None)
        try:
            popen = subprocess.Popen(
                command.argv if watched is None else [*supervisor(watched), *command.argv],
                env=dict(command.env),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=() if watched is None else (watched,),
            )
        except BaseException:
            if alive is not None:
                os.close(alive)
            raise
        finally:
            if watched is not None:
                os.close(watched)
        reader = threading.Thread(target=_read_lines, args=(popen, spec.on_line), daemon=True)
        reader.start()
        process = Process(popen, reader, self.sandbox.depth, alive)
        with self._lock:
            self._alive = {p for p in self._alive if p.running()} | {process}
        return process

    def shutdown(self, grace: float) -> None:
        """Terminate every process that is still alive, all at once; no new one is started afterwards."""
        with self._lock:
            self._closed = True
            alive = [p for p in self._alive if p.running()]
        enders = [threading.Thread(target=p.terminate, args=(grace,)) for p in alive]
        for thread in enders:
            thread.start()
        for thread in enders:
            thread.join()
        self._orders.put(None)


def supervisor(watched: int) -> list[str]:
    """A small parent for sandboxes that cannot die with the endpoint by themselves."""
    return [sys.executable, "-I", str(Path(__file__).with_name("supervise.py")), str(watched), "--"]


def _read_lines(popen: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
    assert popen.stdout is not None
    with popen.stdout as stream:
        while line := stream.readline(MAX_LINE):
            try:
                on_line(line.rstrip(b"\r\n").decode("utf-8", "replace"))
            except Exception:
                # The program must not block on a full pipe because its log cannot be kept.
                log.exception("a line of process %s is lost", popen.pid)

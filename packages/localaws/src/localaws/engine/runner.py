"""Processes in a private /opt/ml: start, follow, stop. Knows nothing of SageMaker's statuses."""

from __future__ import annotations

import copy
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from localaws.engine.images import Image
from localaws.engine.limits import Limits
from localaws.engine.sandbox import Bubblewrap, Command, Sandbox, choose, main_process
from localaws.engine.spec import ML, PRIVATE_HOME, ProcessSpec
from localaws.engine.warm import Forked, NotWarm, Parents

log = logging.getLogger("localaws.runner")

READER_PATIENCE = 10.0  # seconds
CLOSED = "the endpoint is shutting down: no process is started any more"
T = TypeVar("T")
MAX_LINE = 256 * 1024  # bytes: what one CloudWatch Logs event may hold


class Process:
    """A started process; safe to use from several threads.

    `depth` is how many generations below the started process the program runs.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes] | Forked,
        reader: threading.Thread,
        depth: int = 0,
        alive: int | None = None,
    ) -> None:
        self._popen = popen
        self._depth = depth
        self._reader = reader
        self._alive = alive
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Process id of the sandbox; of the program itself when it was forked from a prepared parent."""
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

    def _tell_supervisor(self, number: signal.Signals) -> bool:
        """Have the supervisor send a signal to its child, the program; False when it has ended."""
        with self._lock:
            if self._alive is None or not self.running():
                return False
            try:
                os.write(self._alive, bytes([number]))
            except BrokenPipeError:
                return False
        return True

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to the program inside the sandbox; False when there is no such process (yet)."""
        if self._depth == 1:
            return self._tell_supervisor(number)
        target = main_process(self._popen.pid, self._depth)
        if target is None or not self.running():
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
            # macOS says PermissionError of a group of zombies.
            with suppress(ProcessLookupError, PermissionError):
                (os.killpg if self._depth else os.kill)(self._popen.pid, signal.SIGKILL)
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
    return {**startup(spec.image), **spec.env}


class _Starter:
    """One thread that starts all processes and lives as long as the endpoint.

    "Die with the parent" means the thread that forked, and a request's thread may end long before its process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._orders: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue()
        threading.Thread(target=self._serve, name="process-starter", daemon=True).start()

    def run(self, work: Callable[[], T]) -> T:
        """Do the work on the thread; gives what it gives and raises what it raises."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(CLOSED)
            self._orders.put((work, future))
        return future.result()

    def close(self) -> None:
        """End the thread once all that was ordered is done."""
        with self._lock:
            self._closed = True
            self._orders.put(None)

    def _serve(self) -> None:
        while (order := self._orders.get()) is not None:
            work, future = order
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)


class Runner:
    """Starts processes and knows which are alive, so that none outlives the endpoint.

    A program of an image with `preload` is forked from a prepared parent where that is possible (see `warm`), unless
    `warm` is false.
    """

    def __init__(self, sandbox: Sandbox | None = None, hidden: Sequence[Path] = (), *, warm: bool = True) -> None:
        self.sandbox = sandbox or choose()
        self.hidden = tuple(hidden)
        self.warm = warm
        self._alive: set[Process] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._starter = _Starter()
        mark = self.sandbox.mark if isinstance(self.sandbox, Bubblewrap) else ""
        self.parents = Parents(self._starter.run, mark)
        self._watched = _watchdog(mark) if mark else None

    def start(self, spec: ProcessSpec) -> Process:
        """Start the process; builds the image's environment first if need be (ImageError)."""
        spec.image.environment()
        if self._closed:
            raise RuntimeError(CLOSED)
        process = self._fork(spec)
        if process is None:
            process = self._starter.run(lambda: self._start(spec))
        with self._lock:
            closed = self._closed
            self._alive = {p for p in self._alive if p.running()} | {process}
        if closed:
            process.kill()
            raise RuntimeError(CLOSED)
        return process

    def prepare(self, image: Image, timeout: float) -> bool:
        """Wait (seconds) until jobs of this image are forked from a prepared parent; False when they will not be."""
        return self._warms(image) and self.parents.wait_ready(image, startup(image), timeout)

    def _warms(self, image: Image) -> bool:
        return self.warm and bool(image.preload) and isinstance(self.sandbox, Bubblewrap)

    def _fork(self, spec: ProcessSpec) -> Process | None:
        """The process, forked from its image's parent; None when it has to be started cold."""
        if not self._warms(spec.image):
            return None
        assert isinstance(self.sandbox, Bubblewrap)
        environment = clean_environment(spec)
        parent = self.parents.ready(spec.image, startup(spec.image), environment, spec.argv)
        if parent is None:
            return None
        order = {
            "sandbox": self.sandbox.enter(spec, self.hidden),
            "argv": list(spec.argv),
            "env": {**environment, "PWD": ML},
            "cwd": ML,
            "limits": spec.limits.as_data(),
        }
        try:
            forked = parent.order(order)
        except NotWarm as error:
            log.warning("image %s: a job is started cold, its prepared parent failed: %s", spec.image.name, error)
            return None
        return Process(forked, self._read(forked, spec.on_line))

    def _read(self, popen: subprocess.Popen[bytes] | Forked, on_line: Callable[[str], None]) -> threading.Thread:
        reader = threading.Thread(target=_read_lines, args=(popen, on_line), daemon=True)
        reader.start()
        return reader

    def _start(self, spec: ProcessSpec) -> Process:
        command: Command = self.sandbox.command(spec, clean_environment(spec), self.hidden)
        if command.guarded:
            popen = _start_guarded(command)
            return Process(popen, self._read(popen, spec.on_line), self.sandbox.depth)
        watched, alive = os.pipe() if command.watch else (None, None)
        try:
            popen = _popen(
                command.argv if watched is None else [*supervisor(watched, spec.limits), *command.argv],
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=() if watched is None else (watched,),
            )
        except BaseException:
            if alive is not None:
                os.close(alive)
            raise
        finally:
            if watched is not None:
                os.close(watched)
        return Process(popen, self._read(popen, spec.on_line), self.sandbox.depth, alive)

    def succeed(self, grace: float) -> Runner:
        """End all processes as `shutdown` does; the prepared parents, which know of no job, go over to a new runner."""
        self._end(grace)
        successor = copy.copy(self)
        successor._alive, successor._lock, successor._closed = set(), threading.Lock(), False
        return successor

    def shutdown(self, grace: float) -> None:
        """Terminate every process that is still alive, all at once; no new one is started afterwards."""
        self._end(grace)
        self.parents.close()
        self._starter.close()
        watched, self._watched = self._watched, None
        if watched is not None:
            watched.communicate(b"x")

    def _end(self, grace: float) -> None:
        with self._lock:
            self._closed = True
            alive = [p for p in self._alive if p.running()]
        enders = [threading.Thread(target=p.terminate, args=(grace,)) for p in alive]
        for thread in enders:
            thread.start()
        for thread in enders:
            thread.join()


def startup(image: Image) -> dict[str, str]:
    """What every process of the image has in its environment: the interpreter first in PATH, nothing of the server."""
    interpreter = image.environment()
    return {
        "PATH": f"{interpreter.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": PRIVATE_HOME,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **image.variables,
    }


def _popen(argv: list[str], command: Command, *, stdin: int, pass_fds: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        env=dict(command.env),
        cwd=command.cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def _watchdog(mark: str) -> subprocess.Popen[bytes]:
    """Start the program that cleans up after an endpoint that was killed; a byte on its stdin ends it."""
    program = Path(__file__).with_name("watchdog.py")
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(program), "0", mark],
        env={},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _start_guarded(command: Command) -> subprocess.Popen[bytes]:
    """Start bubblewrap, and let its program go on once it is sure to die with us.

    The kernel forgets "die with the parent" when the parent is gone before it is asked for. Bubblewrap tells --info-fd
    after it has asked; an endpoint that is killed before never sends the line that the program waits for.
    """
    info, informed = os.pipe()
    try:
        argv = [command.argv[0], "--info-fd", str(informed), *command.argv[1:]]
        popen = _popen(argv, command, stdin=subprocess.PIPE, pass_fds=(informed,))
    except BaseException:
        os.close(info)
        raise
    finally:
        os.close(informed)
    with os.fdopen(info) as described:
        described.read()
    assert popen.stdin is not None
    with suppress(BrokenPipeError), popen.stdin as gate:  # it could not start: its exit code tells
        gate.write(b"go\n")
    return popen


def supervisor(watched: int, limits: Limits) -> list[str]:
    """A small parent for sandboxes that cannot die with the endpoint by themselves."""
    program = Path(__file__).with_name("supervise.py")
    return [sys.executable, "-I", str(program), str(watched), json.dumps(limits.as_data()), "--"]


def _read_lines(popen: subprocess.Popen[bytes] | Forked, on_line: Callable[[str], None]) -> None:
    assert popen.stdout is not None
    with popen.stdout as stream:
        while line := stream.readline(MAX_LINE):
            try:
                on_line(line.rstrip(b"\r\n").decode("utf-8", "replace"))
            except Exception:
                # The program must not block on a full pipe because its log cannot be kept.
                log.exception("a line of process %s is lost", popen.pid)

"""Prepared parents: per image one Python that has imported the image's libraries, from which jobs are forked.

A forked job is in the very sandbox that a cold one gets, made by the same bubblewrap command line; see
`prepared/parent.py` for how it comes there. What a job can tell: its parent's process id is 0, a shell that waits is
in its process table, the modules of `preload` are imported already, and its hash seed and its memory's layout are those
of the other jobs of its image.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from localaws.engine.images import Image
from localaws.engine.sandbox import python_paths

log = logging.getLogger("localaws.warm")

T = TypeVar("T")
InStarter = Callable[[Callable[[], subprocess.Popen[bytes]]], subprocess.Popen[bytes]]
PREPARE_SECONDS = 120.0  # the imports of a parent
ORDER_SECONDS = 30.0  # from an order to the process that runs it
NO_HOME = "/nonexistent"
KEPT = 4  # parents that are kept at once; each has the memory of its libraries
# Read when Python or a library starts: a job that sets one of them otherwise than its image is started cold.
STARTUP = re.compile(
    r"(PYTHON|LD_|GLIBC_|MALLOC_|OMP_|GOMP_|KMP_|OPENBLAS_|GOTO_|MKL_|BLIS_|NUMEXPR_|NPY_|NUMPY_|SCIPY_|SKLEARN_|XGBOOST_"
    r"|PANDAS_|ARROW_|JE_|JOBLIB_|LOKY_|CUDA_|NVIDIA_|LC_|LANG|TZ|LOCPATH).*"
)


class NotWarm(Exception):
    """An order that a parent could not carry out; nothing of the job has run."""


class Forked:
    """A process that a parent has forked, with as much of subprocess.Popen as the runner uses."""

    def __init__(self, told: socket.socket, output: int, pid: int, on_end: Callable[[], None]) -> None:
        self.pid = pid
        self.stdout = os.fdopen(output, "rb")
        self._told = told
        self._ended = threading.Event()
        self._code: int | None = None
        self._on_end = on_end
        threading.Thread(target=self._listen, name=f"forked-{pid}", daemon=True).start()

    def _listen(self) -> None:
        message: dict[str, int] = {}
        with self._told, suppress(OSError, ValueError), self._told.makefile("rb") as lines:
            message = json.loads(lines.readline() or b"{}")
        # A keeper that ended without a word was killed, and the job with it.
        self._code = message.get("exit", 128 + 9)
        self._ended.set()
        self._on_end()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._code if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        assert self._code is not None
        return self._code


class Parent:
    """One prepared Python; `state` is "starting", "ready", "failed" or "gone"."""

    def __init__(self, image: Image, environment: Mapping[str, str], mark: str) -> None:
        self.image = image
        self.environment = dict(environment)
        self._mark = mark
        self.state = "starting"
        self.used = time.monotonic()
        self.decided = threading.Event()
        self._jobs = 0
        self._lock = threading.Lock()
        self._control, self._theirs = socket.socketpair()
        self._popen: subprocess.Popen[bytes] | None = None

    def prepare(self, in_starter: InStarter) -> None:
        """Start it and wait for its imports."""
        try:
            self._popen = in_starter(self._spawn)
            self._theirs.close()
            self._control.settimeout(PREPARE_SECONDS)
            said = self._control.recv(4096)
            self._control.settimeout(None)
            if said != b"ready":
                raise NotWarm(said.decode(errors="replace") or "it ended while it started")
            self._decide("ready")
        except (OSError, NotWarm, RuntimeError) as error:
            if self._decide("failed"):
                log.warning("jobs of image %s are started cold, they cannot be prepared: %s", self.image.name, error)
            self._control.close()
            if self._popen is not None:
                self._popen.kill()
                self._popen.wait()
        finally:
            self.decided.set()

    def _decide(self, state: str) -> bool:
        """Note what came of it; False when it was closed meanwhile, which is why nothing came of it."""
        with self._lock:
            if self.state == "gone":
                return False
            self.state = state
            return True

    def _spawn(self) -> subprocess.Popen[bytes]:
        interpreter = self.image.environment()
        program = Path(__file__).parent / "prepared" / "parent.py"
        return subprocess.Popen(
            [
                *skeleton(interpreter, self._mark),
                str(interpreter),
                str(program),
                str(self._theirs.fileno()),
                *self.image.preload,
            ],
            # What lies in /tmp here is anybody's, and Python runs what it finds in ~/.local.
            env={**self.environment, "HOME": NO_HOME},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._theirs.fileno(),),
        )

    def order(self, order: Mapping[str, object]) -> Forked:
        """Have a job forked; raises NotWarm when that is not possible."""
        text = json.dumps(order).encode()
        ours, theirs = socket.socketpair()
        output, written = os.pipe()
        try:
            with self._lock:
                self.used = time.monotonic()
                socket.send_fds(self._control, [b"x"], [theirs.fileno(), written])
                self._jobs += 1
            theirs.close()
            os.close(written)
            written = -1
            ours.settimeout(ORDER_SECONDS)
            ours.sendall(b"%010d" % len(text) + text)
            said = json.loads(_line(ours) or b'{"error": "it has ended"}')
            if "pid" not in said:
                raise NotWarm(said["error"])
        except (OSError, NotWarm, ValueError) as error:
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                self.state = "gone"
            ours.close()
            theirs.close()
            os.close(output)
            if written >= 0:
                os.close(written)
            else:
                self._ended()
            raise NotWarm(str(error)) from None
        ours.settimeout(None)
        return Forked(ours, output, said["pid"], self._ended)

    def _ended(self) -> None:
        with self._lock:
            self._jobs -= 1

    @property
    def idle(self) -> bool:
        """Whether no job of its runs; jobs die with their parent."""
        with self._lock:
            return self._jobs == 0

    def close(self) -> None:
        """End it."""
        with self._lock:
            self.state = "gone"
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()


def _line(source: socket.socket) -> bytes:
    """One short line, byte by byte: what follows belongs to somebody else."""
    data = b""
    while not data.endswith(b"\n"):
        part = source.recv(1)
        if not part:
            break
        data += part
    return data


def skeleton(interpreter: Path, mark: str) -> list[str]:
    """Where a parent lives: the machine as it is, but for its own program files, which are mounted read-only.

    /proc/self/exe of a forked job leads to the mount that its parent was started from: it must be none that a job
    could write to. Capabilities, in a user namespace where the endpoint is an ordinary user, are for joining sandboxes.
    """
    argv = [
        "bwrap",
        "--unsetenv",
        mark,
        "--die-with-parent",
        "--new-session",
        "--cap-add",
        "ALL",
        "--dev-bind",
        "/",
        "/",
    ]
    for path in python_paths(interpreter):
        argv += ["--ro-bind", str(path), str(path)]
    return [*argv, "--"]


def reads_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that Python or a library looks at when it starts."""
    return {name: value for name, value in environment.items() if STARTUP.fullmatch(name)}


def runs_script(argv: Sequence[str], environment: Mapping[str, str], interpreter: Path) -> bool:
    """Whether a command line is the image's interpreter with a script."""
    if len(argv) < 2 or argv[1].startswith("-"):
        return False
    found = argv[0] if "/" in argv[0] else shutil.which(argv[0], path=environment.get("PATH", ""))
    return (
        found is not None
        and Path(found).parent == interpreter.parent
        and Path(found).resolve() == interpreter.resolve()
    )


class Parents:
    """The parents of one endpoint, made when an image is first used; at most KEPT of them.

    `mark` is in their command lines (see watchdog).
    """

    def __init__(self, in_starter: InStarter, mark: str) -> None:
        self._mark = mark
        self._in_starter = in_starter
        self._parents: dict[tuple[Path, tuple[str, ...], tuple[tuple[str, str], ...]], Parent] = {}
        self._lock = threading.Lock()
        self._closed = False

    def ready(
        self, image: Image, startup: Mapping[str, str], environment: Mapping[str, str], argv: Sequence[str]
    ) -> Parent | None:
        """The parent that can fork this program as a fresh Python would run it; None: it has to be started cold.

        The first call for an image begins to prepare its parent and does not wait for it.
        """
        if not runs_script(argv, environment, image.environment()):
            return None
        if reads_at_start(environment) != reads_at_start(startup):
            return None
        parent = self._of(image, startup)
        return parent if parent is not None and parent.state == "ready" else None

    def wait_ready(self, image: Image, startup: Mapping[str, str], timeout: float) -> bool:
        """Wait until the image's parent is ready; False when it cannot be, or not within `timeout` seconds."""
        parent = self._of(image, startup)
        return parent is not None and parent.decided.wait(timeout) and parent.state == "ready"

    def _of(self, image: Image, startup: Mapping[str, str]) -> Parent | None:
        key = (image.environment(), image.preload, tuple(sorted(startup.items())))
        retired = []
        with self._lock:
            if self._closed:
                return None
            parent = self._parents.get(key)
            if parent is None or parent.state == "gone":
                retired += [] if parent is None else [parent]
                while len(self._parents) >= KEPT and (oldest := self._oldest_idle()) is not None:
                    retired.append(self._parents.pop(oldest))
                parent = self._parents[key] = Parent(image, startup, self._mark)
                threading.Thread(target=parent.prepare, args=(self._in_starter,), daemon=True).start()
        for old in retired:
            old.close()
        return parent

    def _oldest_idle(self) -> tuple[Path, tuple[str, ...], tuple[tuple[str, str], ...]] | None:
        idle = [key for key, parent in self._parents.items() if parent.decided.is_set() and parent.idle]
        return min(idle, key=lambda key: self._parents[key].used, default=None)

    def close(self) -> None:
        """End all parents, and what they have forked."""
        with self._lock:
            self._closed = True
            parents = list(self._parents.values())
            self._parents.clear()
        for parent in parents:
            parent.close()

"""Whatever is killed, whenever: afterwards no process of the stack lives and its ports and its lock are free."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tools.stack import ports, restarts
from tools.stack.progress import Printer
from tools.stack.restarts import Life
from tools.stack.standing import bring_down, show_status
from tools.stack.state import Home, StateFolder

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

DUMMIES = Path(__file__).with_name("dummies.py")
PROJECT = Path(__file__).resolve().parents[3]
GONE_SECONDS = 150.0  # the promise is 30, of a machine that lets the processes run


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Front:
    """A running dummy front and what it has said."""

    def __init__(self, state: Path, stop_at: str = "never", kinds: tuple[str, ...] = ("server", "escaping")) -> None:
        self.state = state
        self.home = Home(StateFolder(state), "run")
        self.token = f"dummy-{secrets.token_hex(8)}"
        self.ports = ports.choose(len(kinds))
        said = [str(state), self.token, stop_at, ",".join(kinds), *map(str, self.ports)]
        argv = [sys.executable, str(DUMMIES), "front", *said]
        self.process = subprocess.Popen(
            argv,
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])},
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, stage: str) -> dict[str, Any]:
        """Read what the front says until it has reached `stage`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said: dict[str, Any] = json.loads(line)
            if said["stage"] == stage:
                return said
        raise AssertionError(f"the front ended before {stage}")

    def members(self) -> list[str]:
        """Living processes with the token in their command line, and guardians of this state."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                mark = process.environ().get("SAGEWIND_STACK", "")
                ours = mark.startswith(f"{StateFolder(self.state).id}.") or self.token in process.cmdline()
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
        return found

    def lives(self) -> dict[str, Life]:
        """What the guardian has noted, by the kind of component."""
        return {name.partition("-")[0]: life for name, life in restarts.read(self.home.components).items()}

    def until_restarted(self, kind: str, times: int) -> Life:
        """Wait until a component runs after it was started again so often, and listens."""

        def runs() -> bool:
            life = self.lives()[kind]
            return life.pid is not None and life.restarts == times

        eventually(runs, GONE_SECONDS, f"{kind} was not started again: {self.lives()}")
        return self.lives()[kind]

    def check_gone(self) -> None:
        """Nothing of the stack is left."""
        deadline = time.monotonic() + GONE_SECONDS
        self.process.wait(GONE_SECONDS)
        eventually(lambda: not self.members(), deadline - time.monotonic(), f"still alive: {self.members()}")
        # A process that ends loses its environment before its files: ports and lock may be held a moment longer.
        assert ports.wait_free(self.ports, deadline - time.monotonic()) == []
        eventually(self.is_free, deadline - time.monotonic(), "the lock is still held")

    def is_free(self) -> bool:
        """Whether nobody holds the state's lock."""
        with (self.home.root / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Front]]:
    fronts: list[Front] = []

    def make(**options: Any) -> Front:
        fronts.append(Front(tmp_path / "state", **options))
        return fronts[-1]

    yield make
    for front in fronts:
        front.process.kill()
        front.process.wait()
        assert front.process.stdout is not None
        front.process.stdout.close()


@pytest.mark.parametrize("stage", ["locked", "spawned", "half", "ready"])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_front_is_killed(start: Callable[..., Front], stage: str, signum: signal.Signals) -> None:
    front = start(stop_at=stage)
    front.until(stage)
    front.process.send_signal(signum)
    front.check_gone()
    assert front.process.returncode == (-signum if signum == signal.SIGKILL else 128 + signum)


@pytest.mark.parametrize("stage", ["spawned", "half", "ready"])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize("victim", ["guardian", "warden"])
def test_guardian_or_warden_is_killed(
    start: Callable[..., Front], stage: str, signum: signal.Signals, victim: str
) -> None:
    front = start()
    os.kill(front.until(stage)[victim], signum)
    front.check_gone()
    assert front.process.returncode == 2, "the front says that the guardian has gone"


@pytest.mark.parametrize("victims", [("front", "guardian"), ("guardian", "warden"), ("front", "warden")], ids="+".join)
def test_two_are_killed_at_once(start: Callable[..., Front], victims: tuple[str, ...]) -> None:
    front = start()
    pids = {**front.until("ready"), "front": front.process.pid}
    for victim in victims:
        os.kill(pids[victim], signal.SIGKILL)
    front.check_gone()


def test_all_three_are_killed_and_the_next_start_works(start: Callable[..., Front]) -> None:
    # One dummy: a process without environment, session or parents of ours cannot be found once all three are gone.
    front = start(kinds=("server",))
    pids = {**front.until("half"), "front": front.process.pid}
    for victim in ("warden", "guardian", "front"):
        os.kill(pids[victim], signal.SIGKILL)
    front.process.wait()
    following = start(stop_at="half", kinds=("server",))
    following.until("half")
    eventually(lambda: not any(front.token in line for line in front.members()), GONE_SECONDS, "not swept")
    assert ports.wait_free(front.ports, GONE_SECONDS) == []
    following.process.terminate()
    following.check_gone()


def test_the_next_start_waits_for_a_stack_that_is_ending(start: Callable[..., Front]) -> None:
    front = start()
    front.until("ready")
    front.process.kill()
    following = start()
    following.until("ready")
    assert not any(front.token in line for line in front.members())
    following.process.terminate()
    following.check_gone()


def test_a_second_stack_on_the_same_state_is_refused(start: Callable[..., Front]) -> None:
    front = start()
    front.until("ready")
    second = start()
    assert second.process.wait(GONE_SECONDS) != 0
    assert front.process.poll() is None
    front.process.terminate()
    front.check_gone()


def test_a_component_that_ends_at_once_and_again_ends_the_start_and_is_named_with_its_log(
    start: Callable[..., Front],
) -> None:
    front = start(kinds=("failing",))
    sentence = front.until("error")["sentence"]
    port = front.ports[0]
    log = front.home.logs / f"failing-{port}.log"
    said = " | ".join([f"cannot use {port}"] * 3)
    assert sentence == f"The component failing-{port} ended with exit code 1; its last lines: {said} (log: {log})."
    front.check_gone()
    screen = (front.state / "screen").read_text()
    assert f"failing-{port} ended with exit code 1: started again in 1 s (log: {log})" in screen
    assert f"failing-{port} ended with exit code 1: started again in 2 s (log: {log})" in screen


def test_a_killed_component_is_started_again_with_what_it_left_ended_before(start: Callable[..., Front]) -> None:
    front = start()
    front.until("ready")
    # The server's worker and the escaped grandchild hold the ports: who is started again must find them free.
    before = {process.pid for process in tokens(front.token)}
    lives = front.lives()
    other = psutil.Process(lives["server"].pid)
    spared = {other.pid, *(child.pid for child in other.children(recursive=True))}
    for kind, times in (("escaping", 1), ("escaping", 2)):
        os.kill(front.lives()[kind].pid or 0, signal.SIGKILL)
        front.until_restarted(kind, times)
        eventually(lambda: not ports.is_free(front.ports[1]), GONE_SECONDS, "the lonely server was not started again")
    assert {process.pid for process in tokens(front.token)} & before == spared | {front.process.pid}
    screen = front.state / "screen"
    eventually(lambda: screen.read_text().count("runs again") == 2, GONE_SECONDS, "the front does not tell of it")
    assert screen.read_text().count("was killed by signal 9: started again in") == 2
    front.process.terminate()
    front.check_gone()


def test_a_detached_stack_mends_itself_and_the_status_tells(start: Callable[..., Front]) -> None:
    front = start(stop_at="detached", kinds=("server",))
    front.until("detached")
    assert status(front) == (0, [])
    name, log = f"server-{front.ports[0]}", front.home.logs / f"server-{front.ports[0]}.log"
    os.kill(front.lives()["server"].pid or 0, signal.SIGKILL)
    front.until_restarted("server", 1)
    code, (said,) = status(front)
    assert code == 0
    assert said.startswith(f"run: {name} was started again once, last at ")
    assert said.endswith(f", because it was killed by signal 9 (log: {log}).")
    assert bring_down(StateFolder(front.state), Printer(io.StringIO())) == 0
    front.check_gone()
    assert not front.home.components.exists()


def status(front: Front) -> tuple[int, list[str]]:
    """Exit code of `make status` and what it says of the components."""
    out = io.StringIO()
    code = show_status(StateFolder(front.state), Printer(out))
    return code, [line for line in out.getvalue().splitlines() if line.startswith("run:")][1:]


def tokens(token: str) -> list[psutil.Process]:
    """Living processes with the token in their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if token in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found

"""Whatever is killed, whenever: afterwards no process of the stack lives and its ports and its lock are free."""

from __future__ import annotations

import contextlib
import fcntl
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

from include.stack import ports
from include.stack.state import Home, State

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

DUMMIES = Path(__file__).with_name("dummies.py")
PROJECT = Path(__file__).resolve().parents[2]
GONE_SECONDS = 150.0  # the promise is 30, of a machine that lets the processes run


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


class Front:
    """A running dummy front and what it has said."""

    def __init__(self, state: Path, stop_at: str = "never", token: str | None = None, count: int = 2) -> None:
        self.state = state
        self.token = token or f"dummy-{secrets.token_hex(8)}"
        self.ports = ports.choose(count)
        argv = [sys.executable, str(DUMMIES), "front", str(state), self.token, stop_at, *map(str, self.ports)]
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
                ours = mark.startswith(f"{State(self.state).id}.") or self.token in process.cmdline()
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
        return found

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
        with (Home(State(self.state), "run").root / "lock").open() as lock:
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
    front = start(count=1)
    pids = {**front.until("half"), "front": front.process.pid}
    for victim in ("warden", "guardian", "front"):
        os.kill(pids[victim], signal.SIGKILL)
    front.process.wait()
    following = start(stop_at="half", count=1)
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


def test_a_component_that_dies_is_named_with_its_log(start: Callable[..., Front]) -> None:
    front = start()
    front.until("ready")
    dead = next(
        process
        for process in psutil.process_iter()
        if "server" in _cmdline(process) and front.token in _cmdline(process) and _is_component(process)
    )
    dead.kill()
    sentence = front.until("error")["sentence"]
    assert sentence.startswith(f"The component server-{front.ports[0]} was killed by signal 9")
    assert "server-" in sentence.rpartition("log: ")[2]
    front.check_gone()


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        found: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return found


def _is_component(process: psutil.Process) -> bool:
    parent = process.parent()
    return parent is not None and "include.stack.guardian" in _cmdline(parent)

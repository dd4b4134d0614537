"""`up`, `down` and `status`: a stack that stays until it is told to end."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import psutil

from tools.stack import restarts
from tools.stack.errors import StackError
from tools.stack.launch import LaunchPlan, Stack, stack_prefix, sweep
from tools.stack.links import reach
from tools.stack.ports import wait_free
from tools.stack.processes import Mark, members
from tools.stack.progress import Printer
from tools.stack.restarts import Life, death_sentence
from tools.stack.state import Home, StateFolder, is_alive, take_lock
from tools.stack.supervision import Signals

END_SECONDS = 60.0
KINDS = ("up", "run")


def already_up(home: Home, printer: Printer) -> bool:
    """Whether a stack is up on `home`; says so."""
    record = home.read_record()
    if not record or not record.get("detached") or not is_alive(record.get("warden")):
        return False
    printer.plain(f"The stack is up already.\n{reach(home)}")
    return True


def bring_up(plan: LaunchPlan, printer: Printer, signals: Signals) -> int:
    """Start a stack and leave it running."""
    with Stack(plan, signals, printer) as stack:
        stack.start()
        stack.detach()
    printer.plain(f"\n{reach(plan.home)}")
    return 0


def bring_down(state: StateFolder, printer: Printer) -> int:
    """End every detached stack of the state folder and make sure that nothing of it is left."""
    ended = [_end(Home(state, kind), printer) for kind in KINDS]
    if not any(ended):
        printer.plain(f"Nothing is up on {state.root}.")
    return 0


def _end(home: Home, printer: Printer) -> bool:
    if not home.root.exists():
        return False
    record = home.read_record()
    if record and not record.get("detached") and is_alive(record.get("front")):
        front = record["front"]["pid"]
        printer.plain(
            f"A run on {home.root} is in progress (process {front}): it ends by itself, or with Ctrl-C there."
        )
        return True
    found = record is not None or any(members(Mark(f"{stack_prefix(home)}.", any_run=True), descendants=False))
    for role in ("guardian", "warden"):
        if record and is_alive(record.get(role)):
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(int(record[role]["pid"])).terminate()
            break
    if record:
        home.write_record(**{**record, "detached": False, "front": None})
    with contextlib.closing(take_lock(home, END_SECONDS)):
        sweep(home)
        _check_ports(record)
        home.remove_record()
    if found:
        printer.plain(f"Ended the stack on {home.root}: no process of it is left and its ports are free.")
    return found


def _check_ports(record: dict[str, Any] | None) -> None:
    taken = wait_free((record or {}).get("ports", []))
    if taken:
        raise StackError(f"The stack has ended but its port {taken[0]} is taken (by another program?).")


def show_status(state: StateFolder, printer: Printer) -> int:
    """Say what is up; 0 if everything that should run does, 1 if nothing is up or a part of it has died."""
    found = [_status(Home(state, kind), printer) for kind in KINDS]
    known = [healthy for healthy in found if healthy is not None]
    if not known:
        printer.plain(f"Nothing is up on {state.root}.")
    return 0 if known and all(known) else 1


def _status(home: Home, printer: Printer) -> bool | None:
    """Whether the stack of `home` is in order; None if there is none."""
    record = home.read_record()
    if not record:
        return None
    if not is_alive(record.get("guardian")) or not is_alive(record.get("warden")):
        printer.plain(
            f"DOWN: the guardian of this stack ({home.kind}) was killed, and with it everything: `make down` removes "
            "what is left, `make up` starts it anew."
        )
        return False
    lives = restarts.read(home.components)
    down = {name for name, life in lives.items() if life.fails(time.time())}
    for name in sorted(down):
        printer.plain(f"DOWN: {_failing(name, lives[name])}")
    since = _clock(record["warden"]["created"])
    printer.plain(f"{home.kind}: {record['url']} and {record['aws']} since {since}, logs in {home.logs}")
    if record.get("detached"):
        printer.plain(reach(home))
    for name, life in lives.items():
        if life.lasting and life.ended is not None and name not in down:
            printer.plain(
                f"{home.kind}: {name} was started again {_times(life.restarts)}, last at {_clock(life.since or 0.0)}, "
                f"because it {life.how()} (log: {life.log})."
            )
    return not down


def _failing(name: str, life: Life) -> str:
    """How a component that should run has ended, and when it is tried again. Of a killed one the log says nothing."""
    killed = life.code is not None and life.code < 0
    died = death_sentence(name, life.how(), Path(life.log), lines=0 if killed else 3)
    if life.ended is None:
        return died
    again = "has just been tried again" if life.pid else f"is tried again at {_clock(life.ended + life.pause)}"
    return f"{died} Last end: {_clock(life.ended)}, number {life.in_a_row} in a row; it {again}."


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))

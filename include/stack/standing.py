"""`up`, `down` and `status`: a stack that stays until it is told to end."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import psutil

from include.stack.errors import StackError
from include.stack.launch import Plan, Stack, stack_prefix, sweep
from include.stack.ports import wait_free
from include.stack.processes import Mark, members
from include.stack.progress import Printer
from include.stack.rehearsal import reach
from include.stack.state import Home, State, is_alive, take_lock
from include.stack.supervision import Signals

END_SECONDS = 60.0
KINDS = ("up", "run")


def already_up(home: Home, printer: Printer) -> bool:
    """Whether a stack is up on `home`; says so."""
    record = home.read_record()
    if not record or not record.get("detached") or not is_alive(record.get("warden")):
        return False
    printer.plain(f"The stack is up already at {record['url']} (`make down` ends it).")
    return True


def bring_up(plan: Plan, printer: Printer, signals: Signals) -> int:
    """Start a stack and leave it running."""
    with Stack(plan, signals, printer) as stack:
        stack.start()
        stack.detach()
    printer.plain(reach(plan, stack))
    return 0


def bring_down(state: State, printer: Printer) -> int:
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
        home.record.unlink(missing_ok=True)
    if found:
        printer.plain(f"Ended the stack on {home.root}: no process of it is left and its ports are free.")
    return found


def _check_ports(record: dict[str, Any] | None) -> None:
    taken = wait_free((record or {}).get("ports", []))
    if taken:
        raise StackError(f"The stack has ended but its port {taken[0]} is taken (by another program?).")


def show_status(state: State, printer: Printer) -> int:
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
        printer.plain(f"{home.kind}: the stack has been killed; `make down` removes what is left of it.")
        return False
    dead = [name for name, pid in _lasting(record) if not psutil.pid_exists(pid)]
    since = time.strftime("%H:%M:%S", time.localtime(record["warden"]["created"]))
    printer.plain(f"{home.kind}: {record['url']} and {record['aws']} since {since}, logs in {home.logs}")
    for name in dead:
        printer.plain(f"{home.kind}: {name} has died, see {home.logs / f'{name}.log'}; `make down` and start again.")
    return not dead


def _lasting(record: dict[str, Any]) -> list[tuple[str, int]]:
    """The components that run as long as the stack (not the steps of its start)."""
    steps = {"db", "images"}
    return [(name, int(pid)) for name, pid in record.get("components", {}).items() if name not in steps]

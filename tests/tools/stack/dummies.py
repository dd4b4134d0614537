"""Small programs that stand in for Airflow and localaws where only supervision is tested.

`python tests/tools/stack/dummies.py front STATE TOKEN STAGE PORT...` is a front: it starts dummy components and says
where it is; at STAGE it waits for ever. The components behave as badly as the real ones can: they ignore SIGTERM, fork
workers, leave the session, clean their environment. Every process of them carries TOKEN in its command line. What
the front tells its user goes to STATE/screen.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.stack.errors import Interrupted, StackError
from tools.stack.launch import stack_prefix, sweep
from tools.stack.progress import Printer
from tools.stack.state import Home, StateFolder, process_facts, take_lock
from tools.stack.supervision import ComponentSpec, Signals, Supervision

HERE = str(Path(__file__))
PR_SET_DUMPABLE = 4
GRACE = 1.0
"""Seconds that the dummies get to end: those that ignore SIGTERM use all of them."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def failing(token: str, port: str) -> None:
    """Ends at once, whenever it is started."""
    say(f"listening {port}")
    sys.exit(f"cannot use {port}")


def wait_for_ever() -> None:
    # Not signal.pause(): a signal that comes just before it is handled by Python only when another one comes.
    while True:
        time.sleep(0.2)


def server(token: str, port: str) -> None:
    """Listens, ignores SIGTERM, and has a forked worker that holds the port and hides its environment."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(port)))
    listener.listen()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        wait_for_ever()
    say(f"listening {port}")
    wait_for_ever()


def escaping(token: str, port: str) -> None:
    """Starts a server in a session of its own with an empty environment, whose parent ends at once."""
    middle = [sys.executable, "-c", "import subprocess, sys; subprocess.Popen(sys.argv[1:], env={})"]
    lonely = [sys.executable, "-c", _LONELY, token, port]
    subprocess.run([*middle, *lonely], start_new_session=True, check=True)
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", int(port))):
            pass
    say(f"listening {port}")
    wait_for_ever()


_LONELY = """
import os, signal, socket, sys
os.setsid() if os.getpid() != os.getsid(0) else None
signal.signal(signal.SIGTERM, signal.SIG_IGN)
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[2]))); s.listen()
while True: signal.pause()
"""


def said_by(supervision: Supervision, name: str) -> list[str] | None:
    return supervision.output(name) or None


def front(state: str, token: str, stop_at: str, kinds: str, *ports: str) -> None:
    """The stages are `locked`, `spawned`, `half`, `ready`. At `detached` the front leaves the stack and ends."""
    signals = Signals()
    signals.install()
    home = Home(StateFolder(Path(state)), "run")
    lock = take_lock(home)
    home.make_folders()
    sweep(home)
    said: dict[str, object] = {}

    def stage(name: str) -> None:
        say(json.dumps({"stage": name, **said}))
        if name == stop_at:
            wait_for_ever()

    try:
        stage("locked")
        log = home.logs / "guardian.log"
        screen = Printer((Path(state) / "screen").open("w"))
        mark = Supervision.new_id(stack_prefix(home))
        with Supervision(mark, lock, signals, log, home.components, grace=GRACE, printer=screen) as supervision:
            said["warden"] = supervision.warden
            warden = process_facts(supervision.warden)
            home.write_record(front=process_facts(os.getpid()), warden=warden, detached=False)
            said["guardian"] = supervision.wait("guardian", lambda: supervision.pids().get("guardian"), 120)
            stage("spawned")
            for index, (kind, port) in enumerate(zip(kinds.split(","), ports, strict=True)):
                argv = [sys.executable, HERE, kind, token, port]
                name = f"{kind}-{port}"
                supervision.start(ComponentSpec(name, argv, dict(os.environ), home.logs / f"{name}.log", capture=True))
                supervision.wait(name, partial(said_by, supervision, name), 120)
                stage("half" if index == 0 else "ready")
            if stop_at == "detached":
                guardian = process_facts(supervision.pids()["guardian"])
                home.write_record(warden=warden, guardian=guardian, detached=True, url="airflow", aws="aws")
                supervision.detach()
                return say(json.dumps({"stage": "detached"}))
            supervision.wait("the end", lambda: None, 3600)
    except Interrupted as interrupted:
        sys.exit(128 + interrupted.signum)
    except StackError as error:
        say(json.dumps({"stage": "error", "sentence": str(error)}))
        sys.exit(2)


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {
        "front": front, "server": server, "escaping": escaping, "failing": failing
    }  # fmt: skip
    programs[sys.argv[1]](*sys.argv[2:])

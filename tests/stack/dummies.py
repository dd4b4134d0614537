"""Small programs that stand in for Airflow and localaws where only supervision is tested.

`python tests/stack/dummies.py front STATE TOKEN STAGE PORT...` is a front: it starts dummy components and says where it
is; at STAGE it waits for ever. The components behave as badly as the real ones can: they ignore SIGTERM, fork workers,
leave the session, clean their environment. Every process of them carries TOKEN in its command line.
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

from include.stack.errors import Interrupted, StackError
from include.stack.launch import stack_prefix, sweep
from include.stack.state import Home, State, process_facts, take_lock
from include.stack.supervision import Component, Signals, Supervision

HERE = str(Path(__file__))
PR_SET_DUMPABLE = 4
GRACE = 1.0
"""Seconds that the dummies get to end: those that ignore SIGTERM use all of them."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


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


def front(state: str, token: str, stop_at: str, *ports: str) -> None:
    """The stages are `locked`, `spawned`, `half`, `ready`."""
    signals = Signals()
    signals.install()
    home = Home(State(Path(state)), "run")
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
        with Supervision(Supervision.new_id(stack_prefix(home)), lock, signals, log, GRACE) as supervision:
            said["warden"] = supervision.warden
            warden = process_facts(supervision.warden)
            home.write_record(front=process_facts(os.getpid()), warden=warden, detached=False)
            said["guardian"] = supervision.wait("guardian", lambda: supervision.pids().get("guardian"), 120)
            stage("spawned")
            kinds = ["server", "escaping"]
            for index, port in enumerate(ports):
                kind = kinds[index % 2]
                argv = [sys.executable, HERE, kind, token, port]
                name = f"{kind}-{port}"
                supervision.start(Component(name, argv, dict(os.environ), home.logs / f"{name}.log", capture=True))
                supervision.wait(name, partial(said_by, supervision, name), 120)
                stage("half" if index == 0 else "ready")
            supervision.wait("the end", lambda: None, 3600)
    except Interrupted as interrupted:
        sys.exit(128 + interrupted.signum)
    except StackError as error:
        say(json.dumps({"stage": "error", "sentence": str(error)}))
        sys.exit(2)


if __name__ == "__main__":
    programs: dict[str, Callable[..., None]] = {"front": front, "server": server, "escaping": escaping}
    programs[sys.argv[1]](*sys.argv[2:])

"""A program of its own (standard library only): run a command, and end it when the endpoint is gone.

    python -I supervise.py FD LIMITS -- command...

LIMITS is what `Limits.as_data` gives, as JSON. FD is the reading end of a pipe whose other end the endpoint holds: each
byte in it is the number of a signal for the command; when it closes, for whatever reason, the command and everything it
started in its session are killed.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path


def prefer(oom_score: int) -> None:
    """Let the kernel end this process, and what it starts, before the endpoint when memory runs out."""
    with contextlib.suppress(OSError):  # the machine knows no such preference
        Path("/proc/self/oom_score_adj").write_text(str(oom_score), encoding="ascii")


def main() -> int:
    """Return the command's exit code, 128 + n after signal n."""
    watched = int(sys.argv[1])
    limits = json.loads(sys.argv[2])
    for name, number in limits["resources"].items():
        resource.setrlimit(getattr(resource, name), (number, number))
    # Before the program begins, not after: what it has forked by then would keep the supervisor's own preference.
    child = subprocess.Popen(sys.argv[4:], start_new_session=True, preexec_fn=lambda: prefer(limits["oom_score"]))

    def end_all() -> None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # the latter is what macOS says of a group of zombies
            return

    def watch() -> None:
        while said := os.read(watched, 1):
            child.send_signal(said[0])
        end_all()

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    end_all()
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())

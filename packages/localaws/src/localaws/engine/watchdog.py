"""A program of its own (standard library only): kill the sandboxes of an endpoint that was killed.

    python -I -S watchdog.py FD MARK

FD is the reading end of a pipe whose other end the endpoint holds. A byte means that it ends in order. When the pipe
closes without one, every process with MARK in its command line is killed. Bubblewrap dies with the endpoint, but a
moment of its set-up is left open: when it is killed between making its child and letting it go on, the child waits for
ever.
"""

import os
import signal
import sys
import time

PAUSE = 0.05  # seconds
QUIET = 20  # looks without a find: what was just being started has begun by then


def main() -> int:
    """Wait for the end of the endpoint; clean up when it was none in order."""
    if os.read(int(sys.argv[1]), 1):
        return 0
    quiet = 0
    while quiet < QUIET:
        quiet = 0 if kill_all(os.fsencode(sys.argv[2])) else quiet + 1
        time.sleep(PAUSE)
    return 0


def kill_all(mark: bytes) -> int:
    """Kill all processes with the mark as an argument; how many there were."""
    found = 0
    for name in os.listdir("/proc"):  # noqa: PTH208 - a small program that starts fast
        if name.isdigit() and int(name) != os.getpid() and marked(name, mark):
            try:
                handle = os.pidfd_open(int(name))
            except ProcessLookupError:
                continue
            # Looked at again: between the two the number may have gone to another process.
            if marked(name, mark):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                found += 1
            os.close(handle)
    return found


def marked(pid: str, mark: bytes) -> bool:
    """Whether a process has the mark as an argument; a zombie has none."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
            return mark in file.read().split(b"\0")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())

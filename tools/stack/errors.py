"""What can go wrong for the user of the stack, each as one sentence."""

from __future__ import annotations

import errno
import shutil
import signal
from pathlib import Path


class StackError(Exception):
    """A sentence that says what is wrong, where, what was found and what to do."""


class Unanswered(StackError):
    """A server of the stack has not answered, or only with a fault of its own: it may be starting (again) or busy, so
    it is worth asking again."""


class ComponentDied(StackError):
    """The guardian, a step of the start, or a component that ends again and again: the stack cannot go on."""


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP reached the command; not an `Exception`, so that no handler swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


MINIMUM_FREE_BYTES = 512 * 1024 * 1024
"""What a run needs at the least: a database, logs, the objects of the local S3 (image environments come on top)."""


def check_free_space(folder: Path, minimum: int = MINIMUM_FREE_BYTES) -> None:
    """Refuse to start on a nearly full disk: SQLite and S3 objects torn in the middle are worse than no start."""
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < minimum:
        raise StackError(
            f"Only {free // 2**20} MiB are free on the disk of {folder} and a run needs {minimum // 2**20} MiB: "
            "free some space, or name a folder on another disk with --state DIR."
        )


def disk_full(error: OSError, folder: Path) -> StackError | None:
    """The sentence for a disk or quota that filled up while running; None if `error` is something else."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    where = error.filename or folder
    return StackError(f"The disk is full (writing {where}): free some space on the disk of {folder} and run again.")

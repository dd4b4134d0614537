"""A job's directory kept equal to an S3 prefix while the job runs: checkpoints, outputs uploaded continuously.

The program can rename, replace and remove what is looked at here, at any moment, and the endpoint looks from outside
of its sandbox. So nothing is found by a path: every directory and file is opened by its name in the directory that
holds it, which is open already, no link is followed, and what is uploaded are the bytes of the open file.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from localaws.coverage import Behaviour
from localaws.engine.spec import ML
from localaws.jobs import s3data
from localaws.jobs.execution import settled
from localaws.jobs.outcome import JobError
from localaws.s3 import S3Error
from localaws.s3.objects import ObjectMeta

if TYPE_CHECKING:
    from localaws.s3.store import S3Store

PERIOD = 1.0  # seconds between two looks at the directory
COPY_CHUNK = 8 << 20
DEEPEST = 100  # directories within each other that are looked at; each of them is kept open meanwhile
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
REGULAR = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC  # NONBLOCK: a FIFO would make the open wait
LINK = (errno.ELOOP, errno.ENOTDIR)  # what opening a symbolic link with NOFOLLOW says
VANISHED = (errno.ENOENT, errno.ELOOP)  # what opening a file says that has just been renamed, removed or replaced
Stamp = tuple[int, int]  # time of the last change in ns, size in bytes

BEHAVIOURS = (
    Behaviour(
        "checkpoints: what is in S3 is there when the job starts, new files go to S3 while it runs, deleted files are "
        "deleted in S3, what is added in S3 later does not come",
        "documented",
        "developer guide, Checkpoints in Amazon SageMaker AI",
    ),
    Behaviour(f"the directory is looked at every {PERIOD:.0f} s and once more when the program has ended", "assumed"),
    Behaviour(
        "a file that is renamed or removed while it is looked at stays in S3 as it was until the next look; "
        f"directories lie at most {DEEPEST} deep",
        "assumed",
    ),
    Behaviour("several hosts share the one prefix; a host deletes only what it had", "assumed"),
    Behaviour("Continuous output of a processing job: files stay in S3 when the job fails", "assumed"),
)


class FolderSync:
    """One directory below a job's `home` and one prefix: `restore` before, `sync` as often as wanted, one at a time.

    With `delete` an object is removed when its file is; without, S3 keeps it.
    """

    def __init__(self, s3: S3Store, home: Path, root: Path, uri: str, *, delete: bool) -> None:
        self._s3 = s3
        self._home = home
        self._root = root
        self._uri = uri
        self._delete = delete
        self._known: dict[str, Stamp] = {}

    def restore(self) -> int:
        """Copy what the prefix holds into the directory; returns how many files, raises JobError.

        Copies, not links: a program may go on writing into its checkpoints.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        bucket, prefix = s3data.split(s3data.join(self._uri, ""))
        count = 0
        try:
            for key in list(self._s3.iter_keys(bucket, prefix)):
                place = s3data.relative(key, prefix)
                if key.endswith("/") or ".." in place.parts or place.is_absolute():
                    continue
                dest = self._root / place
                dest.parent.mkdir(parents=True, exist_ok=True)
                with self._s3.open(bucket, key) as source, dest.open("wb") as target:
                    shutil.copyfileobj(source, target, COPY_CHUNK)
                self._known[place.as_posix()] = _stamp(dest.stat())
                count += 1
        except (S3Error, OSError) as error:
            raise JobError("ClientError", f"Data download failed: {error} ({self._uri})") from None
        return count

    def sync(self, *, running: bool = False) -> None:
        """Bring the prefix up to date with the directory; raises JobError when S3 does not take it.

        While the program is `running`, what vanishes before it is open is what the program has just renamed or
        removed: it stays in S3, and the next look decides.
        """
        settled(self._home, self._root)
        found = self._look(running)
        if self._delete:
            for name in self._known.keys() - found.keys():
                with suppress(S3Error):
                    self._s3.delete(*s3data.split(s3data.join(self._uri, name)))
        self._known = found

    def _look(self, running: bool) -> dict[str, Stamp]:
        """The files that are there, now also in S3; raises JobError."""
        found: dict[str, Stamp] = {}
        missed: list[OSError] = []  # directories that could not be looked into: nobody knows what is still there
        try:
            top = _open_below(self._home, self._root)
        except FileNotFoundError:
            return self._known if running else {}
        try:
            for folder, folders, names, descriptor in os.fwalk(".", onerror=missed.append, dir_fd=top):
                place = PurePosixPath(folder)
                _check_depth(place)
                folders.sort()
                for name in sorted(names):
                    stamp = self._stamp_uploaded((place / name).as_posix(), name, descriptor, running)
                    if stamp is not None:
                        found[(place / name).as_posix()] = stamp
        finally:
            os.close(top)
        return {**self._known, **found} if missed else found

    def _stamp_uploaded(self, path: str, name: str, folder: int, running: bool) -> Stamp | None:
        """The stamp of what S3 holds of a file when this is over; None for what is no regular file."""
        try:
            seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(seen.st_mode):
                return None
            if self._known.get(path) == _stamp(seen):
                return _stamp(seen)
            descriptor = os.open(name, REGULAR, dir_fd=folder)
        except OSError as error:
            if running and error.errno in VANISHED:
                return self._known.get(path)
            raise JobError("ClientError", f"Upload to {s3data.join(self._uri, path)} failed: {error}") from None
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            opened = os.fstat(descriptor)
            if not stat.S_ISREG(opened.st_mode):
                return None
            self._put(path, file, opened.st_size)
        return _stamp(opened)

    def _put(self, path: str, file: FileIO, size: int) -> None:
        uri = s3data.join(self._uri, path)
        try:
            self._s3.put_stream(*s3data.split(uri), _chunks(file, size), verify=lambda _digests, _size: ObjectMeta())
        except (S3Error, OSError, ValueError) as error:
            raise JobError("ClientError", f"Upload to {uri} failed: {error}") from None


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_size


def _chunks(file: FileIO, left: int) -> Iterator[bytes]:
    """At most `left` bytes: a file that grows as fast as it is read would have no end."""
    while left > 0 and (chunk := file.read(min(left, COPY_CHUNK))):
        left -= len(chunk)
        yield chunk


def _open_below(home: Path, root: Path) -> int:
    """A descriptor of a directory below `home`; raises FileNotFoundError, and JobError for a link on the way."""
    below = root.relative_to(home)
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in below.parts:
        try:
            inner = os.open(part, DIRECTORY, dir_fd=descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            why = "is or lies behind a symbolic link" if error.errno in LINK else f"cannot be read ({error.strerror})"
            raise JobError("ClientError", f"{ML}/{below.as_posix()} {why}: it is not uploaded") from None
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _check_depth(place: PurePosixPath) -> None:
    if len(place.parts) > DEEPEST:
        raise JobError("ClientError", f"Upload failed: more than {DEEPEST} directories lie within each other")

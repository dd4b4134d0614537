"""A job's directory kept equal to an S3 prefix while the job runs: checkpoints, outputs uploaded continuously."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from include.localaws.coverage import Behaviour
from include.localaws.jobs import s3data
from include.localaws.jobs.execution import settled
from include.localaws.jobs.outcome import JobError
from include.localaws.s3 import S3Error

if TYPE_CHECKING:
    from include.localaws.s3.store import S3Store

PERIOD = 1.0  # seconds between two looks at the directory
COPY_CHUNK = 8 << 20

BEHAVIOURS = (
    Behaviour(
        "checkpoints: what is in S3 is there when the job starts, new files go to S3 while it runs, deleted files are "
        "deleted in S3, what is added in S3 later does not come",
        "documented",
        "developer guide, Checkpoints in Amazon SageMaker AI",
    ),
    Behaviour(f"the directory is looked at every {PERIOD:.0f} s and once more when the program has ended", "assumed"),
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
        self._known: dict[str, tuple[int, int]] = {}

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
                self._known[place.as_posix()] = _stamp(dest)
                count += 1
        except (S3Error, OSError) as error:
            raise JobError("ClientError", f"Data download failed: {error} ({self._uri})") from None
        return count

    def sync(self) -> None:
        """Bring the prefix up to date with the directory; raises JobError when S3 does not take it."""
        found: dict[str, tuple[int, int]] = {}
        settled(self._home, self._root)
        for path in s3data.files(self._root):
            name = path.relative_to(self._root).as_posix()
            try:
                stamp = _stamp(path)
                if self._known.get(name) != stamp:
                    s3data.put(self._s3, s3data.join(self._uri, name), path, move=False)
            except (FileNotFoundError, JobError):
                if path.exists():
                    raise
                continue  # a file that the program has just renamed or removed
            found[name] = stamp
        if self._delete:
            for name in self._known.keys() - found.keys():
                with suppress(S3Error):
                    self._s3.delete(*s3data.split(s3data.join(self._uri, name)))
        self._known = found


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size

"""Archives of users, unpacked without paths outside, links, devices, foreign owners or setuid bits."""

from __future__ import annotations

import tarfile
from pathlib import Path


class UnsafeMember(tarfile.FilterError):
    """A member of an archive that is not unpacked; the message names it and says why."""

    def __init__(self, member: tarfile.TarInfo, why: str) -> None:
        self.tarinfo = member
        super().__init__(f"{member.name!r} {why}")


def plain(member: tarfile.TarInfo, target: str) -> tarfile.TarInfo | None:
    """Python's `data` filter, and no links at all.

    A link inside the archive can be made to point outside in more ways than a filter sees (CVE-2025-4517 and its
    kin went through the `data` filter itself), and a model has no need of one.
    """
    if member.issym() or member.islnk():
        raise UnsafeMember(member, f"is a link to {member.linkname!r}: put the file itself into the archive")
    return tarfile.data_filter(member, target)


def extract(archive: tarfile.TarFile, target: Path) -> None:
    """Unpack everything below `target`; raises tarfile.TarError, of which UnsafeMember is one, or OSError."""
    archive.extractall(target, filter=plain)  # noqa: S202 - that is what the filter is for

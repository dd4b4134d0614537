"""Hostile archives leave nothing behind outside, whatever Python's own filter thinks of them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from localaws.archives import UnsafeMember, extract


def archive(*members: tarfile.TarInfo) -> tarfile.TarFile:
    """An archive of these members; regular files hold `x`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for member in members:
            member.size = 1 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"x"))
    return tarfile.open(fileobj=io.BytesIO(out.getvalue()), mode="r:gz")


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, mode
    return member


@pytest.mark.parametrize(
    "members",
    [
        [entry("../out")],
        [entry("a/../../out")],
        [entry("a", tarfile.SYMTYPE, "/etc"), entry("a/out")],
        [entry("a", tarfile.SYMTYPE, ".."), entry("a/out")],
        [entry("a", tarfile.SYMTYPE, "b"), entry("b")],
        [entry("b"), entry("a", tarfile.LNKTYPE, "b")],
        [entry("a", tarfile.LNKTYPE, "/etc/passwd")],
        [entry("a", tarfile.CHRTYPE)],
        [entry("a", tarfile.BLKTYPE)],
        [entry("a", tarfile.FIFOTYPE)],
    ],
    ids=lambda members: " ".join(m.name for m in members) + members[0].type.decode(),
)
def test_what_is_no_plain_file_inside_is_refused(members: list[tarfile.TarInfo], tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    with archive(*members) as tar, pytest.raises(tarfile.TarError):
        extract(tar, target)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not [path for path in target.rglob("*") if not path.is_file() or path.is_symlink()]


def test_an_absolute_path_is_taken_as_one_below(tmp_path: Path) -> None:
    with archive(entry(f"{tmp_path}/out")) as tar:
        extract(tar, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_plain_files_arrive_without_special_bits(tmp_path: Path) -> None:
    with archive(entry("d", tarfile.DIRTYPE, mode=0o755), entry("d/run", mode=0o6777)) as tar:
        extract(tar, tmp_path)
    assert (tmp_path / "d/run").read_bytes() == b"x"
    assert (tmp_path / "d/run").stat().st_mode & 0o7022 == 0


def test_the_refusal_names_the_link(tmp_path: Path) -> None:
    said = "'weights' is a link to '/data/weights': put the file itself"
    with archive(entry("weights", tarfile.SYMTYPE, "/data/weights")) as tar, pytest.raises(UnsafeMember, match=said):
        extract(tar, tmp_path)

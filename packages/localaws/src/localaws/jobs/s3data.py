"""Between S3 and a job's directory: inputs are linked or copied in, results are moved out."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localaws.errors import ValidationException
from localaws.jobs.outcome import JobError, said
from localaws.s3.errors import S3Error

if TYPE_CHECKING:
    from localaws.s3.store import S3Store

GZIP_LEVEL = 6
LARGEST = 128 << 20  # bytes of an object that is read into memory
COPIED = 32 << 20  # bytes of an input up to which its files are the job's own; those of a larger one are links


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; raises ValidationException."""
    parts = urlsplit(uri, allow_fragments=False)
    if parts.scheme != "s3" or not parts.netloc:
        raise ValidationException(f"'{uri}' is not of the form s3://bucket/key")
    key = uri.removeprefix(f"s3://{parts.netloc}").removeprefix("/")
    return parts.netloc, key


def join(uri: str, *names: str) -> str:
    """The URI with further path elements; no doubled slashes."""
    return "/".join([uri.rstrip("/"), *names])


def relative(key: str, prefix: str) -> PurePosixPath:
    """Where the object goes below a channel's directory.

    >>> [str(relative(k, "data/train")) for k in ("data/train", "data/train/a/b.csv", "data/train.csv")]
    ['train', 'a/b.csv', 'train.csv']
    """
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    if key.startswith(folder):
        return PurePosixPath(key[len(folder) :])
    return PurePosixPath(key[prefix.rfind("/") + 1 :])


@dataclass(frozen=True)
class Entry:
    """One S3 object of an input, and its place below the input's directory."""

    bucket: str
    key: str
    place: PurePosixPath

    @property
    def uri(self) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"


def prefix_entries(s3: S3Store, uri: str) -> list[Entry]:
    """All objects whose key starts with the URI, in key order; raises JobError for none."""
    bucket, prefix = split(uri)
    try:
        found = [
            Entry(bucket, key, relative(key, prefix))
            for key in s3.iter_keys(bucket, prefix)
            if not key.endswith("/")  # the console's folder markers
        ]
    except S3Error as error:
        raise JobError("ClientError", f"Data download failed: {error} ({uri})") from None
    if not found:
        raise JobError(
            "ClientError",
            f'Data download failed: No S3 objects found under S3 URL "{uri}" given in input data source',
        )
    return found


def read_object(s3: S3Store, uri: str, what: str) -> bytes:
    """All bytes of an object that is small by its nature (a manifest); raises JobError naming what it is."""
    try:
        info, handle = s3.open_object(*split(uri))
        with handle:
            if info.size > LARGEST:
                raise JobError(
                    "ClientError",
                    f"Data download failed: the {what} {uri} has {info.size} bytes, more than the {LARGEST} allowed",
                )
            return handle.read()
    except S3Error as error:
        raise JobError("ClientError", f"Data download failed: {error} ({what} {uri})") from None


def manifest_entries(s3: S3Store, uri: str) -> list[Entry]:
    """The objects that a manifest lists, in its order, each at its name below the prefix; raises JobError."""
    try:
        first, *names = json.loads(read_object(s3, uri, "manifest"))
        base = first["prefix"]
    except (ValueError, TypeError, KeyError):
        raise JobError(
            "ClientError", f'manifest {uri} must be a JSON list that begins with {{"prefix": "s3://..."}}'
        ) from None
    found = []
    for name in names:
        if not isinstance(name, str):
            raise JobError("ClientError", f"manifest {uri} lists {name!r}, which is no key below the prefix")
        try:
            bucket, key = split(base + name)
        except ValidationException as error:
            raise JobError("ClientError", f"Data download failed: {error.message} (manifest {uri})") from None
        found.append(Entry(bucket, key, PurePosixPath(name.lstrip("/"))))
    return found


def entries(s3: S3Store, kind: str, uri: str) -> list[Entry]:
    """The objects of an S3Prefix or a ManifestFile."""
    return manifest_entries(s3, uri) if kind == "ManifestFile" else prefix_entries(s3, uri)


def link(s3: S3Store, found: Iterable[Entry], root: Path) -> int:
    """Link objects to their places below `root`, which is made; returns how many, raises JobError."""
    root.mkdir(parents=True, exist_ok=True)
    count = 0
    for entry in found:
        place = entry.place
        if place.is_absolute() or ".." in place.parts or not place.parts:
            raise JobError("ClientError", f"Data download failed: {entry.uri} has no place below a directory")
        dest = root / place
        try:
            dest.parent.mkdir(parents=True, exist_ok=True)
            s3.link_into(entry.bucket, entry.key, dest)
        except (FileExistsError, NotADirectoryError):
            raise JobError(
                "ClientError", f"Data download failed: {entry.uri} collides with another object in the same place"
            ) from None
        except S3Error as error:
            raise JobError("ClientError", f"Data download failed: {error} ({entry.uri})") from None
        count += 1
    return count


def files(root: Path) -> Iterator[Path]:
    """Regular files below a directory, in name order; symbolic links are not followed and not given."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def own(root: Path) -> bool:
    """Make all files below a directory copies that may be changed, unless they have more than COPIED bytes in all.

    Two inputs of one directory count together, what is there already is copied again.
    """
    found = list(files(root))
    if sum(path.stat().st_size for path in found) > COPIED:
        return False
    for path in found:
        copy = path.with_name(f".{os.urandom(8).hex()}")
        shutil.copyfile(path, copy)
        copy.replace(path)
    return True


def lay(s3: S3Store, found: Iterable[Entry], root: Path, seen_at: str, *, copy: bool = True) -> dict[Path, str]:
    """Put objects below `root` for a program that sees it at the path `seen_at`; raises JobError.

    Whoever may write to any file, or makes a file his own with `chmod`, could change an object through its link. So
    the program gets copies, or else the answer says what has to be mounted read-only, and where: with more than COPIED
    bytes, or without `copy`.
    """
    link(s3, found, root)
    return {} if copy and own(root) else {root: seen_at}


def put(s3: S3Store, uri: str, path: Path, *, move: bool = True) -> None:
    """Store a file as the object of this URI: renamed into the store with `move`, else copied; raises JobError."""
    bucket, key = split(uri)
    try:
        s3.put_file(bucket, key, path, move=move)
    except (S3Error, OSError, ValueError) as error:
        raise JobError("ClientError", f"Upload to {uri} failed: {said(error)}") from None


def upload_tree(s3: S3Store, root: Path, uri: str) -> int:
    """Move every regular file below `root` to the same place below the URI; returns how many."""
    count = 0
    for path in files(root):
        put(s3, join(uri, path.relative_to(root).as_posix()), path)
        count += 1
    return count


def pack(root: Path, target: Path) -> Path:
    """Make the directory's contents one .tar.gz, an empty one when the job removed it; returns the target."""
    with tarfile.open(target, "w:gz", compresslevel=GZIP_LEVEL) as archive:
        for entry in sorted(root.iterdir()) if root.is_dir() else ():
            archive.add(entry, arcname=entry.name)
    return target

"""Between S3 and a job's directory: inputs are linked in, results are moved out."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from include.localaws.errors import ValidationException
from include.localaws.outcome import JobError
from include.localaws.s3.errors import S3Error

if TYPE_CHECKING:
    from include.localaws.s3.store import S3Store

GZIP_LEVEL = 6


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


def _link(s3: S3Store, bucket: str, key: str, root: Path, place: PurePosixPath) -> None:
    if place.is_absolute() or ".." in place.parts or not place.parts:
        raise JobError("ClientError", f"Data download failed: s3://{bucket}/{key} has no place below a directory")
    dest = root / place
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        s3.link_into(bucket, key, dest)
    except (FileExistsError, NotADirectoryError):
        raise JobError(
            "ClientError", f"Data download failed: s3://{bucket}/{key} collides with another object in the same place"
        ) from None


def fetch_prefix(s3: S3Store, uri: str, root: Path) -> int:
    """Link all objects whose key starts with the URI below `root`; returns how many, raises JobError for none."""
    bucket, prefix = split(uri)
    count = 0
    try:
        for key in s3.iter_keys(bucket, prefix):
            if not key.endswith("/"):  # the console's folder markers
                _link(s3, bucket, key, root, relative(key, prefix))
                count += 1
    except S3Error as error:
        raise JobError("ClientError", f"Data download failed: {error} ({uri})") from None
    if not count:
        raise JobError(
            "ClientError",
            f'Data download failed: No S3 objects found under S3 URL "{uri}" given in input data source',
        )
    return count


def _manifest_entries(uri: str, text: bytes) -> Iterator[tuple[str, str]]:
    try:
        first, *names = json.loads(text)
        base = first["prefix"]
    except (ValueError, TypeError, KeyError):
        raise JobError(
            "ClientError", f'manifest {uri} must be a JSON list that begins with {{"prefix": "s3://..."}}'
        ) from None
    for name in names:
        if not isinstance(name, str):
            raise JobError("ClientError", f"manifest {uri} lists {name!r}, which is no key below the prefix")
        yield base + name, name


def fetch_manifest(s3: S3Store, uri: str, root: Path) -> int:
    """Link the objects that a manifest lists, each at its name below `root`; returns how many."""
    bucket, key = split(uri)
    count = 0
    try:
        with s3.open(bucket, key) as handle:
            text = handle.read()
        for object_uri, name in _manifest_entries(uri, text):
            object_bucket, object_key = split(object_uri)
            _link(s3, object_bucket, object_key, root, PurePosixPath(name.lstrip("/")))
            count += 1
    except (S3Error, ValidationException) as error:
        raise JobError("ClientError", f"Data download failed: {error} (manifest {uri})") from None
    return count


def fetch(s3: S3Store, kind: str, uri: str, root: Path) -> int:
    """Fetch an S3Prefix or a ManifestFile into a directory that is made if need be."""
    root.mkdir(parents=True, exist_ok=True)
    return fetch_manifest(s3, uri, root) if kind == "ManifestFile" else fetch_prefix(s3, uri, root)


def files(root: Path) -> Iterator[Path]:
    """Regular files below a directory, in name order; symbolic links are not followed and not given."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _put(s3: S3Store, uri: str, path: Path) -> None:
    bucket, key = split(uri)
    try:
        s3.put_file(bucket, key, path, move=True)
    except (S3Error, OSError, ValueError) as error:
        raise JobError("ClientError", f"Upload to {uri} failed: {error}") from None


def upload_tree(s3: S3Store, root: Path, uri: str) -> int:
    """Move every regular file below `root` to the same place below the URI; returns how many."""
    count = 0
    for path in files(root):
        _put(s3, join(uri, path.relative_to(root).as_posix()), path)
        count += 1
    return count


def upload_archive(s3: S3Store, root: Path, uri: str, scratch: Path) -> None:
    """Upload the directory's contents as one .tar.gz; `scratch` is where it is packed."""
    with tarfile.open(scratch, "w:gz", compresslevel=GZIP_LEVEL) as archive:
        for entry in sorted(root.iterdir()):
            archive.add(entry, arcname=entry.name)
    _put(s3, uri, scratch)

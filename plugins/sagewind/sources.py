"""Snapshots of data sources: whatever the source is, a run works on its own copy in S3."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from sagewind import s3
from sagewind.aws import AwsClients, is_passing
from sagewind.pipeline.errors import SourceError
from sagewind.pipeline.source import DataSource

_TIMEOUT = 60


def snapshot(aws: AwsClients, source: DataSource, target: str) -> dict[str, Any]:
    """Copy the source below `target`; returns {uri, files, bytes}. SourceError if there is nothing to copy."""
    takers = {"sklearn": _sklearn, "openml": _openml, "https": _https, "s3": _s3, "file": _file}
    s3.clear(aws, target)  # a cleared task may have another source now
    takers[source.scheme](aws, source, target)
    sizes = [int(item["Size"]) for item in s3.listing(aws, target)]
    if not sizes or not sum(sizes):
        raise SourceError(f"source {source.shown!r} is empty: found {len(sizes)} files with {sum(sizes)} bytes")
    return {"uri": target, "files": len(sizes), "bytes": sum(sizes)}


def _upload(aws: AwsClients, body: Any, target: str) -> None:
    bucket, key = s3.split(target)
    aws.client("s3").upload_fileobj(body, bucket, key)


def _upload_frame(aws: AwsClients, frame: Any, target: str) -> None:
    _upload(aws, io.BytesIO(frame.to_csv(index=False).encode()), target)


def _sklearn(aws: AwsClients, source: DataSource, target: str) -> None:
    from sklearn import datasets

    frame = getattr(datasets, f"load_{source.name}")(as_frame=True).frame
    _upload_frame(aws, frame, f"{target}/{source.name}.csv")


def _openml(aws: AwsClients, source: DataSource, target: str) -> None:
    from sklearn.datasets import fetch_openml
    from sklearn.datasets._openml import OpenMLError

    version = source.query.get("version", "active")
    try:
        number = version if version == "active" else int(version)
        frame = fetch_openml(source.name, version=number, as_frame=True, parser="auto").frame
    except (OpenMLError, ValueError) as error:
        raise SourceError(
            f"source {source.shown!r} is not there ({error}): check its name and version, or give another source"
        ) from error
    _upload_frame(aws, frame, f"{target}/{source.name}.csv")


class _Whole:
    """A download that must not end early: urllib gives a cut connection for the end of the file."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        length = answer.headers.get("Content-Length")
        self._left = None if length is None else int(length)

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._answer.read(size) if size >= 0 else self._answer.read()
        if self._left is not None:
            self._left -= len(data)
            if not data and size != 0 and self._left > 0:
                raise ConnectionError(f"the download ended {self._left} bytes early")
        return data


def _https(aws: AwsClients, source: DataSource, target: str) -> None:
    """A refusal by the server is the user's to mend; a cut or slow network is retried by Airflow."""
    name = Path(source.path).name or "data.csv"
    request = Request(source.uri, headers={"User-Agent": "sagewind"})  # noqa: S310 - the scheme is checked: https
    try:
        with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            _upload(aws, _Whole(answer), f"{target}/{name}")
    except HTTPError as error:
        if error.code in (408, 425, 429) or error.code >= 500:
            raise
        raise SourceError(f"source {source.shown!r} was refused ({error}): check the address") from error


def _s3(aws: AwsClients, source: DataSource, target: str) -> None:
    """What S3 refuses is the user's to mend; throttling and a cut network are retried by Airflow."""
    from botocore.exceptions import ClientError, ParamValidationError

    try:
        _copy_below(aws, source.name, source.path.strip("/"), target)
    except (ClientError, ParamValidationError) as error:
        if is_passing(error):
            raise
        said = " ".join(str(error).split())
        raise SourceError(
            f"source {source.shown!r} cannot be read ({said}): check the bucket's name and the connection's rights"
        ) from error


def _copy_below(aws: AwsClients, bucket: str, prefix: str, target: str) -> None:
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for item in page.get("Contents", []):
            rest = item["Key"][len(prefix) :].strip("/")
            # The prefix `data/a` also lists `data/ab.csv`, which is another object, not part of the source.
            if item["Key"] != prefix and not item["Key"].startswith(prefix + "/"):
                continue
            if item["Size"]:
                s3.copy(aws, f"s3://{bucket}/{item['Key']}", f"{target}/{rest or Path(item['Key']).name}")


def _file(aws: AwsClients, source: DataSource, target: str) -> None:
    path = Path(source.path)
    # os.path: a name that is too long for the file system is not there; Path.exists() raises on it.
    if not os.path.exists(path):  # noqa: PTH110
        raise SourceError(f"source {source.shown!r} is not there: give the path of a file or a folder on the worker")
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    for item in files:
        name = item.relative_to(path) if path.is_dir() else Path(item.name)
        with item.open("rb") as body:
            _upload(aws, body, f"{target}/{name}")

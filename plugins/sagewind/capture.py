"""Captured traffic in S3: which objects lie in a window, how many requests they hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

from sagewind import s3
from sagewind.aws import AwsClients

#: Begin of the inference id of a verification's requests: captured, but not traffic of anybody's users.
VERIFICATION = "sagewind-verify"
#: Names of ground-truth files that the merge job reads end in these.
LABEL_SUFFIXES = (".jsonl", ".json", "")


def hour_of(key: str) -> datetime | None:
    """The hour that a capture key `.../yyyy/mm/dd/hh/name.jsonl` stands for, or None for another key."""
    parts = key.split("/")
    try:
        year, month, day, hour = (int(part) for part in parts[-5:-1])
        return datetime(year, month, day, hour, tzinfo=UTC)
    except ValueError:
        return None


def in_window(aws: AwsClients, folder: str, start: datetime | None, end: datetime | None) -> Iterator[str]:
    """URIs of capture objects whose hour overlaps [start, end); no bound where None. The analyzer filters by record."""
    bucket, _ = s3.split(folder)
    for item in s3.listing(aws, folder):
        hour = hour_of(item["Key"])
        if hour is None or not item["Key"].endswith(".jsonl"):
            continue
        if (start is None or hour + timedelta(hours=1) > start) and (end is None or hour < end):
            yield f"s3://{bucket}/{item['Key']}"


def labels(aws: AwsClients, folder: str, start: datetime | None) -> Iterator[str]:
    """URIs of ground-truth objects whose hour ends after `start` (all where it is None), as the merge reads them."""
    bucket, _ = s3.split(folder)
    for item in s3.listing(aws, folder):
        hour, name = hour_of(item["Key"]), item["Key"].rsplit("/", 1)[-1]
        if hour is None or not name or PurePosixPath(name).suffix not in LABEL_SUFFIXES:
            continue
        if start is None or hour + timedelta(hours=1) > start:
            yield f"s3://{bucket}/{item['Key']}"


def first_key(aws: AwsClients, folder: str) -> str | None:
    """The key of the first object below `folder` that is no folder's marker; None if there is none."""
    return next((item["Key"] for item in s3.listing(aws, folder) if not item["Key"].endswith("/")), None)


def count_requests(aws: AwsClients, folder: str) -> int:
    """Captured requests below `folder`: one line each."""
    uris = in_window(aws, folder, None, None)
    return sum(len([line for line in s3.get_text(aws, uri).splitlines() if line.strip()]) for uri in uris)


def of_users(aws: AwsClients, uris: list[str]) -> list[str]:
    """Those objects that hold at least one request which is not a verification's.

    They may hold a verification's as well: the analyzer leaves those out record by record.
    A line that cannot be read counts as a user's: the analyzer shows it, and nothing vanishes.
    """
    return [uri for uri in uris if any(_is_users(line) for line in s3.get_text(aws, uri).splitlines() if line.strip())]


def _is_users(line: str) -> bool:
    try:
        inference_id = json.loads(line)["eventMetadata"].get("inferenceId", "")
    except (ValueError, KeyError, AttributeError, TypeError):
        return True
    return not str(inference_id).startswith(VERIFICATION)


def write_manifest(aws: AwsClients, folder: str, uris: list[str], target: str) -> str:
    """Write an S3 manifest of the objects (format: AWS's S3DataSource, ManifestFile); returns its URI."""
    body = [{"prefix": folder + "/"}, *(uri.removeprefix(folder + "/") for uri in uris)]
    bucket, key = s3.split(target)
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(body).encode())
    return target

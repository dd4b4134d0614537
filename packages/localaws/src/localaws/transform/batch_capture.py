"""Data capture of a transform job: manifests of what went in and what came out.

Layout from the developer guide ("Capture data from batch transform job"): below `input/` and `output/` of the
destination a path of year, month, day and hour in UTC, in it a manifest in the format of S3 manifest files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from localaws.coverage import Behaviour
from localaws.jobs import s3data
from localaws.jobs.outcome import JobError
from localaws.s3 import S3Error, S3Store

GUIDE = "developer guide, Capture data from batch transform job"
BEHAVIOURS = (
    Behaviour("batch data capture: manifests below input/ and output/, yyyy/mm/dd/hh in UTC", "documented", GUIDE),
    Behaviour("batch data capture: the hour is that in which the job started", "documented", GUIDE),
    Behaviour("batch data capture: a manifest is called <job>.jsonl and names the objects that were transformed",
              "assumed"),
)  # fmt: skip


def manifest(prefix: str, names: Sequence[str]) -> bytes:
    """A manifest in one line; `prefix` is an S3 URI that the names are put behind."""
    return json.dumps([{"prefix": prefix}, *names], ensure_ascii=False).encode() + b"\n"


def moment(seconds: float) -> str:
    """An inference time: UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write(
    s3: S3Store,
    config: Mapping[str, Any],
    job: str,
    started: float,
    inputs: tuple[str, Sequence[str]],
    outputs: tuple[str, Sequence[str]],
) -> None:
    """Write both manifests, each of a prefix and names; JobError when S3 does not take them."""
    hour = datetime.fromtimestamp(started, UTC).strftime("%Y/%m/%d/%H")
    for folder, (prefix, names) in (("input", inputs), ("output", outputs)):
        bucket, key = s3data.split(s3data.join(config["DestinationS3Uri"], folder, hour, f"{job}.jsonl"))
        try:
            s3.put_bytes(bucket, key, manifest(prefix, names))
        except (S3Error, OSError) as error:
            raise JobError(
                "ClientError", f"the captured data cannot be stored at s3://{bucket}/{key}: {error}"
            ) from None

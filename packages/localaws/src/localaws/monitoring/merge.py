"""Captured data and ground truth put together, as AWS's merge job does before model quality and bias are looked at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from localaws.coverage import Behaviour
from localaws.jobs import s3data
from localaws.jobs.outcome import JobError
from localaws.monitoring.times import hour_path
from localaws.s3.store import S3Store

TRUTH_PAGE = "developer guide, Ingest Ground Truth labels and merge them with predictions"
BEHAVIOURS = (
    Behaviour("ground truth is joined by inferenceId where it was captured, else by eventId", "documented", TRUTH_PAGE),
    Behaviour("ground truth lies below yyyy/mm/dd/hh as JSON lines", "documented", TRUTH_PAGE),
    Behaviour(
        "merged data are the capture records with `groundTruthData` added, in `<output>/merge/...`; here the endpoint "
        "itself merges them, no second processing job is started",
        "assumed",
    ),
)


def _records(s3: S3Store, bucket: str, keys: Iterable[str]) -> Iterator[dict[str, Any]]:
    for key in keys:
        with s3.open(bucket, key) as handle:
            for number, line in enumerate(handle, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                    record["eventMetadata"]["eventId"]
                except (ValueError, TypeError, KeyError):
                    raise JobError(
                        "ClientError", f"s3://{bucket}/{key}, line {number}, is no record with an eventMetadata.eventId"
                    ) from None
                yield record


def truth(s3: S3Store, uri: str, hours: Iterable[datetime]) -> dict[str, Any]:
    """Identifier to groundTruthData, of all records in these hours; raises JobError for a line that is none."""
    found: dict[str, Any] = {}
    for hour in hours:
        bucket, prefix = s3data.split(s3data.join(uri, hour_path(hour), ""))
        for record in _records(s3, bucket, s3.iter_keys(bucket, prefix)):
            found[record["eventMetadata"]["eventId"]] = record.get("groundTruthData")
    return found


def merge(s3: S3Store, source: str, labels: dict[str, Any], target: str) -> int:
    """Write the records below `source` that have a label, with it, to one object below `target`; returns how many."""
    bucket, prefix = s3data.split(s3data.join(source, ""))
    lines = []
    for record in _records(s3, bucket, s3.iter_keys(bucket, prefix)):
        metadata = record["eventMetadata"]
        identifier = metadata.get("inferenceId", metadata["eventId"])
        if identifier in labels:
            merged = {**record, "groundTruthData": labels[identifier]}
            lines.append(json.dumps(merged, ensure_ascii=False, separators=(",", ":")) + "\n")
    if lines:
        s3.put_bytes(*s3data.split(s3data.join(target, "part-00000.jsonl")), "".join(lines).encode())
    return len(lines)

"""Captured traffic: windows, verification's own requests, manifests; and the rows of a batch."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from sagewind import capture, s3
from sagewind.aws import AwsClients
from sagewind.errors import TaskRefused
from sagewind.operators.checks import BatchCheckOperator, VerdictOperator

AWS = AwsClients("c", None)
COMMON = {"model": "m", "connection": "c", "plan_task": None}


@pytest.fixture(autouse=True)
def bucket(connection: None) -> None:
    AWS.client("s3").create_bucket(Bucket="captured")


def line(inference_id: str | None) -> str:
    metadata = {"eventId": "e"} if inference_id is None else {"eventId": "e", "inferenceId": inference_id}
    return json.dumps({"captureData": {}, "eventMetadata": metadata, "eventVersion": "0"})


def put(name: str, hour: str, *lines: str) -> str:
    uri = f"s3://captured/{name}/endpoint/main/2026/03/01/{hour}/x.jsonl"
    s3.put_text(AWS, uri, "\n".join(lines) + "\n")
    return uri


def test_hours_that_overlap_the_window_are_listed() -> None:
    uris = [put("window", hour, line(None)) for hour in ("00", "01", "02", "03")]
    s3.put_text(AWS, "s3://captured/window/endpoint/main/readme.txt", "no capture")
    start, end = datetime(2026, 3, 1, 1, 30, tzinfo=UTC), datetime(2026, 3, 1, 3, tzinfo=UTC)
    assert list(capture.in_window(AWS, "s3://captured/window", start, end)) == uris[1:3]
    assert list(capture.in_window(AWS, "s3://captured/window", None, None)) == uris


def test_files_of_nothing_but_verification_are_nobodys_traffic() -> None:
    own = put("users", "00", line("sagewind-verify-1"), line("sagewind-verify-2"))
    mixed = put("users", "01", line("sagewind-verify-1"), line(None))
    corrupt = put("users", "02", "{")
    assert capture.of_users(AWS, [own, mixed, corrupt]) == [mixed, corrupt]


def test_requests_are_lines() -> None:
    put("count", "00", line(None), line(None))
    put("count", "01", line(None))
    assert capture.count_requests(AWS, "s3://captured/count") == 3


def test_a_manifest_is_what_s3_data_sources_read() -> None:
    uris = [put("manifest", "00", line(None))]
    target = capture.write_manifest(AWS, "s3://captured/manifest", uris, "s3://captured/m.json")
    assert s3.get_json(AWS, target) == [
        {"prefix": "s3://captured/manifest/"},
        "endpoint/main/2026/03/01/00/x.jsonl",
    ]


def check(task, name: str) -> dict:
    operator = BatchCheckOperator(
        task_id="check", source=f"s3://captured/{name}/in", scores=f"s3://captured/{name}/out", **COMMON
    )
    return operator.execute(task.context)


def test_every_row_must_come_back_as_a_number(task) -> None:
    s3.put_text(AWS, "s3://captured/good/in/a.csv", "1,2\n3,4\n")
    s3.put_text(AWS, "s3://captured/good/in/sub/b.csv", "5,6\n")
    AWS.client("s3").put_object(Bucket="captured", Key="good/in/folder/")
    s3.put_text(AWS, "s3://captured/good/out/a.csv.out", "0.5\n[0.25, 0.75]\n")
    s3.put_text(AWS, "s3://captured/good/out/sub/b.csv.out", "0.5\n")
    found = check(task, "good")
    assert (found["rows_in"], found["rows_out"]) == (3, 3)


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ("0.5\n", "has 2 rows, its scores have 1"),
        ("0.5\nnone\n", "'none', which is not a number"),
        (None, "is not there"),
    ],
)
def test_lost_rows_are_a_failure(task, scores: str | None, says: str) -> None:
    s3.put_text(AWS, "s3://captured/bad/in/a.csv", "1,2\n3,4\n")
    s3.clear(AWS, "s3://captured/bad/out")
    if scores is not None:
        s3.put_text(AWS, "s3://captured/bad/out/a.csv.out", scores)
    with pytest.raises(TaskRefused, match=says):
        check(task, "bad")


def test_no_rows_at_all_are_a_failure(task) -> None:
    with pytest.raises(TaskRefused, match="holds no rows"):
        check(task, "nothing")


def verdict(task, violations: list[dict], **options) -> dict:
    s3.put_json(AWS, "s3://captured/v/constraint_violations.json", {"violations": violations})
    s3.put_json(AWS, "s3://captured/v/statistics.json", {"dataset": {"item_count": 7}})
    return VerdictOperator(task_id="v", folder="s3://captured/v", **options, **COMMON).execute(task.context)


VIOLATION = {"feature_name": "age", "constraint_check_type": "baseline_drift_check", "description": "far"}


def test_verdicts(task) -> None:
    assert verdict(task, []) == {"verdict": "ok", "violations": [], "rows": 7}
    assert verdict(task, [VIOLATION])["verdict"] == "violations"
    with pytest.raises(TaskRefused, match="normal traffic violates the baseline in age"):
        verdict(task, [VIOLATION], expect="ok")
    task.xcoms["shift_batch"] = {"columns": ["age"]}
    assert verdict(task, [VIOLATION], expect="shifted")["verdict"] == "violations"
    with pytest.raises(TaskRefused, match=r"\['age'\] were shifted, the monitor names \[\]"):
        verdict(task, [], expect="shifted")

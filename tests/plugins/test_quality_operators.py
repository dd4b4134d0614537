"""Model quality in the monitoring DAG: what is judged, against which version, the verdict, and one event for all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from sagewind import endpoints, s3
from sagewind.aws import AwsClients
from sagewind.errors import TaskRefused
from sagewind.operators.flow import DriftOperator
from sagewind.operators.quality import JudgedVersionOperator, LabelledTrafficOperator, QualityVerdictOperator

AWS = AwsClients("c", None)
COMMON: dict[str, Any] = {"model": "m", "connection": "c"}
BUCKET = "quality"
WINDOW = {"start": "2026-03-03T00:00:00+00:00", "end": "2026-03-04T00:00:00+00:00"}
REGISTRY = "arn:aws:sagemaker:us-east-1:123456789012:model-package/m/1"


@pytest.fixture(autouse=True)
def bucket(connection: None, task) -> None:
    AWS.client("s3").create_bucket(Bucket=BUCKET)
    task.xcoms["ingest"] = {"window": WINDOW}


def put(uri: str, *lines: dict[str, Any]) -> str:
    s3.put_text(AWS, uri, "".join(json.dumps(line) + "\n" for line in lines))
    return uri


def request(name: str, day_hour: str, inference_id: str = "r1") -> str:
    record = {"captureData": {}, "eventMetadata": {"eventId": "e", "inferenceId": inference_id}}
    return put(f"s3://{BUCKET}/{name}/capture/m/main/2026/03/{day_hour}/x.jsonl", record)


def truth(name: str, day_hour: str, file: str = "x.jsonl") -> str:
    return put(f"s3://{BUCKET}/{name}/labels/2026/03/{day_hour}/{file}", {"eventMetadata": {"eventId": "r1"}})


def labelled(task, name: str, delay: float = 0, ground_truth: str | None = None) -> dict[str, Any]:
    operator = LabelledTrafficOperator(
        task_id="labelled_traffic",
        folder=f"s3://{BUCKET}/{name}/capture/m",
        ground_truth=ground_truth or f"s3://{BUCKET}/{name}/labels",
        delay_hours=delay,
        manifest=f"s3://{BUCKET}/{name}/traffic.manifest",
        label_manifest=f"s3://{BUCKET}/{name}/labels.manifest",
        **COMMON,
    )
    return operator.execute(task.context)


def test_the_window_moves_back_by_the_delay_and_takes_the_labels_since_its_begin(task) -> None:
    for day_hour in ("01/23", "02/05", "03/05"):
        request("delayed", day_hour)
        truth("delayed", day_hour)
    truth("delayed", "09/00", "weeks-later")
    truth("delayed", "02/06", "readme.txt")
    s3.put_text(AWS, f"s3://{BUCKET}/delayed/labels/readme.jsonl", "below no hour")
    found = labelled(task, "delayed", delay=24)
    assert (found["start"], found["end"]) == ("2026-03-02T00:00:00+00:00", "2026-03-03T00:00:00+00:00")
    assert s3.get_json(AWS, found["manifest"])[1:] == ["main/2026/03/02/05/x.jsonl"]
    assert s3.get_json(AWS, found["labels"]) == [
        {"prefix": f"s3://{BUCKET}/delayed/labels/"},
        "2026/03/02/05/x.jsonl",
        "2026/03/03/05/x.jsonl",
        "2026/03/09/00/weeks-later",
    ]
    assert (found["objects"], found["label_objects"]) == (1, 3)


def test_a_run_without_interval_begins_at_the_beginning(task) -> None:
    task.xcoms["ingest"] = {"window": {**WINDOW, "start": ""}}
    request("open", "01/00")
    truth("open", "01/00")
    assert labelled(task, "open")["start"] == ""


def test_no_traffic_of_users_and_no_labels_are_skipped_with_a_sentence(task) -> None:
    request("own", "03/05", "sagewind-verify-1")
    truth("own", "03/05")
    with pytest.raises(AirflowSkipException, match=r"no traffic of users was captured .* model quality is not judged"):
        labelled(task, "own")
    request("bare", "03/05")
    truth("bare", "02/05")
    with pytest.raises(AirflowSkipException, match=r"no labels lie below s3://quality/bare/labels/yyyy/mm/dd/hh from"):
        labelled(task, "bare")


@pytest.mark.parametrize(
    "key", ["2026-03-03/a.jsonl", "2026/03/03/a.jsonl", "a.jsonl", "2026/03/03/05/a.csv"], ids=lambda key: key
)
def test_label_files_in_another_layout_are_named(task, key) -> None:
    prefix = f"astray-{key.count('/')}"
    request(prefix, "03/05")
    s3.put_text(AWS, f"s3://{BUCKET}/{prefix}/labels/{key}", "a label")
    with pytest.raises(
        TaskRefused, match=f"no file .* is taken for labels, for instance {prefix}/labels/{key}: name them"
    ):
        labelled(task, prefix)


def test_labels_that_cannot_be_listed_are_an_error(task) -> None:
    request("gone", "03/05")
    with pytest.raises(TaskRefused, match="monitor.ground_truth s3://no-such-bucket/labels cannot be listed"):
        labelled(task, "gone", ground_truth="s3://no-such-bucket/labels")


QUALITY = {
    "Statistics": {"S3Uri": "s3://b/run/evaluate/evaluation/evaluation.json"},
    "Constraints": {"S3Uri": "s3://b/run/evaluate/evaluation/constraints.json"},
}


def judged(
    task, monkeypatch: pytest.MonkeyPatch, since: str, quality: dict[str, Any], start: str = WINDOW["start"]
) -> dict[str, Any]:
    """The version, as an endpoint that serves it since a moment tells."""
    package = {
        "ModelPackageArn": REGISTRY,
        "ModelPackageVersion": 4,
        "ModelApprovalStatus": "Approved",
        "ModelMetrics": {"ModelQuality": quality},
    }
    registry = SimpleNamespace(describe_model_package=lambda ModelPackageName: package)
    monkeypatch.setattr(AwsClients, "client", lambda *_: registry)
    monkeypatch.setattr(endpoints, "look", lambda *_: {"EndpointConfigName": "config"})
    monkeypatch.setattr(endpoints, "tag_of", lambda *_: REGISTRY)
    monkeypatch.setattr(endpoints, "config_time", lambda *_: datetime.fromisoformat(since))
    task.xcoms["labelled_traffic"] = {**WINDOW, "start": start}
    return JudgedVersionOperator(
        task_id="judged_version", endpoint="m", traffic_task="labelled_traffic", **COMMON
    ).execute(task.context)


@pytest.mark.parametrize(
    ("since", "start", "begins"),
    [
        ("2026-01-01T00:00:00+00:00", WINDOW["start"], WINDOW["start"]),
        ("2026-03-03T12:30:00+00:00", WINDOW["start"], "2026-03-03T12:30:00+00:00"),
        ("2026-01-01T00:00:00+00:00", "", "2026-01-01T00:00:00+00:00"),
    ],
)
def test_only_what_the_version_answered_itself_is_judged(task, monkeypatch, since, start, begins) -> None:
    found = judged(task, monkeypatch, since, QUALITY, start)
    assert (found["start"], found["end"]) == (begins, WINDOW["end"])
    assert (found["arn"], found["quality"]) == (REGISTRY, "s3://b/run/evaluate/evaluation")


def test_a_version_that_is_younger_than_the_window_is_not_judged(task, monkeypatch) -> None:
    with pytest.raises(AirflowSkipException, match="version 4 serves since 2026-03-04T00:00:00"):
        judged(task, monkeypatch, WINDOW["end"], QUALITY)


def test_a_version_without_a_baseline_of_its_quality_is_named(task, monkeypatch) -> None:
    with pytest.raises(TaskRefused, match=r"endpoint m serves version 4, .* without constraints .*: run m_training"):
        judged(task, monkeypatch, "2026-01-01T00:00:00+00:00", {"Statistics": QUALITY["Statistics"]})


def test_when_a_config_was_made_is_asked_of_aws(monkeypatch) -> None:
    made = datetime(2026, 3, 1, tzinfo=UTC).astimezone()
    client = SimpleNamespace(describe_endpoint_config=lambda EndpointConfigName: {"CreationTime": made})
    monkeypatch.setattr(AwsClients, "client", lambda *_: client)
    found = endpoints.config_time(AWS, "config")
    assert found == made
    assert found.utcoffset() == timedelta(0)


COUNTS = {
    "requests": 9, "labels": 8, "request_without_label": None, "label_without_request": None,
    "constraints_not_checked": [], "unusable_records": 0, "unusable_shown": [], "unreadable_labels": 0,
    "unreadable_lines": [],
}  # fmt: skip


def quality_verdict(task, name: str, violations: list[dict[str, str]] | None, **counts: Any) -> dict[str, Any]:
    folder = f"s3://{BUCKET}/{name}"
    s3.put_json(AWS, f"{folder}/merge.json", {**COUNTS, **counts})
    if violations is not None:
        s3.put_json(AWS, f"{folder}/constraint_violations.json", {"violations": violations})
        s3.put_json(AWS, f"{folder}/statistics.json", {"dataset": {"item_count": 7}})
    return QualityVerdictOperator(task_id="quality_verdict", folder=folder, **COMMON).execute(task.context)


AUC = {"metric_name": "auc", "constraint_check_type": "LessThanThreshold", "description": "Metric auc with 0.5"}
AGE = {"feature_name": "age", "constraint_check_type": "baseline_drift_check", "description": "far"}


def test_verdicts_on_quality(task) -> None:
    found = quality_verdict(task, "good", [], merged_requests=7, constraints_not_checked=["auc"])
    assert found == {
        "verdict": "ok",
        "violations": [],
        "rows": 7,
        "requests": 9,
        "labelled": 7,
        "not_checked": ["auc"],
        "unusable": 0,
    }
    assert quality_verdict(task, "bad", [AUC], merged_requests=7)["verdict"] == "violations"
    with pytest.raises(AirflowSkipException, match="none of the 9 captured requests that were read has one of the 8"):
        quality_verdict(task, "unlabelled", None, merged_requests=0)
    ids = {"request_without_label": "c-1", "label_without_request": "order-1"}
    with pytest.raises(AirflowSkipException, match=r"labels \(a request's id is 'c-1', a label's 'order-1'\): model"):
        quality_verdict(task, "strangers", None, merged_requests=0, **ids)


def test_a_verdict_over_fewer_records_than_were_lost_is_none(task) -> None:
    lost = {"unusable_shown": ["a.jsonl line 1: the label 'YES' is none"], "merged_requests": 7}
    found = quality_verdict(task, "some", [], unusable_records=6, **lost)
    assert (found["verdict"], found["unusable"]) == ("ok", 6)
    says = "7 records or labels could not be used, the first: a.jsonl line 1: the label 'YES' is none; 7 could, too few"
    with pytest.raises(TaskRefused, match=says):
        quality_verdict(task, "half", [], unusable_records=4, unreadable_labels=3, **lost)


def drift(task, **verdicts: list[dict[str, str]] | None) -> tuple[list[str], dict[str, Any]]:
    """What the drift task returns and its event carries; None is a check without a verdict."""
    task.xcoms |= {
        name: None if found is None else {"verdict": "violations" if found else "ok", "violations": found}
        for name, found in verdicts.items()
    }
    event = SimpleNamespace(extra={})
    operator = DriftOperator(task_id="drift", verdict_tasks=list(verdicts), outlets=[], **COMMON)
    operator.outlets = ["drift"]
    return operator.execute({**task.context, "outlet_events": {"drift": event}}), event.extra


def test_violations_of_either_check_are_one_event(task) -> None:
    assert drift(task, verdict=[AGE], quality_verdict=[]) == (["age"], {"columns": ["age"], "metrics": []})
    assert drift(task, verdict=None, quality_verdict=[AUC]) == (["auc"], {"columns": [], "metrics": ["auc"]})
    assert drift(task, verdict=[AGE, AGE], quality_verdict=[AUC])[0] == ["age", "auc"]


def test_without_a_violation_there_is_no_event(task) -> None:
    with pytest.raises(AirflowSkipException, match="no check found a violation: no drift event"):
        drift(task, verdict=[], quality_verdict=None)
    with pytest.raises(AirflowSkipException, match="no check came to a verdict: no drift event"):
        drift(task, verdict=None, quality_verdict=None)

"""Each rule of the merge: what is joined, what is left out, and where it is counted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.quality.merge import merge
from tests.jobs.analysis.captured import label, request

HOUR = "2026/11/20/03"


class Merge:
    """One merge job in a container."""

    def __init__(self, container) -> None:
        self.container = container
        self.root = container.base / "processing"

    def captured(self, *records: dict | str, hour: str = HOUR, variant: str = "AllTraffic") -> None:
        self._write(self.root / "input_data" / "ep" / variant / hour, records)

    def truth(self, *records: dict | str, hour: str = "2026/11/21/10") -> None:
        self._write(self.root / "groundtruth" / hour, records)

    def _write(self, folder, records) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        texts = [record if isinstance(record, str) else json.dumps(record) for record in records]
        (folder / f"{len(list(folder.iterdir()))}.jsonl").write_text("".join(text + "\n" for text in texts))

    def run(self, **environment: str) -> int:
        return self.container.run(
            "quality.merge",
            dataset_source="/opt/ml/processing/input_data",
            ground_truth_source="/opt/ml/processing/groundtruth",
            output_path="/opt/ml/processing/output",
            **environment,
        )

    @property
    def counts(self) -> dict:
        return {name: value for name, value in self.container.json("merge.json").items() if value}

    @property
    def merged(self) -> list[dict]:
        folder = self.container.output("merge")
        paths = sorted(folder.rglob("*.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


@pytest.fixture
def job(container) -> Merge:
    return Merge(container)


def test_a_label_is_joined_by_inference_id_else_by_event_id(job) -> None:
    job.captured(request("e1", inference="i1"), request("e2"), request("e3", inference="i3"))
    job.truth(label("i1", "1"), label("e2", "0"), label("e3", "1"))
    assert job.run() == 0
    assert [(each["eventMetadata"]["eventId"], each["groundTruthData"]["data"]) for each in job.merged] == [
        ("e1", "1"),
        ("e2", "0"),
    ]
    # e3 was captured with an inferenceId, so its eventId does not count.
    assert job.counts == {
        "merged_requests": 2, "requests": 3, "requests_without_label": 1,
        "labels": 3, "labelled_identifiers": 3, "labels_without_request": 1,
        "request_without_label": "i3", "label_without_request": "e3",
    }  # fmt: skip
    assert job.container.message() == ("Completed: 2 of 3 captured requests merged with their label, 1 have none yet.")


def test_the_output_lies_below_endpoint_variant_and_hour_with_the_label_beside_the_capture(job) -> None:
    job.captured(request("a"), variant="blue")
    job.truth(label("a"))
    job.run()
    path = job.container.output("merge") / "ep" / "blue" / HOUR / "0.jsonl"
    record = json.loads(path.read_text())
    assert record == {**request("a"), "groundTruthData": {"data": "1", "encoding": "CSV"}}
    assert "1 of 1 captured requests have a label" in (job.container.output("") / "report.html").read_text()


def test_a_label_weeks_later_is_used(job) -> None:
    job.captured(request("a"))
    job.truth(label("a"), hour="2026/12/24/00")
    assert job.run(start_time="2026-11-20T03:00:00Z", end_time="2026-11-20T04:00:00Z") == 0
    assert job.counts["merged_requests"] == 1


def test_of_several_labels_the_last_counts(job) -> None:
    job.captured(request("a"), request("b"))
    job.truth(label("a", "0"), label("b", "0"), label("b", "0"))
    job.truth(label("a", "1"), hour="2026/11/22/00")
    job.run()
    assert [each["groundTruthData"]["data"] for each in job.merged] == ["1", "0"]
    assert (job.counts["corrected_labels"], job.counts["duplicate_labels"]) == (1, 1)


def test_of_several_requests_with_one_id_the_first_counts(job) -> None:
    job.captured(request("e1", "0.1", inference="i"), request("e2", "0.2", inference="i"))
    job.truth(label("i"))
    assert job.run() == 0
    assert [each["eventMetadata"]["eventId"] for each in job.merged] == ["e1"]
    assert job.counts["duplicate_requests"] == 1


def test_labels_before_their_predictions_are_used_and_counted(job) -> None:
    job.captured(request("a"), request("b"))
    job.truth(label("a"), hour="2026/11/20/02")  # that hour ended before the request
    job.truth(label("b"), hour="2026/11/20/03")  # the same hour: no contradiction
    job.run()
    assert job.counts["merged_requests"] == 2
    assert job.counts["labels_before_their_prediction"] == 1


def test_no_labels_at_all_is_told_and_no_failure(job) -> None:
    job.captured(request("a"))
    (job.root / "groundtruth").mkdir()
    assert job.run() == 0
    assert job.merged == []
    assert job.counts == {"requests": 1, "requests_without_label": 1, "request_without_label": "a"}
    assert "0 of 1" in job.container.message()


def test_corrupt_lines_are_counted_and_shown(job) -> None:
    broken = [
        "{", "[]", '"text"', "{}", json.dumps({**request("x"), "captureData": 3}), "\x00",
        json.dumps(request("y", time="yesterday")),
    ]  # fmt: skip
    job.captured(*broken, request("a"))
    job.truth("nonsense", '{"groundTruthData": {}, "eventMetadata": {"eventId": "q"}}', label("a"))
    assert job.run() == 0
    assert job.counts["merged_requests"] == 1
    assert (job.counts["unreadable_requests"], job.counts["unreadable_labels"]) == (len(broken), 2)
    shown = " | ".join(job.counts["unreadable_lines"])
    for reason in (
        "line 1 of 0.jsonl",
        "'eventMetadata' is missing",
        "captureData is no object",
        "'yesterday'",
        "no data",
    ):
        assert reason in shown


def test_empty_files_and_requests_outside_the_window(job) -> None:
    job.captured()
    job.captured(request("a", time="2026-11-20T02:59:59Z"), request("b", time="2026-11-20T04:00:00Z"), request("c"))
    job.truth(label("a"), label("b"), label("c"))
    assert job.run(start_time="2026-11-20T03:00:00Z", end_time="2026-11-20T04:00:00Z") == 0
    assert [each["eventMetadata"]["eventId"] for each in job.merged] == ["c"]
    assert job.counts["requests_outside_window"] == 2


def test_data_that_was_merged_before_takes_the_new_label(job) -> None:
    job.captured({**request("a"), "groundTruthData": {"data": "0", "encoding": "CSV"}}, request("ü"))
    job.truth(label("a", "1"), label("ü", "é"))
    job.run()
    assert [each["groundTruthData"]["data"] for each in job.merged] == ["1", "é"]


def test_excluded_requests_are_left_out(job) -> None:
    job.captured(request("a", inference="sagewind-verify-1"), request("b"))
    job.truth(label("sagewind-verify-1"), label("b"))
    job.run(excluded_inference_id_prefix="sagewind-verify")
    assert job.counts["merged_requests"] == 1
    assert job.counts["requests_excluded"] == 1


def test_a_missing_folder_is_the_users_error(job) -> None:
    job.captured(request("a"))
    assert job.run() == 1
    assert job.container.message().startswith("the ground truth is missing: ground_truth_source ")


IDS = st.lists(st.sampled_from("abcdef"), max_size=20)


@settings(max_examples=40, deadline=None)
@given(requests=IDS, labels=IDS)
def test_every_record_is_accounted_for(tmp_path_factory, requests, labels) -> None:
    folder = tmp_path_factory.mktemp("merge")
    for name, records in (("in", map(request, requests)), ("truth", map(label, labels))):
        (folder / name).mkdir()
        (folder / name / "f.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    merged = merge(folder / "in", folder / "truth", folder / "out", CaptureWindow(None, None))
    found = merged.document()
    assert (
        found["requests"]
        == len(requests)
        == (found["merged_requests"] + found["requests_without_label"] + found["duplicate_requests"])
    )
    assert found["labels"] == len(labels) == found["labelled_identifiers"] + found["duplicate_labels"]
    assert found["merged_requests"] == len(set(requests) & set(labels))
    assert found["labels_without_request"] == len(set(labels) - set(requests))

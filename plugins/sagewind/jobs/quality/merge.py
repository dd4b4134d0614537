"""Processing job: captured data and ground truth joined into what model quality and bias are computed from.

Variables are those of AWS's merge job: `dataset_source` (captured data below endpoint/variant/yyyy/mm/dd/hh),
`ground_truth_source` (labels below yyyy/mm/dd/hh), `output_path`. Rules:

- The identifier of a request is its inferenceId where it was captured, else its eventId (documented).
- Only requests in the window count; a label may be of any hour (documented: its path tells when it was collected).
- Several labels of one request: the last one, in the order of paths and lines, counts. A repetition is counted as a
  duplicate, a changed label as a correction. (Ours.)
- Several requests of one identifier: the first counts, the others are left out, else one label would count twice.
  (Ours.)
- A label collected in an hour that ended before its request was answered is used and counted: it may be a leak or a
  reused identifier. (Ours.)
- Requests without label and labels without request are counted. Unreadable lines are counted and shown.

The output is `merge/<path of the captured file>`: the capture records with `groundTruthData` beside `captureData`.
That layout is assumed: the name of the key and the folder are known, a merged file of AWS's was not seen.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from sagewind.facts import contract
from sagewind.jobs import page
from sagewind.jobs.analysis import output, settings
from sagewind.jobs.analysis.payload import UnusableRecord
from sagewind.jobs.analysis.records import UNREADABLE, RecordTally, lines, moment
from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.job import UserError, run, write_json, write_message
from sagewind.jobs.quality.join import Label, LabelIndex

PROGRAM = "ground-truth-merge"
MERGE_FOLDER, MERGE_JSON = "merge", "merge.json"
DATA, TRUTH = (f"{contract.ROOT}/processing/{name}" for name in ("input_data", "groundtruth"))
#: The hour in a path of captured data or labels.
_HOUR = re.compile(r"(?:^|/)(\d{4})/(\d{2})/(\d{2})/(\d{2})/[^/]*$")


@dataclass
class Merged:
    """The counts of one run; `captured.used` are the merged requests, `labels.used` the labels that were read."""

    captured: RecordTally = field(default_factory=RecordTally)
    labels: RecordTally = field(default_factory=RecordTally)
    identifiers: int = 0
    duplicate_labels: int = 0
    corrected_labels: int = 0
    duplicate_requests: int = 0
    early_labels: int = 0
    unused_labels: int = 0
    strangers: tuple[str | None, str | None] = (None, None)

    def document(self) -> dict[str, Any]:
        """merge.json: a file of ours beside the merged data."""
        return {
            "merged_requests": self.captured.used,
            "requests": self.captured.records,
            "requests_without_label": self.captured.unlabelled,
            "requests_outside_window": self.captured.outside,
            "requests_excluded": self.captured.excluded,
            "duplicate_requests": self.duplicate_requests,
            "labels": self.labels.records,
            "labelled_identifiers": self.identifiers,
            "labels_without_request": self.unused_labels,
            "request_without_label": self.strangers[0],
            "label_without_request": self.strangers[1],
            "duplicate_labels": self.duplicate_labels,
            "corrected_labels": self.corrected_labels,
            "labels_before_their_prediction": self.early_labels,
            "unreadable_requests": self.captured.unusable,
            "unreadable_labels": self.labels.unusable,
            "unreadable_lines": [*self.captured.shown, *self.labels.shown],
        }


def main() -> None:
    """Run the job with the settings of its environment; UserError only if an input folder is missing."""
    settings.refuse_unsupported()
    perform()


def perform() -> Merged:
    """Merge what the environment names and leave the job's files, log and message."""
    captured = _folder(contract.DATASET_SOURCE, DATA, "captured data")
    truth = _folder(contract.GROUND_TRUTH_SOURCE, TRUTH, "ground truth")
    target = settings.folder(contract.OUTPUT_PATH)
    excluded = os.environ.get(contract.EXCLUDED_INFERENCE_IDS, "")
    merged = merge(captured, truth, target / MERGE_FOLDER, CaptureWindow.of_environment(), excluded)
    write_json(target / MERGE_JSON, merged.document())
    (target / contract.REPORT_HTML).write_text(render(merged), encoding="utf-8")
    for name, value in merged.document().items():
        if value:
            print(f"{PROGRAM}: {name}: {value}")
    write_message(
        f"Completed: {merged.captured.used} of {merged.captured.records} captured requests merged with their label, "
        f"{merged.captured.unlabelled} have none yet."
    )
    return merged


def merge(captured: Path, truth: Path, target: Path, window: CaptureWindow, excluded: str = "") -> Merged:
    """Join the two folders into `target`: one file per captured file, at its path, unless nothing of it is merged."""
    merged = Merged()
    with tempfile.TemporaryDirectory() as scratch:
        index = LabelIndex(Path(scratch) / "labels.sqlite")
        try:
            for path in _files(truth):
                _index(path, path.relative_to(truth).as_posix(), index, merged)
            merged.identifiers = index.count()
            for path in _files(captured):
                _merge_file(
                    path, target / path.relative_to(captured).with_suffix(".jsonl"), index, merged, window, excluded
                )
            merged.unused_labels = index.unused()
            merged.strangers = index.strangers()
        finally:
            index.close()
    return merged


def _folder(name: str, default: str, what: str) -> Path:
    folder = settings.folder(name, default)
    if not folder.is_dir():
        raise UserError(f"the {what} is missing: {name} {folder} is no folder, give the job the input that holds it")
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in (".jsonl", ".json", ""))


def _index(path: Path, place: str, index: LabelIndex, merged: Merged) -> None:
    known_by = _end_of_hour(place)
    for where, line in lines(path):
        merged.labels.records += 1
        try:
            record = json.loads(line)
            identifier, data = _text(record["eventMetadata"]["eventId"], "eventId"), record["groundTruthData"]
            if not isinstance(data, dict) or "data" not in data:
                raise UnusableRecord("groundTruthData has no data")
        except UNREADABLE as error:
            merged.labels.reject(where, _why(error))
            continue
        merged.labels.used += 1
        changed = index.put(identifier, Label(json.dumps(data, sort_keys=True), known_by))
        merged.duplicate_labels += changed is False
        merged.corrected_labels += changed is True


def _merge_file(
    path: Path, target: Path, index: LabelIndex, merged: Merged, window: CaptureWindow, excluded: str
) -> None:
    file = None
    try:
        for where, line in lines(path):
            merged.captured.records += 1
            try:
                record = json.loads(line)
                label = _label(record, index, merged, window, excluded)
            except UNREADABLE as error:
                merged.captured.reject(where, _why(error))
                continue
            if label is None:
                continue
            if file is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                file = target.open("wb")
            file.write(_joined(line, record, label))
            merged.captured.used += 1
    finally:
        if file is not None:
            file.close()


def _joined(line: bytes, record: Mapping[str, Any], label: Label) -> bytes:
    """The record with its label as a line; the record's own text stays as it is."""
    if "groundTruthData" in record:  # merged before: the new label counts
        text = json.dumps({**record, "groundTruthData": json.loads(label.data)}, separators=(",", ":"))
        return text.encode() + b"\n"
    # The line was read as an object with keys, so it ends in the brace that closes it.
    return line.rstrip()[:-1] + b',"groundTruthData":' + label.data.encode() + b"}\n"


def _label(
    record: Mapping[str, Any], index: LabelIndex, merged: Merged, window: CaptureWindow, excluded: str
) -> Label | None:
    """The record's label; None, and counted, if the record does not count or has none."""
    metadata, data = record["eventMetadata"], record["captureData"]
    if not isinstance(data, dict):
        raise UnusableRecord("captureData is no object")
    answered = moment(metadata)
    identifier = _text(metadata.get("inferenceId") or metadata["eventId"], "identifier")
    if not window.holds(answered):
        merged.captured.outside += 1
        return None
    if excluded and identifier.startswith(excluded):
        merged.captured.excluded += 1
        return None
    if not index.first_time(identifier):
        merged.duplicate_requests += 1
        return None
    label = index.find(identifier)
    if label is None:
        merged.captured.unlabelled += 1
        return None
    merged.early_labels += label.known_by is not None and label.known_by <= answered
    return label


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str | int) or value == "":
        raise UnusableRecord(f"the {what} is {value!r}, it must be a text")
    return str(value)


def _why(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__


def _end_of_hour(place: str) -> datetime | None:
    found = _HOUR.search(place)
    if found is None:
        return None
    try:
        start = datetime(*map(int, found.groups()), tzinfo=timezone.utc)  # type: ignore[misc, arg-type]
    except ValueError:
        return None
    return start + timedelta(hours=1)


def render(merged: Merged) -> str:
    """The page of a merge: how much was matched, then what was not and why."""
    captured = merged.captured
    share = f"{captured.used:,} of {captured.records:,} captured requests have a label"
    explained = (
        f"{captured.unlabelled:,} have none yet; {merged.unused_labels:,} labels belong to no request of this run."
    )
    request, label = merged.strangers
    if request is not None and label is not None:
        explained += f" A request without a label is {request!r}, a label without a request {label!r}."
    rows = [
        (name.replace("_", " "), f"{value:,}") for name, value in merged.document().items() if isinstance(value, int)
    ]
    return page.document(
        "Ground truth merged with predictions",
        share,
        [
            page.verdict(True if captured.used else None, share, explained),
            page.section("What was counted", page.card(page.table(("What", "How many"), rows, numeric=(1,)))),
            output.notes([*captured.notes()[1:], *merged.labels.shown]),
        ],
        f"{MERGE_JSON} beside this page holds the numbers, {MERGE_FOLDER}/ the merged records.",
    )


if __name__ == "__main__":
    sys.exit(run(main))

"""Reading what an analysis looks at, record by record: baseline tables, captured data, merged data.

Rules, the same for every format: a record that cannot be read or lacks something is left out, counted and, up to
`SHOWN` of them, shown with its place and reason; records outside the window and those of excluded requests are counted;
merged records without a label are counted as unlabelled. Only what is unusable as a whole ends the run with an error.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sagewind.jobs.analysis import dataset, payload, settings
from sagewind.jobs.analysis.payload import UnusableRecord
from sagewind.jobs.analysis.settings import Attributes
from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.config import parse_time
from sagewind.jobs.job import UserError

#: Unusable records that are shown one by one; all are counted.
SHOWN = 20
ENCODING = "utf-8-sig"
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, csv.Error, RecursionError, UnusableRecord)


@dataclass
class RecordTally:
    """What became of the records: `records` were seen, `used` rows went into the analysis."""

    records: int = 0
    used: int = 0
    outside: int = 0
    excluded: int = 0
    unlabelled: int = 0
    unusable: int = 0
    shown: list[str] = field(default_factory=list)

    def reject(self, where: str, reason: str) -> None:
        """Count a record (or row) that is left out, and keep its reason."""
        self.unusable += 1
        if len(self.shown) < SHOWN:
            self.shown.append(f"{where}: {reason}")

    def notes(self) -> list[str]:
        """Sentences for the log and the report; the first one always, the others if there is something to say."""
        found = [f"{self.used} rows analysed, of {self.records} records"]
        found += [f"{self.outside} records lie outside the window"] if self.outside else []
        found += [f"{self.excluded} records are excluded by their inference id"] if self.excluded else []
        found += [f"{self.unlabelled} records have no ground truth"] if self.unlabelled else []
        found += [f"{self.unusable} records could not be used"] if self.unusable else []
        return [*found, *self.shown]

    def require_rows(self, what: str) -> None:
        """UserError if nothing was left to analyse; it says what became of everything."""
        if not self.used:
            reasons = "; ".join(self.notes()[1:4]) or "the input holds no record"
            raise UserError(f"no data: no row of {what} can be analysed ({reasons}): check the job's inputs")


@dataclass(frozen=True)
class Sample:
    """One row: its inputs by name and, as they stand, prediction, probability (or class scores) and label."""

    inputs: Mapping[str, Any]
    prediction: Any
    probability: Any
    label: Any
    where: str


@dataclass(frozen=True)
class RecordSource:
    """Where the rows come from and what has to be known of each.

    `headers` names the columns of tables and payloads that carry no names. Without `labelled` the ground truth is not
    asked for, without `predicted` neither is the response, without `requested` neither is the request of captured data.
    """

    folder: Path
    kind: str
    options: Mapping[str, Any]
    attributes: Attributes
    window: CaptureWindow
    excluded: str = ""
    headers: Sequence[str] = ()
    labelled: bool = True
    predicted: bool = True
    requested: bool = True


def read(source: RecordSource, tally: RecordTally) -> Iterator[Sample]:
    """All rows of the source, one at a time; UserError if there is no file, or an attribute names no column."""
    suffixes = {dataset.MERGED: (".jsonl",), dataset.CAPTURE: (".jsonl",)}.get(source.kind)
    paths = [source.folder] if source.folder.is_file() else sorted(source.folder.rglob("*"))
    paths = [path for path in paths if path.is_file() and (suffixes is None or path.suffix in suffixes)]
    if not paths:
        raise UserError(f"no data: {source.folder} holds no file to analyse, check the job's input")
    readers = {dataset.CSV: _csv, dataset.JSON: _json_lines, dataset.PARQUET: _parquet}
    for path in paths:
        yield from readers.get(source.kind, _captured)(path, source, tally)


def lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """The non-empty lines of a file with their place in words, one at a time."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"line {number} of {path.name}", line


def _csv(path: Path, source: RecordSource, tally: RecordTally) -> Iterator[Sample]:
    # A byte that is no UTF-8 spoils its own cell, not the file.
    with path.open(encoding=ENCODING, errors="replace", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True)
        header = next(reader, None) if source.options.get("header") in dataset.TRUE else None
        names = [name.strip() for name in header] if header else list(source.headers)
        width = len(names) or None
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                tally.records += 1
                tally.reject(f"line {reader.line_num} of {path.name}", str(error))
                continue
            if row is None:
                return
            if not row:
                continue
            tally.records += 1
            where, width = f"line {reader.line_num} of {path.name}", width or len(row)
            if len(row) != width:
                tally.reject(where, f"{len(row)} cells, the file has {width} columns")
                continue
            yield _sample({payload.column(i, names): cell.strip() for i, cell in enumerate(row)}, where, source, path)


def _json_lines(path: Path, source: RecordSource, tally: RecordTally) -> Iterator[Sample]:
    for where, line in lines(path):
        tally.records += 1
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise UnusableRecord(f"the line is a JSON {type(row).__name__}, it must be an object")
            yield _of_object(row, where, source)
        except UNREADABLE as error:
            tally.reject(where, _reason(error))


def _of_object(row: Mapping[str, Any], where: str, source: RecordSource) -> Sample:
    wanted = source.attributes
    inputs: Mapping[str, Any] = row
    if wanted.features:
        inputs = payload.rows(payload.DecodedPayload(documents=[row]), wanted.features, source.headers)[0]
    return Sample(
        inputs,
        _path(row, wanted.inference) if source.predicted else None,
        _path(row, wanted.probability) if source.predicted else None,
        _path(row, wanted.ground_truth) if source.labelled else None,
        where,
    )


def _path(row: Mapping[str, Any], attribute: str | None) -> Any:
    if attribute is None or attribute in row:
        return row.get(attribute) if attribute else None
    found = payload.search(attribute, row)
    if found is None:
        raise UnusableRecord(f"the record has no {attribute!r}")
    return found


def _parquet(path: Path, source: RecordSource, tally: RecordTally) -> Iterator[Sample]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        for number, batch in enumerate(file.iter_batches(batch_size=65_536)):
            for index, row in enumerate(batch.to_pylist(), start=number * 65_536 + 1):
                tally.records += 1
                yield _sample(row, f"row {index} of {path.name}", source, path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path.name} is no Parquet file that can be read ({error}): write it again") from error


def _sample(row: Mapping[str, Any], where: str, source: RecordSource, path: Path) -> Sample:
    wanted, predicted = source.attributes, source.predicted
    return Sample(
        row,
        _in_table(row, wanted.inference if predicted else None, settings.INFERENCE_ATTRIBUTE, path),
        _in_table(row, wanted.probability if predicted else None, settings.PROBABILITY_ATTRIBUTE, path),
        _in_table(row, wanted.ground_truth if source.labelled else None, settings.GROUND_TRUTH_ATTRIBUTE, path),
        where,
    )


def _in_table(row: Mapping[str, Any], attribute: str | None, setting: str, path: Path) -> Any:
    """A cell of a table; a column that is not there is an error of the settings, not of the row."""
    if attribute is None:
        return None
    if attribute in row:
        return row[attribute]
    if attribute.isdigit() and int(attribute) < len(row):
        return list(row.values())[int(attribute)]
    raise UserError(f"{setting} is {attribute!r}, the columns of {path.name} are {', '.join(row)}: name one of these")


def _captured(path: Path, source: RecordSource, tally: RecordTally) -> Iterator[Sample]:
    for where, line in lines(path):
        tally.records += 1
        try:
            record = json.loads(line)
            yield from _of_record(record, where, source, tally)
        except UNREADABLE as error:
            tally.reject(where, _reason(error))


def _of_record(record: Mapping[str, Any], where: str, source: RecordSource, tally: RecordTally) -> list[Sample]:
    metadata = record["eventMetadata"]
    if not source.window.holds(moment(metadata)):
        tally.outside += 1
        return []
    if source.excluded and str(metadata.get("inferenceId", "")).startswith(source.excluded):
        tally.excluded += 1
        return []
    truth = record.get("groundTruthData") if source.labelled else None
    if source.labelled and not truth:
        tally.unlabelled += 1
        return []
    labels = payload.only(payload.read(truth)) if truth else None
    if labels is not None:
        labels = [_label(label, source.attributes.ground_truth) for label in labels]
    return _rows(record["captureData"], labels, where, source)


def moment(metadata: Mapping[str, Any]) -> datetime:
    """When a captured request was answered; UnusableRecord if its time is none."""
    try:
        return parse_time(str(metadata["inferenceTime"]), "inferenceTime")
    except UserError as error:
        raise UnusableRecord(str(error)) from error


def _label(label: Any, attribute: str | None) -> Any:
    if not isinstance(label, list):
        return label
    if attribute and attribute.isdigit() and int(attribute) < len(label):
        return label[int(attribute)]
    raise UnusableRecord(f"the ground truth has {len(label)} cells, it must be the label alone")


def _rows(data: Mapping[str, Any], labels: list[Any] | None, where: str, source: RecordSource) -> list[Sample]:
    predictions, probabilities = _response(data, source) if source.predicted else (None, None)
    inputs = _request(data, source)
    if inputs is None:
        inputs = [{} for _ in labels or predictions or probabilities or ()]
    count = len(labels) if labels is not None else len(inputs)
    if predictions and probabilities and count == 1 and len(predictions) == len(probabilities) > 1:
        # Labels and probabilities of all classes: the most probable one counts (documented for the bias monitor).
        scores = [float(score) for score in probabilities]
        best = scores.index(max(scores))
        predictions, probabilities = [predictions[best]], [probabilities[best]]
    if probabilities and len(probabilities) == 1 and isinstance(probabilities[0], list):
        # Older images of built-in XGBoost answer the rows of a mini-batch in one line; as many labels tell.
        probabilities = probabilities[0] if len(probabilities[0]) == count > 1 else probabilities
    for name, values in (("predictions", predictions), ("probabilities", probabilities), ("labels", labels)):
        if values is not None and len(values) != len(inputs):
            raise UnusableRecord(f"the record has {len(inputs)} rows, there are {len(values)} {name}")
    nothing: list[Any] = [None] * len(inputs)
    columns = (inputs, predictions or nothing, probabilities or nothing, labels or nothing)
    return [Sample(*cells, where) for cells in zip(*columns, strict=True)]


def _request(data: Mapping[str, Any], source: RecordSource) -> list[dict[str, Any]] | None:
    """The request's rows, or None where they are not wanted or not captured."""
    if not source.requested or "endpointInput" not in data:
        return None
    return payload.rows(payload.read(data["endpointInput"]), source.attributes.features, source.headers)


def _response(data: Mapping[str, Any], source: RecordSource) -> tuple[list[Any] | None, list[Any] | None]:
    answer = payload.read(data["endpointOutput"])
    wanted = source.attributes
    if wanted.inference is None and wanted.probability is None:
        return None, payload.scores(answer)
    return (
        payload.pick(answer, wanted.inference) if wanted.inference else None,
        payload.pick(answer, wanted.probability) if wanted.probability else None,
    )


def _reason(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__

"""DataProcessing of a transform job: what of a record goes to the model, and what of record and answer is kept.

Rules from the API reference (DataProcessing, BatchDataCaptureConfig) and the developer guide ("Associate Prediction
Results with Input Records", "Capture data from batch transform job").
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.transform import csv_filter, json_path
from localaws.transform.csv_filter import ColumnPath, FilterError
from localaws.transform.json_path import JsonPath
from localaws.transform.record_split import lines_of

JOINING = "developer guide, Associate Prediction Results with Input Records"
FORMATS = {
    "text/csv": "csv", "application/json": "json", "application/jsonlines": "lines", "application/x-jsonlines": "lines",
}  # fmt: skip
OPERATORS = "['$', '[', ']', '*', '.', ' ', ',', ':', '-', ''']"  # of JSON paths, as AWS lists them
STRANGE = re.compile(r"[^a-zA-Z0-9$\[\]*. ,:'-]")
INPUT, OUTPUT = "SageMakerInput", "SageMakerOutput"
ID, TIME = "SageMakerInferenceId", "SageMakerInferenceTime"
BEHAVIOURS = (
    Behaviour("joined CSV: the columns of the answer after those of the record", "documented", JOINING),
    Behaviour("joined JSON: the answer is SageMakerOutput of the record, or beside SageMakerInput when the record is "
              "no object", "documented", JOINING),
    Behaviour("filters and joins need content types CSV, JSON or JSON lines", "documented", JOINING),
    Behaviour("joining or filtering CSV needs SplitType and AssembleWith Line", "documented", JOINING),
    Behaviour("a JSON path with other signs than letters, digits and operators is refused, an underscore too", "seen",
              "aws/aws-sdk issue 184"),
    Behaviour("a join needs input and output of one kind, CSV or JSON; Accept is the content type when left out",
              "assumed"),
    Behaviour("joined and filtered JSON is written without blanks", "assumed"),
    Behaviour("GenerateInferenceId: two more columns, or SageMakerInferenceId and SageMakerInferenceTime", "documented",
              "developer guide, Capture data from batch transform job"),
)  # fmt: skip


@dataclass(frozen=True)
class DataProcessing:
    """What is done to records and answers. Formats are csv, json, lines (JSON lines) or None for any other."""

    input_format: str | None
    output_format: str | None
    input_filter: ColumnPath | JsonPath
    output_filter: ColumnPath | JsonPath
    join: bool
    inference_time: str | None  # when each result gets an id: the time that goes with it
    split: bool  # whether a request's records are lines of the object, or it is one record

    @property
    def reshapes(self) -> bool:
        """Whether answers must be told apart, record by record."""
        return self.join or not self.output_filter.whole or self.inference_time is not None

    def select(self, records: Sequence[bytes]) -> Sequence[bytes]:
        """What of each record goes to the model; FilterError when a record does not fit the filter."""
        path = self.input_filter
        if path.whole:
            return records
        if isinstance(path, ColumnPath):
            return csv_filter.select_records(path, records)
        return [dump(path.select(load(record, "a record"))) for record in records]

    def results(self, inputs: Sequence[bytes], answer: bytes) -> list[bytes]:
        """One result for each record, without line endings; FilterError when the answer cannot be told apart."""
        outputs = [answer] if self.output_format == "json" and len(inputs) == 1 else lines_of(answer)
        if (self.join or self.split) and len(inputs) != len(outputs):
            raise FilterError(
                f"the model answered {len(outputs)} lines to a request of {len(inputs)} records; "
                "joining and output filters need one line for each record"
            )
        return self._csv(inputs, outputs) if self.output_format == "csv" else self._json(inputs, outputs)

    def _csv(self, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> list[bytes]:
        assert isinstance(self.output_filter, ColumnPath)
        joined = list(map(b",".join, zip(inputs, outputs, strict=True))) if self.join else outputs
        chosen = csv_filter.select_records(self.output_filter, joined)
        if self.inference_time is None:
            return chosen
        tail = f",{self.inference_time}".encode()
        return [b"%b,%b%b" % (line, str(uuid.uuid4()).encode(), tail) for line in chosen]

    def _json(self, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> list[bytes]:
        values = [load(output, "an answer of the model") for output in outputs]
        if self.join:
            records = (load(record, "a record") for record in inputs)
            values = [_joined(record, value) for record, value in zip(records, values, strict=True)]
        values = [self.output_filter.select(value) for value in values]
        if self.inference_time is not None:
            values = [_identified(value, self.inference_time) for value in values]
        return [dump(value) for value in values]


def _joined(record: Any, answer: Any) -> dict[str, Any]:
    if isinstance(record, dict):
        return {**record, OUTPUT: answer}
    return {INPUT: record, OUTPUT: answer}


def _identified(value: Any, time: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FilterError(f"GenerateInferenceId needs results that are JSON objects, the model answered {value!r:.40}")
    return {**value, ID: str(uuid.uuid4()), TIME: time}


def load(text: bytes, what: str) -> Any:
    """A JSON text; FilterError says which it was."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise FilterError(f"{what} is no JSON: {error}") from None


def dump(value: Any) -> bytes:
    """A JSON text without blanks and line ends."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def media_format(content_type: str | None) -> str | None:
    """Which of the formats a content type stands for."""
    return FORMATS.get((content_type or "").partition(";")[0].strip().lower())


def read(request: Mapping[str, Any], inference_time: str = "") -> DataProcessing:
    """The processing of a CreateTransformJob request; ValidationException for what does not go together.

    `inference_time` is known when the job starts.
    """
    given = request.get("DataProcessing", {})
    source, target = request["TransformInput"], request["TransformOutput"]
    before = media_format(source.get("ContentType"))
    after = media_format(target["Accept"]) if target.get("Accept") else before
    generate = request.get("DataCaptureConfig", {}).get("GenerateInferenceId", False)
    made = DataProcessing(
        input_format=before,
        output_format=after,
        input_filter=_path("InputFilter", given.get("InputFilter", "$"), before, source.get("ContentType")),
        output_filter=_path("OutputFilter", given.get("OutputFilter", "$"), after, target.get("Accept")),
        join=given.get("JoinSource", "None") == "Input",
        inference_time=inference_time if generate else None,
        split=source.get("SplitType", "None") != "None",
    )
    _check(made, request)
    return made


def _path(member: str, text: str, kind: str | None, media: str | None) -> ColumnPath | JsonPath:
    try:
        if kind == "csv":
            return csv_filter.parse_path(text)
        if strange := STRANGE.search(text):
            raise ValidationException(
                f'Invalid {member}: "{text}". Unexpected "{strange[0]}" in JsonPath. '
                f'Supported operators for "{media or "application/json"}" are {OPERATORS}'
            )
        return json_path.parse(text)
    except FilterError as error:
        raise ValidationException(f"DataProcessing.{member}: {error}") from None


def _check(made: DataProcessing, request: Mapping[str, Any]) -> None:
    source, target = request["TransformInput"], request["TransformOutput"]
    filters = not made.input_filter.whole
    if not (made.reshapes or filters):
        return
    wrong = "DataProcessing" if made.join or filters or not made.output_filter.whole else "GenerateInferenceId"
    needs = [("TransformInput.ContentType", made.input_format, source.get("ContentType"))] * (filters or made.join)
    needs += [("TransformOutput.Accept", made.output_format, target.get("Accept"))] * made.reshapes
    for member, found, value in needs:
        if found is None:
            raise ValidationException(f"{wrong} needs {member} to be one of {', '.join(FORMATS)}, found {value!r}.")
    if made.join and (made.input_format == "csv") != (made.output_format == "csv"):
        raise ValidationException(
            f"DataProcessing.JoinSource Input needs input and output of one kind, found TransformInput.ContentType "
            f"{source.get('ContentType')!r} and TransformOutput.Accept {target.get('Accept')!r}."
        )
    _check_split(made, wrong, source.get("SplitType", "None"), target.get("AssembleWith", "None"))


def _check_split(made: DataProcessing, wrong: str, split: str, assemble: str) -> None:
    kinds = {made.input_format if made.join or not made.input_filter.whole else None,
             made.output_format if made.reshapes else None}  # fmt: skip
    by_line = "csv" in kinds and wrong == "DataProcessing"
    if split not in ("Line", "None") or (by_line and split != "Line"):
        raise ValidationException(f"{wrong} needs TransformInput.SplitType Line, to tell records apart, found {split}.")
    if made.reshapes and assemble != "Line" and (by_line or split == "Line"):
        raise ValidationException(f"{wrong} needs TransformOutput.AssembleWith Line, found {assemble}.")

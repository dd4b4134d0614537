"""Requests, responses and labels as data capture and ground truth store them, and the values picked out of them."""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagewind.jobs.job import UserError

#: Keys under which a JSON payload usually holds one object per row (SageMaker's common data formats).
WRAPPERS = ("predictions", "instances")


class UnusableRecord(Exception):
    """A record that cannot be used; the text says why."""


@dataclass(frozen=True)
class DecodedPayload:
    """One payload: CSV rows of text cells, or JSON documents (one, or one a line)."""

    cells: Sequence[Sequence[str]] | None = None
    documents: Sequence[Any] = ()


def number(value: Any, what: str) -> float:
    """A finite number from a record; UnusableRecord if the value is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found):
        raise UnusableRecord(f"the {what} is {value!r}, it must be a finite number")
    return found


def read(part: Mapping[str, Any]) -> DecodedPayload:
    """Decode a captured part or a ground truth; UnusableRecord for an unknown encoding or text that is not as it says.

    A BASE64 payload is taken by its content type; that data capture writes it so is assumed, not seen.
    """
    text, encoding = part["data"], str(part.get("encoding") or "CSV").upper()
    content = str(part.get("observedContentType") or "").lower()
    if encoding == "BASE64":
        text = base64.b64decode(text, validate=True).decode("utf-8")
        encoding = "JSON" if "json" in content else "CSV"
    if encoding == "CSV":
        rows = [row for row in csv.reader(str(text).splitlines(), skipinitialspace=True, strict=True) if row]
        return DecodedPayload(cells=[[cell.strip() for cell in row] for row in rows])
    if encoding == "JSON":
        if not isinstance(text, str):
            return DecodedPayload(documents=[text])
        if "jsonlines" in content:
            return DecodedPayload(documents=[json.loads(line) for line in text.splitlines() if line.strip()])
        return DecodedPayload(documents=[json.loads(text)])
    raise UnusableRecord(f"the encoding {encoding!r} is not known (CSV, JSON, BASE64)")


def pick(payload: DecodedPayload, attribute: str) -> list[Any]:
    """One value per row: a column of CSV by its index, a JMESPath of JSON; a value may be a list of class scores."""
    if payload.cells is not None:
        return [_cell(row, attribute) for row in payload.cells]
    return [value for document in payload.documents for value in _of_document(document, attribute)]


def only(payload: DecodedPayload) -> list[Any]:
    """One value per row of a response without attributes: a number, or all numbers of a row as class scores.

    That a CSV response without attributes is one score is documented for the bias monitor; rows of scores are ours.
    """
    if payload.cells is not None:
        return [row[0] if len(row) == 1 else list(row) for row in payload.cells]
    if len(payload.documents) == 1 and isinstance(payload.documents[0], int | float):
        return [payload.documents[0]]
    raise UnusableRecord("the response is JSON: name the prediction with inference_attribute or probability_attribute")


def scores(payload: DecodedPayload) -> list[Any]:
    """One value per row of a response without attributes, as the models of this project answer.

    Beside what `only` takes: rows in brackets, and JSON with a list `predictions` of numbers, rows or `{"score": x}`.
    """
    if payload.cells is not None:
        cells = [[cell.strip("[] ") for cell in row] for row in payload.cells]
        return only(DecodedPayload(cells=cells))
    document = payload.documents[0] if len(payload.documents) == 1 else None
    if isinstance(document, dict) and isinstance(document.get(WRAPPERS[0]), list):
        return [row["score"] if isinstance(row, dict) and "score" in row else row for row in document[WRAPPERS[0]]]
    return only(payload)


def rows(payload: DecodedPayload, attribute: str | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """The request's rows by column name; rows without names take `names` by position, then `_c0`, `_c1` ..."""
    if payload.cells is not None:
        return [_named(row, names) for row in payload.cells]
    found = [row for document in payload.documents for row in _json_rows(document, attribute)]
    return [row if isinstance(row, dict) else _named(row, names) for row in found]


def column(index: int, names: Sequence[str]) -> str:
    """The name of a column without one of its own."""
    return names[index] if index < len(names) else f"_c{index}"


def search(path: str, document: Any) -> Any:
    """What a JMESPath finds; UserError if the path is no such expression or the library is absent."""
    try:
        import jmespath
    except ModuleNotFoundError as error:
        raise UserError(
            f"the attribute {path!r} needs the library jmespath, which is not installed: it comes with boto3"
        ) from error
    try:
        return jmespath.search(path, document)
    except jmespath.exceptions.JMESPathError as error:
        raise UserError(
            f"the attribute {path!r} is no JMESPath ({error}): write one such as predictions[0].score"
        ) from error


def _cell(row: Sequence[str], attribute: str) -> str:
    if not attribute.isdigit():
        raise UnusableRecord(
            f"the payload is CSV without names, the attribute is {attribute!r}: give an index from zero"
        )
    if int(attribute) >= len(row):
        raise UnusableRecord(f"the attribute {attribute} is beyond the {len(row)} columns of the payload")
    return row[int(attribute)]


def _of_document(document: Any, attribute: str) -> list[Any]:
    if attribute.isdigit():
        return [_at(row, int(attribute)) for row in _json_rows(document, None)]
    found = search(attribute, document)
    wrapped = [document[key] for key in WRAPPERS if isinstance(document, dict) and isinstance(document.get(key), list)]
    if found is None and wrapped:
        found = [search(attribute, row) for row in wrapped[0]]
    values = found if isinstance(found, list) else [found]
    if not values or any(value is None for value in values):
        raise UnusableRecord(f"the payload has no {attribute!r}")
    return values


def _at(row: Any, index: int) -> Any:
    if not isinstance(row, list) or index >= len(row):
        raise UnusableRecord(f"the payload has no column {index}")
    return row[index]


def _json_rows(document: Any, attribute: str | None) -> list[Any]:
    """Rows of a JSON payload: an object, a row, a list of either, or such a list under one of the usual keys."""
    if attribute:
        document = search(attribute, document)
    elif isinstance(document, dict):
        document = next((document[key] for key in WRAPPERS if isinstance(document.get(key), list)), document)
    if isinstance(document, dict):
        document = [document]
    if isinstance(document, list) and document and not isinstance(document[0], list | dict):
        document = [document]
    if not isinstance(document, list):
        raise UnusableRecord(f"the payload's rows are a {type(document).__name__}, they must be a list or an object")
    return [row["features"] if isinstance(row, dict) and isinstance(row.get("features"), list) else row
            for row in document]  # fmt: skip


def _named(row: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    return {column(index, names): value for index, value in enumerate(row)}

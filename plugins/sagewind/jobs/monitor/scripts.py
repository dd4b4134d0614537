"""A user's pre- and post-processing scripts, with the functions that AWS's analyzer calls.

`preprocess_handler(inference_record)` or `preprocess_handler(inference_record, logger)` gives a flat dictionary, a
list, or an empty list to drop the record; `postprocess_handler()` runs when all files are written.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from sagewind.jobs.job import UserError
from sagewind.jobs.monitor.rows import Row, text_of

PREPROCESS, POSTPROCESS = "preprocess_handler", "postprocess_handler"
LOGGER = logging.getLogger("record_preprocessor_script")


def _load(path: Path, setting: str, function: str) -> Callable[..., Any]:
    if not path.is_file():
        raise UserError(f"the setting {setting} names {path}, but there is no such file: check the job's inputs")
    specification = importlib.util.spec_from_file_location(f"user_{path.stem}", path)
    if specification is None or specification.loader is None:
        raise UserError(f"the setting {setting} names {path}, which is no Python file: give one that ends with .py")
    module: ModuleType = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise UserError(
            f"the script {path.name} fails when loaded ({type(error).__name__}: {error}): correct it"
        ) from error
    found: Any = getattr(module, function, None)
    if not callable(found):
        raise UserError(f"the script {path.name} has no function {function}: define it")
    handler: Callable[..., Any] = found
    return handler


def preprocessor(path: Path, setting: str) -> Callable[[InferenceRecord], list[Row]]:
    """The user's handler as a function from a record to rows; it raises whatever the handler raises."""
    handler = _load(path, setting, PREPROCESS)
    with_logger = len(inspect.signature(handler).parameters) > 1

    def rows(record: InferenceRecord) -> list[Row]:
        return list(_rows(handler(record, LOGGER) if with_logger else handler(record)))

    return rows


def _rows(value: Any) -> Iterator[Row]:
    if isinstance(value, Mapping):
        yield {str(name): text_of(cell) for name, cell in value.items()}
    elif isinstance(value, list | tuple):
        if value and all(isinstance(item, Mapping | list | tuple) for item in value):
            for item in value:
                yield from _rows(item)
        elif value:
            yield [text_of(cell) for cell in value]
    elif value is not None:
        raise TypeError(f"{PREPROCESS} returned a {type(value).__name__}, it must return a dictionary or a list")


def postprocess(path: Path, setting: str) -> None:
    """Run the user's `postprocess_handler()`; UserError with its own error if it fails."""
    handler = _load(path, setting, POSTPROCESS)
    try:
        handler()
    except Exception as error:
        raise UserError(f"{POSTPROCESS} of {path.name} failed ({type(error).__name__}: {error}): correct it") from error


class _Part:
    """Payload of one side of a request."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.encoding = document.get("encoding")
        self.data = document.get("data")
        self.observedContentType = document.get("observedContentType")
        self.observed_content_type = self.observedContentType
        self.mode = document.get("mode")


class _Metadata:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self.event_id = document.get("eventId")
        self.inference_id = document.get("inferenceId")
        self.event_time = document.get("inferenceTime")
        self.custom_attribute = document.get("customAttributes")


class InferenceRecord:
    """What a handler is given: a captured request with the attribute names of AWS's analyzer."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        captured = document.get("captureData") or {}
        self.endpoint_input = _Part(captured.get("endpointInput") or {})
        self.endpoint_output = _Part(captured.get("endpointOutput") or {})
        self.batch_transform_output = _Part(captured.get("batchTransformOutput") or {})
        self.event_metadata = _Metadata(document.get("eventMetadata") or {})
        self.ground_truth = (document.get("groundTruthData") or {}).get("data")
        self.event_version = document.get("eventVersion")
        self._document = document

    def as_dict(self) -> Mapping[str, Any]:
        """The record as it was captured."""
        return self._document

    def __str__(self) -> str:
        return json.dumps(self._document)

"""Data capture of endpoints: what went in and came out, as JSON lines in S3.

Layout and fields follow the developer guide (data capture for endpoints): objects
`<destination>/<endpoint>/<variant>/yyyy/mm/dd/hh/<minute>-<second>-<millisecond>-<uuid>.jsonl` in UTC, one
record a line. Records are buffered and written every couple of seconds, and at once when an endpoint is
updated or deleted or the server ends; a record that S3 would not take stays in the buffer for the next
round.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localaws.coverage import Behaviour

LOG = logging.getLogger("localaws.capture")
MODES = {"Input": ("Input",), "Output": ("Output",), "InputAndOutput": ("Input", "Output")}
MAX_BUFFERED_BYTES = 64 * 1024 * 1024
BEHAVIOURS = (
    Behaviour("data capture: layout, fields, UTC", "documented", "SageMaker developer guide, Data capture"),
    Behaviour("data capture: content types that are not named are kept as Base64", "documented",
              "CreateEndpointConfig, CaptureContentTypeHeader"),
    Behaviour("captured data is in S3 after about two seconds; AWS may take minutes", "assumed"),
    Behaviour("only invocations that were answered well are captured", "assumed"),
    Behaviour("asynchronous invocations are captured as others are", "assumed"),
)  # fmt: skip


@dataclass(frozen=True)
class CapturedPayload:
    """One side of an invocation as captured: its body and the content type it came with, if any."""

    body: bytes
    content_type: str | None


@dataclass(frozen=True)
class CaptureConfig:
    """DataCaptureConfig of an endpoint configuration, read once."""

    destination: str
    percentage: int
    modes: frozenset[str]
    csv_types: frozenset[str]
    json_types: frozenset[str]

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> CaptureConfig | None:
        """The configuration, or None when capture is not asked for or switched off."""
        if not config or not config.get("EnableCapture", True):
            return None
        headers = config.get("CaptureContentTypeHeader") or {}
        return cls(
            destination=str(config["DestinationS3Uri"]),
            percentage=int(config["InitialSamplingPercentage"]),
            modes=frozenset(mode for option in config["CaptureOptions"] for mode in MODES[option["CaptureMode"]]),
            csv_types=frozenset(_media_type(item) for item in headers.get("CsvContentTypes", ())),
            json_types=frozenset(_media_type(item) for item in headers.get("JsonContentTypes", ())),
        )

    def sampled(self, draw: Callable[[], float] = random.random) -> bool:
        """Whether this invocation is one of the sampled percentage."""
        return draw() * 100 < self.percentage

    def encode(self, payload: CapturedPayload, mode: str) -> dict[str, str]:
        """One side of the record.

        A content type that the configuration does not name is written as BASE64.
        """
        media = _media_type(payload.content_type or "")
        encoding = "CSV" if media in self.csv_types else "JSON" if media in self.json_types else "BASE64"
        if encoding != "BASE64":
            try:
                data = payload.body.decode("utf-8")
            except UnicodeDecodeError:
                encoding = "BASE64"  # not the text it claims to be: keep the bytes rather than lose them
        if encoding == "BASE64":
            data = base64.b64encode(payload.body).decode("ascii")
        observed = {"observedContentType": payload.content_type} if payload.content_type else {}
        return {**observed, "mode": mode, "data": data, "encoding": encoding}


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def record_line(
    config: CaptureConfig,
    request: CapturedPayload,
    response: CapturedPayload,
    at: datetime,
    *,
    event_id: str,
    inference_id: str | None = None,
    custom_attributes: str | None = None,
) -> bytes:
    """One capture record as a line with its newline; `at` is when the invocation came in, in UTC."""
    captured: dict[str, Any] = {}
    if "Input" in config.modes:
        captured["endpointInput"] = config.encode(request, "INPUT")
    if "Output" in config.modes:
        captured["endpointOutput"] = config.encode(response, "OUTPUT")
    metadata: dict[str, Any] = {"eventId": event_id}
    if custom_attributes:
        metadata["customAttributes"] = [custom_attributes]
    if inference_id:
        metadata["inferenceId"] = inference_id
    metadata["inferenceTime"] = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {"captureData": captured, "eventMetadata": metadata, "eventVersion": "0"}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def object_uri(destination: str, endpoint: str, variant: str, at: datetime, unique: str) -> str:
    """The S3 URI of a capture file whose first record came at `at`."""
    utc = at.astimezone(UTC)
    hour = utc.strftime("%Y/%m/%d/%H")
    return (
        f"{destination.rstrip('/')}/{endpoint}/{variant}/{hour}/"
        f"{utc.minute:02d}-{utc.second:02d}-{utc.microsecond // 1000:03d}-{unique}.jsonl"
    )


@dataclass(frozen=True)
class _Slot:
    """Records of one slot share a file: same place, same hour."""

    destination: str
    endpoint: str
    variant: str
    hour: str


class CaptureBuffer:
    """Collects records and writes them through `put` (S3 URI, body); thread safe.

    One thread writes every `interval` seconds while there is something to write; `flush` writes now and
    `close` writes what is left and ends the thread."""

    def __init__(self, put: Callable[[str, bytes], None], interval: float) -> None:
        self._put = put
        self._interval = interval
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._held: dict[_Slot, list[tuple[datetime, bytes]]] = defaultdict(list)
        self._bytes = 0
        self._due = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, destination: str, endpoint: str, variant: str, at: datetime, line: bytes) -> None:
        """Take one record; it is in S3 after at most about `interval` seconds."""
        slot = _Slot(destination, endpoint, variant, at.astimezone(UTC).strftime("%Y%m%d%H"))
        with self._lock:
            if self._bytes + len(line) > MAX_BUFFERED_BYTES:
                LOG.error("capture of endpoint %s: buffer is full, a record is dropped", endpoint)
                return
            self._held[slot].append((at, line))
            self._bytes += len(line)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
                self._thread.start()
        self._due.set()

    def flush(self, endpoint: str | None = None) -> None:
        """Write everything held (of one endpoint, or of all) before returning."""
        with self._writing:
            with self._lock:
                taken = {slot: self._held.pop(slot) for slot in list(self._held) if endpoint in (None, slot.endpoint)}
            for slot, records in taken.items():
                self._write(slot, records)

    def close(self) -> None:
        """Write what is left and end the writing thread."""
        self._closed.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _write(self, slot: _Slot, records: list[tuple[datetime, bytes]]) -> None:
        first = min(at for at, _ in records)
        uri = object_uri(slot.destination, slot.endpoint, slot.variant, first, str(uuid.uuid4()))
        body = b"".join(line for _, line in records)
        try:
            self._put(uri, body)
        except Exception as error:  # whatever S3 says must end neither the thread nor the invocations
            LOG.warning("capture of endpoint %s: %s not written, kept for the next try: %s", slot.endpoint, uri, error)
            with self._lock:
                self._held[slot][:0] = records
            return
        with self._lock:
            self._bytes -= len(body)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._due.wait()
            if self._closed.wait(self._interval):
                return
            self._due.clear()
            self.flush()
            with self._lock:
                if self._held:  # something could not be written, or came in meanwhile
                    self._due.set()

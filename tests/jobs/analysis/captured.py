"""Captured requests and their ground truth, as the tests of all analyses write them."""

from __future__ import annotations

TIME = "2026-11-20T03:15:00Z"


def request(event: str, output: str = "0.9", inference: str | None = None, time: str = TIME) -> dict:
    """A capture record."""
    capture = {
        "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2", "encoding": "CSV"},
        "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": output, "encoding": "CSV"},
    }
    metadata = {"eventId": event, "inferenceTime": time} | ({"inferenceId": inference} if inference else {})
    return {"captureData": capture, "eventMetadata": metadata, "eventVersion": "0"}


def label(identifier: str, data: str = "1") -> dict:
    """A ground-truth record as the developer guide shows it."""
    truth = {"data": data, "encoding": "CSV"}
    return {"groundTruthData": truth, "eventMetadata": {"eventId": identifier}, "eventVersion": "0"}

"""The default formats of a framework container: CSV, JSON and NPY to and from arrays (sagemaker-inference's codecs)."""

import io
import json
from typing import Any

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"


class UnsupportedFormat(Exception):
    """A content type that the defaults do not know; the user's input_fn or output_fn may."""

    def __init__(self, content_type: str) -> None:
        super().__init__(
            f"Content type {content_type} is not supported by this framework. Please implement input_fn to deserialize "
            "the request data or an output_fn to serialize the response."
        )


def decode(body: bytes | str, content_type: str) -> Any:
    """An array; rows x columns for CSV also when there is one of either."""
    import numpy as np

    kind = content_type.split(";")[0].strip().lower()
    if kind == NPY:
        return np.load(io.BytesIO(body if isinstance(body, bytes) else body.encode("latin-1")), allow_pickle=False)
    text = body.decode("utf-8") if isinstance(body, bytes) else body
    if kind == JSON:
        return np.array(json.loads(text))
    if kind == CSV:
        cells = [
            [float(c) if c.strip() else float("nan") for c in line.split(",")] for line in text.strip().splitlines()
        ]
        return np.array(cells)
    raise UnsupportedFormat(content_type)


def encode(prediction: Any, content_type: str) -> bytes:
    """An array-like as CSV (one line per row, repr precision), JSON or NPY."""
    import numpy as np

    kind = content_type.split(";")[0].strip().lower()
    if kind == JSON:
        return json.dumps(prediction, default=_plain).encode()
    if kind == NPY:
        buffer = io.BytesIO()
        np.save(buffer, prediction, allow_pickle=False)
        return buffer.getvalue()
    if kind == CSV:
        stream = io.StringIO()
        np.savetxt(stream, prediction, delimiter=",", fmt="%s")
        return stream.getvalue().encode()
    raise UnsupportedFormat(content_type)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

"""The user's serving functions and the defaults around them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from container_toolkit import codec, script_serve
from container_toolkit.base import UserError
from container_toolkit.server import application, default_accept

from localaws_tests.images.conftest import MlDir, fresh_import


@pytest.fixture
def module(ml: MlDir) -> Iterator[Any]:
    """Write inference.py and load it."""

    def load(text: str) -> script_serve.ScriptHandler:
        ml.write("model/code/inference.py", text)
        handler = script_serve.ScriptHandler(script_serve.load_module())
        handler.load(ml.root / "model")
        return handler

    yield load
    fresh_import("inference")


SUMS = """
class Model:
    def predict(self, rows): return rows.sum(axis=1)
def model_fn(model_dir): return Model()
"""


def test_defaults(module: Any) -> None:
    handler = module(SUMS)
    assert handler(b"1,2\n3,4\n", "text/csv", "text/csv") == (200, "text/csv", b"3.0\n7.0\n")
    assert handler(b"1,2", "text/csv", None) == (200, "application/json", b"[3.0]")
    assert handler(b"[[1, 2], [3, 4]]", "application/json", "*/*") == (200, "application/json", b"[3.0, 7.0]")
    buffer = io.BytesIO()
    np.save(buffer, np.array([[1, 2]]))
    status, kind, body = handler(buffer.getvalue(), "application/x-npy", "application/x-npy")
    assert (status, kind) == (200, "application/x-npy")
    assert np.load(io.BytesIO(body)).tolist() == [3]
    assert handler(b"x", "image/png", None)[0] == 415
    assert handler(b"1,2", "text/csv", "image/png")[0] == 406


def test_the_users_functions_are_used(module: Any) -> None:
    handler = module(
        "def model_fn(d): return 10\n"
        "def input_fn(body, kind): return float(body) if kind == 'text/csv' else None\n"
        "def predict_fn(data, model): return data * model\n"
        "def output_fn(prediction, accept): return f'<{prediction}>', 'text/x'\n"
    )
    assert handler(b"2", "text/csv", "text/csv") == (200, "text/x", b"<20.0>")


def test_transform_fn(module: Any) -> None:
    handler = module(
        "def model_fn(d): return 'm'\n"
        "def transform_fn(model, body, kind, accept): return f'{model} {body} {kind} {accept}'\n"
    )
    assert handler(b"x", "text/csv", None) == (200, "application/json", b"m x text/csv application/json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import absent_module\n",
            "inference.py cannot be imported: ModuleNotFoundError: No module named 'absent_module'",
        ),
        ("def input_fn(a, b): pass\n", "has no model_fn"),
        ("def model_fn(d): pass\ndef transform_fn(*a): pass\ndef input_fn(*a): pass\n", "cannot use transform_fn"),
    ],
)
def test_a_module_that_cannot_serve(module: Any, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        module(text)


def test_a_missing_module(ml: MlDir, monkeypatch: pytest.MonkeyPatch) -> None:
    ml.write("model/code/other.py", "")
    monkeypatch.setenv("SAGEMAKER_PROGRAM", "serve.py")
    with pytest.raises(UserError, match=r"The inference program serve.py is not in .* which holds other.py"):
        script_serve.load_module()


def test_modules_beside_it_are_found(module: Any, ml: MlDir) -> None:
    ml.write("model/code/beside_inference.py", "FACTOR = 3")
    handler = module("import beside_inference\ndef model_fn(d): return 1\ndef predict_fn(x, m): return [3]\n")
    assert handler(b"1", "text/csv", "text/csv") == (200, "text/csv", b"3\n")
    fresh_import("beside_inference")


def test_pickled_arrays_are_not_loaded() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        codec.decode(buffer.getvalue(), "application/x-npy")


@pytest.mark.parametrize("given", [None, "", "*/*"])
def test_accept_falls_back(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_accept(given, "text/csv") == "text/csv"
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/json")
    assert default_accept(given, "text/csv") == "application/json"
    assert default_accept("Text/CSV; charset=utf-8", "application/json") == "text/csv"


def call(app: Any, method: str, path: str, body: bytes = b"") -> tuple[str, bytes]:
    seen: list[str] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(body)}
    return "".join(app(environ, lambda status, _headers: seen.append(status)) and seen), b"".join(
        app(environ | {"wsgi.input": io.BytesIO(body)}, lambda *_: None)
    )


def test_routes() -> None:
    def invoke(body: bytes, _kind: str | None, _accept: str | None) -> tuple[int, str, bytes]:
        if body == b"bad":
            raise RuntimeError("the model broke")
        return 200, "text/plain", body.upper()

    app = application(invoke)
    assert call(app, "GET", "/ping") == ("200 OK", b"")
    assert call(app, "POST", "/invocations", b"x") == ("200 OK", b"X")
    assert call(app, "POST", "/invocations", b"bad") == (
        "500 Internal Server Error",
        b"RuntimeError: the model broke",
    )
    assert call(app, "GET", "/invocations")[0] == "405 Method Not Allowed"
    assert call(app, "GET", "/")[0] == "404 Not Found"
    assert json.loads(call(app, "GET", "/execution-parameters")[1])["BatchStrategy"] == "MULTI_RECORD"

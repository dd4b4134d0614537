"""The HTTP server of `serve`: GET /ping, POST /invocations, GET /execution-parameters on SAGEMAKER_BIND_TO_PORT."""

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from http.client import responses
from typing import Any, NoReturn

from container_toolkit import base

Answer = tuple[int, str, bytes]
"""HTTP status, content type, body."""

Invoke = Callable[[bytes, str | None, str | None], Answer]
"""Answers one invocation: body, Content-Type, Accept."""

MAX_BODY = 100 << 20
"""Bytes of a request body: the most that a batch transform may send (MaxPayloadInMB 100)."""

_THREADS = 8


def application(invoke: Invoke) -> Callable[..., Iterable[bytes]]:
    """The WSGI application. One invocation runs at a time: AWS's servers give user code one request per process."""
    turn = threading.Lock()

    def answer(environ: dict[str, Any]) -> Answer:
        route = (environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if route == ("GET", "/ping"):
            return 200, "text/plain", b""
        if route == ("GET", "/execution-parameters"):
            return 200, "application/json", json.dumps(execution_parameters()).encode()
        if route == ("POST", "/invocations"):
            body = environ["wsgi.input"].read()
            with turn:
                return invoke(body, environ.get("CONTENT_TYPE") or None, environ.get("HTTP_ACCEPT") or None)
        known = environ["PATH_INFO"] in ("/ping", "/invocations", "/execution-parameters")
        return 405 if known else 404, "text/plain", b""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            status, kind, body = answer(environ)
        except Exception as error:
            traceback.print_exc()
            status, kind, body = 500, "text/plain", f"{type(error).__name__}: {error}".encode()
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start_response(f"{status} {responses[status]}", headers)
        return [body]

    return app


def execution_parameters() -> dict[str, Any]:
    """What a batch transform asks before it sends records."""
    return {
        "MaxConcurrentTransforms": os.cpu_count() or 1,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 6,
    }


def serve(invoke: Invoke) -> NoReturn:
    """Listen until SIGTERM. Called when the model is loaded: before, nobody answers /ping."""
    import waitress

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    server = waitress.create_server(
        application(invoke),
        host="127.0.0.1",
        port=port,
        threads=_THREADS,
        ident=None,
        max_request_body_size=int(os.environ.get("MAX_CONTENT_LENGTH", MAX_BODY)),
        channel_timeout=600,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    base.log(f"Listening on 127.0.0.1:{port}")
    server.run()
    sys.exit(0)


def default_accept(accept: str | None, fallback: str) -> str:
    """The content type of the answer: the client's wish, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT, or `fallback`."""
    wish = (accept or "").split(";")[0].strip().lower()
    if not wish or wish == "*/*":
        return os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", fallback)
    return wish

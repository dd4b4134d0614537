"""The status page at `/`: jobs, endpoints, their logs, faults that are asked for. It shows and changes nothing.

Logs and environments can hold private data and a machine can have other users, so the page has a password: one that
is derived from the secret access key and good for nothing else (`localaws page` prints the link).
HTTP Basic rather than a cookie, because browsers send the cookies of 127.0.0.1 to every port of it, other users'
servers included; a derived password rather than the secret key, because Basic sends it in clear.

What is shown comes from the endpoint's own List and Describe operations and from the log files.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, unquote

from localaws.context import Context
from localaws.errors import ApiError
from localaws.front.statuspage_html import SECURITY, SHOWN_KINDS, View, failure, overview, resource
from localaws.front.statuspage_logs import Stream, streams, tail
from localaws.front.wire import StartResponse, respond
from localaws.kinds import ResourceKind
from localaws.registry import OPERATIONS

Environ = dict[str, Any]
Call = Callable[[str, bytes], Any]

PREFIX = "/_localaws/page/"
USER = "aws"
SHOWN = 50  # rows of a table
PURPOSE = b"localaws status page"
HOW_TO_GET_IN = (
    "The status page of the local AWS endpoint asks for a user name and a password: run\n"
    "localaws page\nwith the endpoint's variables in the environment; it prints the link.\n"
)

BY_PATH = {kind.word: kind for kind in SHOWN_KINDS}


def password(secret_key: str) -> str:
    """The page's password, from the secret access key; nothing can be signed with it."""
    return base64.urlsafe_b64encode(hmac.digest(secret_key.encode(), PURPOSE, "sha256")[:24]).decode()


def is_meant(environ: Environ) -> bool:
    """Whether a browser asks for the page; every AWS client that asks for `/` signs its request."""
    if environ["PATH_INFO"].startswith(PREFIX):
        return True
    given = environ.get("HTTP_AUTHORIZATION", "")
    if environ["PATH_INFO"] != "/" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return False
    if given:
        return bool(given[:6].lower() == "basic ")
    signed = "Signature=" in environ.get("QUERY_STRING", "")
    return not signed and "text/html" in environ.get("HTTP_ACCEPT", "")


def _knows_password(environ: Environ, secret_key: str) -> bool:
    scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    try:
        decoded = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return False
    expected = f"{USER}:{password(secret_key)}".encode()
    return scheme.lower() == "basic" and hmac.compare_digest(decoded, expected)


def answer(ctx: Context, call: Call, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The page, or 401 without its password. `call` executes a SageMaker operation, see `Application.call`."""
    if not _knows_password(environ, ctx.config.secret_key):
        extra = [("WWW-Authenticate", 'Basic realm="local AWS endpoint", charset="UTF-8"'), *SECURITY]
        return _send(environ, start_response, 401, HOW_TO_GET_IN, "text/plain; charset=utf-8", extra)
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return _send(environ, start_response, 405, "The status page only shows.\n", "text/plain", SECURITY)
    try:
        status, page = _page(ctx, call, environ)
    except ApiError as error:
        status, page = 404, failure(error.message)
    return _send(environ, start_response, status, page, "text/html; charset=utf-8", SECURITY)


def _send(
    environ: Environ, start_response: StartResponse, status: int, text: str, kind: str, extra: Iterable[tuple[str, str]]
) -> Iterable[bytes]:
    body = text.encode("utf-8", "replace")
    answered = respond(start_response, status, body, kind, extra)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else answered


def _page(ctx: Context, call: Call, environ: Environ) -> tuple[int, str]:
    query = {name: values[-1] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
    refresh = query.get("refresh", "")
    view = View(ctx.config, int(refresh) if refresh in ("2", "5", "30") else 0)
    path = environ["PATH_INFO"]
    if path == "/":
        return 200, _overview(ctx, call, view, query)
    parts = [unquote(part) for part in path.removeprefix(PREFIX).split("/")]
    kind = BY_PATH.get(parts[0])
    if kind is None or len(parts) != 2 or not parts[1] or kind.describe not in OPERATIONS:
        return 404, failure("There is no such page.")
    return 200, _resource(ctx, call, view, kind, parts[1], query)


def _ask(call: Call, operation: str, **members: Any) -> Any:
    return call(operation, json.dumps({k: v for k, v in members.items() if v}).encode())


def _overview(ctx: Context, call: Call, view: View, query: dict[str, str]) -> str:
    chosen = [kind for kind in SHOWN_KINDS if kind.list in OPERATIONS]
    wanted = BY_PATH.get(query.get("kind", ""))
    if wanted in chosen:
        chosen = [wanted]
    tables, token = [], None
    for kind in chosen:
        page = _ask(
            call, kind.list, SortBy="CreationTime", SortOrder="Descending", MaxResults=SHOWN,
            NameContains=query.get("name"), NextToken=query.get("next") if wanted else None,
        )  # fmt: skip
        tables.append((kind, page[kind.summaries]))
        token = page.get("NextToken")
    following = {"kind": wanted.word, "next": token, "name": query.get("name")} if wanted and token else None
    return overview(view, tables, ctx.faults.pending(), query, following)


def _resource(ctx: Context, call: Call, view: View, kind: ResourceKind, name: str, query: dict[str, str]) -> str:
    document = _ask(call, kind.describe, **{kind.name_member: name})
    found: list[Stream] = []
    lines: list[tuple[float, str]] = []
    shown, cut = None, False
    if kind.log_group:
        found = streams(ctx.logs, kind.group_of(name), kind.stream_prefix(name))
        wanted = query.get("stream")
        shown = next((stream for stream in found if stream.name == wanted), found[0] if found else None)
        if shown is not None:
            lines, cut = tail(shown.file)
    return resource(view, kind, name, document, found, shown, lines, cut)

"""`localaws faults`: ask a running endpoint for faults of calls, list them, forget them."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localaws.faults import ERRORS

PATH = "/_localaws/faults"
NEEDED = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(
        "localaws faults",
        description="Let the next calls of an operation fail. The endpoint and its credentials are those of the "
        "environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.",
    )
    orders = made.add_subparsers(dest="order", required=True, metavar="add|list|clear")
    add = orders.add_parser("add", help="let the next calls of an operation fail")
    add.add_argument("operation", help="for example CreateTrainingJob, 'Describe*', s3:PutObject, logs:GetLogEvents")
    add.add_argument("--error", default="ThrottlingException", choices=[*ERRORS, "none"], help="default: %(default)s")
    add.add_argument("--calls", type=int, default=1, help="how many calls fail (default: %(default)s)")
    add.add_argument("--skip", type=int, default=0, help="how many calls pass before that (default: %(default)s)")
    add.add_argument("--delay", type=float, default=0.0, help="seconds that the answer is late")
    add.add_argument("--lost", action="store_true", help="the operation is done, its answer is lost")
    add.add_argument("--message", default="", help="text of the error (default: that of AWS)")
    orders.add_parser("list", help="show the faults that are still to come")
    clear = orders.add_parser("clear", help="forget all faults, or those named")
    clear.add_argument("ids", nargs="*", metavar="ID")
    return made


def run(argv: list[str]) -> int:
    """Send one order and print the answer as JSON lines; 1 and a sentence when it is refused. Raises OSError."""
    options = parser().parse_args(argv)
    check_environment()
    if options.order == "add":
        answers = [send("POST", PATH, as_document({k: v for k, v in vars(options).items() if k != "order"}))]
    elif options.order == "list":
        status, answer = send("GET", PATH)
        answers = [(status, fault) for fault in answer["Faults"]] if status == 200 else [(status, answer)]
    else:
        answers = [send("DELETE", f"{PATH}/{one}" if one else PATH) for one in options.ids or [""]]
    for status, answer in answers:
        if status >= 400:
            sys.stderr.write(f"localaws: {answer.get('message', answer)}\n")
            return 1
        sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def check_environment() -> None:
    """Raise ValueError when the environment names no endpoint."""
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        raise ValueError(f"{', '.join(missing)} must be set: eval the lines that the endpoint printed when it started")
    url = urlsplit(os.environ[NEEDED[0]])
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{NEEDED[0]} is {url.geturl()!r}: write a URL such as http://127.0.0.1:4566")


def as_document(asked: dict[str, Any]) -> dict[str, Any]:
    """The members of a fault as the endpoint takes them: no error is "none" where people write it."""
    return {**asked, "error": ""} if asked.get("error") == "none" else asked


def send(
    method: str, path: str, document: dict[str, Any] | None = None, environment: Mapping[str, str] = os.environ
) -> tuple[int, dict[str, Any]]:
    """One signed request to the endpoint that the environment names; status and document. Raises OSError."""
    url, key, secret = (environment[name] for name in NEEDED)
    body = b"" if document is None else json.dumps(document).encode()
    request = AWSRequest(
        method=method, url=url.rstrip("/") + path, data=body, headers={"Content-Type": "application/json"}
    )
    credentials = Credentials(key, secret, environment.get("AWS_SESSION_TOKEN") or None)
    SigV4Auth(credentials, "sagemaker", environment.get("AWS_DEFAULT_REGION") or "us-east-1").add_auth(request)
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(method, path, body, dict(request.prepare().headers))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError as error:
        raise OSError(f"{url} does not answer ({error}): is the endpoint running, and is this its URL?") from None
    finally:
        connection.close()

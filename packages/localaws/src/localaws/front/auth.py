"""Who may ask: the credentials of a state directory, and AWS Signature Version 4 by botocore's own rules."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from localaws.coverage import Behaviour
from localaws.errors import RequestRefused
from localaws.front.presigned import is_presigned, signature_fits
from localaws.s3 import chunks

HEADER = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/,\s]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request"
    r",\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
SKEW = 15 * 60  # seconds a request's time may differ from ours, as in AWS
LONGEST_EXPIRY = 7 * 24 * 3600  # seconds that a presigned request of version 4 may be good for, as in AWS
NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method."
)
MAX_BODY = 64 * 2**20  # bytes held in memory to check a signature; S3 bodies are streamed instead
BEHAVIOURS = (
    Behaviour(
        "signatures of version 4, in headers, in the query, and chunk by chunk; version 2 in presigned S3 URLs",
        "documented",
        "Amazon S3 API Reference, Authenticating Requests (the examples there are tests); botocore's own signer",
    ),
    Behaviour(
        "host and every x-amz-* header of a request must be signed",
        "documented",
        "Amazon S3 API Reference, Signature Calculations for the Authorization Header",
    ),
    Behaviour("a presigned URL of version 4 is good for at most seven days", "documented",
              "Amazon S3 API Reference, Authenticating Requests: Using Query Parameters"),
    Behaviour("the clock of a request may differ by 15 minutes", "assumed"),
    Behaviour("only the hash of the body that a service other than S3 receives counts, whatever a header claims",
              "assumed"),
)  # fmt: skip
Environ = dict[str, Any]
Secrets = Callable[[str], tuple[str, str | None] | None]


@dataclass(frozen=True)
class Caller:
    """The signed scope of a request that was let in."""

    access_key: str
    region: str
    service: str


GIVEN = ("LOCALAWS_ACCESS_KEY_ID", "LOCALAWS_SECRET_ACCESS_KEY")


def given_credentials() -> tuple[str, str] | None:
    """The credentials that the environment names, as docker-compose.yaml does; never AWS_*: those may be real ones."""
    key, secret = (os.environ.get(name, "") for name in GIVEN)
    if bool(key) != bool(secret):
        raise ValueError(f"{GIVEN[0]} and {GIVEN[1]} go together: set both or neither")
    return (key, secret) if key else None


def state_credentials(state: Path) -> tuple[str, str]:
    """The access key id and secret: given ones, or a state directory's own, made at first use, for its owner only."""
    if given := given_credentials():
        return given
    file = state / "credentials.json"
    if not file.exists():
        key = "LKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16))
        text = json.dumps({"access_key": key, "secret_key": secrets.token_urlsafe(30)})
        scratch = file.with_suffix(".new")
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
            handle.write(text)
        scratch.replace(file)
    data = json.loads(file.read_text())
    return data["access_key"], data["secret_key"]


def _header(environ: Environ, name: str) -> str | None:
    key = name.upper().replace("-", "_")
    return environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")


def _amz_headers(environ: Environ) -> dict[str, str]:
    """The x-amz-* headers of a request, which mean something to a service."""
    return {
        name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_X_AMZ_")
    }


def _check_signed_headers(environ: Environ, fields: _Fields) -> None:
    """What an unsigned header says could have been added by anybody: host and x-amz-* have to be signed, as in AWS."""
    missing = {"host", *_amz_headers(environ)} - set(fields.headers)
    if missing:
        raise RequestRefused(
            "headers",
            f"There were headers present in the request which were not signed: {', '.join(sorted(missing))}",
            fields.service,
        )


def _base(service: str) -> type[SigV4Auth]:
    # S3 signs the path as it is sent; the other services normalise and encode it once more.
    base: type[SigV4Auth] = S3SigV4Auth if service == "s3" else SigV4Auth
    return base


def _signature(environ: Environ, fields: _Fields, secret: str, url: str, payload: str) -> str:
    class Verifier(_base(fields.service)):  # type: ignore[misc]
        """botocore's signer, told which headers and which payload hash the client signed."""

        def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
            signed = HTTPHeaders()
            for name in fields.headers:
                signed[name] = _header(environ, name) or ""
            return signed

        def body_checksum(self, request: AWSRequest) -> str:
            return payload

        def payload(self, request: AWSRequest) -> str:
            return payload

    signer = Verifier(Credentials(fields.key, secret), fields.service, fields.region)
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=url, headers={})
    request.context["timestamp"] = fields.time
    canonical = signer.canonical_request(request)
    signature: str = signer.signature(signer.string_to_sign(request, canonical), request)
    return signature


@dataclass(frozen=True)
class _Fields:
    key: str
    date: str
    region: str
    service: str
    headers: tuple[str, ...]
    signature: str
    time: str
    expires: float | None  # seconds after `time`; None for a signature in the headers


def _from_header(environ: Environ) -> _Fields:
    match = HEADER.fullmatch(environ["HTTP_AUTHORIZATION"].strip())
    if match is None:
        raise RequestRefused("signature", "The Authorization header is not a valid AWS4-HMAC-SHA256 header.")
    time = environ.get("HTTP_X_AMZ_DATE", "")
    names = tuple(match["headers"].split(";"))
    return _Fields(
        match["key"], match["date"], match["region"], match["service"], names, match["signature"], time, None
    )


def _expiry(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LONGEST_EXPIRY):
        raise RequestRefused("signature", f"X-Amz-Expires is a number of seconds from 1 to {LONGEST_EXPIRY}.", "s3")
    return int(text)


def _from_query(query: dict[str, str]) -> _Fields:
    try:
        key, date, region, service, _ = query["X-Amz-Credential"].split("/")
        return _Fields(
            key, date, region, service, tuple(query["X-Amz-SignedHeaders"].split(";")),
            query["X-Amz-Signature"], query["X-Amz-Date"], _expiry(query["X-Amz-Expires"]),
        )  # fmt: skip
    except (KeyError, ValueError):
        raise RequestRefused(
            "signature", "The query parameters of the presigned request are not complete.", "s3"
        ) from None


def _check_time(fields: _Fields, now: float) -> None:
    try:
        moment = datetime.strptime(fields.time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise RequestRefused(
            "signature", "X-Amz-Date is not a time of the form 20260131T235959Z.", fields.service
        ) from None
    if fields.date != fields.time[:8]:
        raise RequestRefused("signature", "The date of the credential is not that of X-Amz-Date.", fields.service)
    if fields.expires is not None and not moment - SKEW <= now <= moment + fields.expires:
        raise RequestRefused("time", "Request has expired", fields.service)
    if fields.expires is None and abs(now - moment) > SKEW:
        raise RequestRefused(
            "time", "The difference between the request time and the current time is too large.", fields.service
        )


def read_body(environ: Environ) -> bytes:
    """The whole body (at most 64 MiB); `wsgi.input` can be read again afterwards."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdigit() and int(length) > MAX_BODY:
        raise RequestRefused("size", f"The body has {length} bytes, at most {MAX_BODY} are taken here.")
    chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    limit = int(length) if length.isdigit() else MAX_BODY + 1 if chunked else 0
    body: bytes = environ["wsgi.input"].read(limit) if limit else b""
    if len(body) > MAX_BODY:
        raise RequestRefused("size", f"The body has more than {MAX_BODY} bytes.")
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return body


def _presigned_v2(environ: Environ, query: dict[str, str], secrets_of: Secrets, now: float) -> Caller:
    key, expires = query["AWSAccessKeyId"], query["Expires"]
    known = secrets_of(key)
    if known is None or (known[1] is not None and known[1] != query.get("x-amz-security-token")):
        raise RequestRefused("unknown", "The security token included in the request is invalid.", "s3")
    if not expires.isdigit() or int(expires) < now:
        raise RequestRefused("time", "Request has expired", "s3")
    headers = {
        "content-type": environ.get("CONTENT_TYPE", ""),
        "content-md5": environ.get("HTTP_CONTENT_MD5", ""),
    }
    # Left out, an x-amz-copy-source that nobody signed would make a copy of what was presigned as an upload.
    headers |= _amz_headers(environ)
    if not signature_fits(environ["REQUEST_METHOD"], environ["REQUEST_URI"], headers, known[0]):
        raise RequestRefused("signature", NO_MATCH, "s3")
    return Caller(key, "", "s3")


def _payload(environ: Environ, fields: _Fields) -> str:
    """The hash of the body that is part of what is signed."""
    claimed = _header(environ, "X-Amz-Content-SHA256")
    if fields.service == "s3" and (claimed or fields.expires is not None):
        return claimed or "UNSIGNED-PAYLOAD"
    found = hashlib.sha256(read_body(environ)).hexdigest()
    # Other services have no unsigned bodies: a header may claim any hash, and the body could be exchanged on the way.
    if claimed not in (None, found):
        raise RequestRefused("signature", "The body does not have the signed SHA-256 hash.", fields.service)
    return found


def authenticate(environ: Environ, secrets_of: Secrets, now: float) -> Caller:
    """Check key, time and signature of a request; raises RequestRefused.

    `secrets_of` gives the secret and session token of an access key id, or None. The body of a request to S3 is
    not read: its hash is part of what is signed, and the S3 part compares it with what arrives.
    """
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    if is_presigned(query) and "HTTP_AUTHORIZATION" not in environ:
        return _presigned_v2(environ, query, secrets_of, now)
    if "HTTP_AUTHORIZATION" in environ:
        fields = _from_header(environ)
    elif "X-Amz-Signature" in query:
        fields = _from_query(query)
    else:
        raise RequestRefused("missing", "Missing Authentication Token")
    known = secrets_of(fields.key)
    if known is None:
        raise RequestRefused("unknown", "The security token included in the request is invalid.", fields.service)
    secret, token = known
    sent = _header(environ, "X-Amz-Security-Token") or query.get("X-Amz-Security-Token")
    if token is not None and token != sent:
        raise RequestRefused("unknown", "The security token included in the request is invalid.", fields.service)
    _check_time(fields, now)
    _check_signed_headers(environ, fields)
    url = f"http://{environ.get('HTTP_HOST', '')}{environ['REQUEST_URI']}"
    if fields.expires is not None:
        url = re.sub(r"([?&])X-Amz-Signature=[^&]*&?", r"\1", url).rstrip("?&")
    payload = _payload(environ, fields)
    if not hmac.compare_digest(_signature(environ, fields, secret, url, payload), fields.signature):
        raise RequestRefused("signature", NO_MATCH, fields.service)
    if payload in chunks.SIGNED:
        scope = f"{fields.date}/{fields.region}/{fields.service}/aws4_request"
        key = chunks.signing_key(secret, fields.date, fields.region, fields.service)
        environ[chunks.ENVIRON] = chunks.ChunkSigner(key, fields.time, scope, fields.signature)
    return Caller(fields.key, fields.region, fields.service)

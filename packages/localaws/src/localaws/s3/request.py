"""An HTTP request as S3 sees it: bucket, key, query and headers out of a WSGI environ, and the answer to it."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from localaws.s3 import checksums, chunks, errors
from localaws.s3.body import Body
from localaws.s3.conditions import Conditions

_AWS_HOST = re.compile(r"(?:(?P<bucket>.+)\.)?s3[.-](?:[a-z0-9-]+\.)*amazonaws\.com(?:\.cn)?")
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([a-z0-9-]+)/s3/aws4_request")


@dataclass
class Response:
    """What goes back; `body` is a document or an iterable of blocks (closed by the server if it can be)."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | Iterable[bytes] = b""


class Request:
    """One request. `bucket` and `key` are None where the path names none."""

    def __init__(self, environ: dict[str, Any], hosts: Sequence[str]) -> None:
        self._environ = environ
        self.id = secrets.token_hex(8).upper()
        self.method: str = environ["REQUEST_METHOD"]
        self.bucket, self.key, self.query = target_of(environ, hosts)
        self.body = self._body()

    def header(self, name: str) -> str | None:
        """A header by its lower-case name."""
        return self._environ.get("HTTP_" + name.upper().replace("-", "_"))

    def headers_with(self, prefix: str) -> dict[str, str]:
        """All headers whose lower-case name starts with `prefix`, without it (WSGI cannot tell - from _)."""
        start = "HTTP_" + prefix.upper().replace("-", "_")
        return {
            name[len(start) :].lower().replace("_", "-"): value
            for name, value in self._environ.items()
            if name.startswith(start)
        }

    @property
    def content_type(self) -> str | None:
        """The Content-Type header."""
        return self._environ.get("CONTENT_TYPE") or None

    @property
    def content_length(self) -> int | None:
        """The Content-Length header in bytes, or None."""
        given = self._environ.get("CONTENT_LENGTH") or ""
        return int(given) if given.isdecimal() else None

    @property
    def region(self) -> str | None:
        """The region the client signed for."""
        found = _SCOPE.search(self.header("authorization") or "")
        return None if found is None else found[1]

    def conditions(self, prefix: str = "") -> Conditions:
        """The conditional headers; `prefix` x-amz-copy-source- for those about the source of a copy."""
        kinds = ("match", "none-match", "modified-since", "unmodified-since")
        return Conditions(*(self.header(f"{prefix}if-{kind}") for kind in kinds))

    def whole_number(self, name: str, default: int | None = None) -> int:
        """A query value that is a number from 0; InvalidArgument naming it otherwise."""
        given = self.query.get(name)
        if given is None and default is not None:
            return default
        if given is None or not given.isdecimal() or len(given) > 10:
            raise errors.InvalidArgument(
                f"Provided {name} not an integer or within integer range",
                ArgumentName=name,
                ArgumentValue=given or "",
            )
        return int(given)

    def declared_checksums(self) -> dict[str, str]:
        """The x-amz-checksum-* values of headers and, once the body is read, of trailers."""
        given = self.headers_with(checksums.HEADER)
        for name, value in self.body.trailers.items():
            if name.startswith(checksums.HEADER):
                given[name.removeprefix(checksums.HEADER)] = value
        return {name: value for name, value in given.items() if name in checksums.KNOWN}

    def announced_algorithms(self) -> set[str]:
        """The algorithms to compute as the body passes: of headers, announced trailers and the SDK's choice."""
        trailer = (self.header("x-amz-trailer") or "").lower()
        names = set(self.headers_with(checksums.HEADER))
        names |= {name.strip().removeprefix(checksums.HEADER) for name in trailer.split(",")}
        names |= {(self.header("x-amz-sdk-checksum-algorithm") or "").lower()}
        return names & set(checksums.KNOWN)

    def _body(self) -> Body:
        environ = self._environ
        chunked = (self.header("transfer-encoding") or "").lower() == "chunked"
        framed = (self.header("x-amz-content-sha256") or "").startswith("STREAMING-")
        framed = framed or "aws-chunked" in (self.header("content-encoding") or "").lower()
        decoded = self.header("x-amz-decoded-content-length") or ""
        length = None if chunked else self.content_length or 0
        return Body(
            environ["wsgi.input"],
            length,
            framed=framed,
            decoded=int(decoded) if decoded.isdecimal() else None,
            signer=environ.get(chunks.ENVIRON),
        )


def target_of(environ: Mapping[str, Any], hosts: Sequence[str]) -> tuple[str | None, str | None, dict[str, str]]:
    """Bucket, key and query of a request; nothing of its body is read. Raises InvalidURI."""
    path, query = _raw_target(environ)
    return *_names(path, _host_bucket(environ.get("HTTP_HOST", ""), hosts)), _query(query)


def _raw_target(environ: Mapping[str, Any]) -> tuple[bytes, str]:
    """The path with its escapes resolved once, and the query string.

    From REQUEST_URI where the server gives it: in PATH_INFO a server may have merged %2F with / or %252F.
    """
    uri = environ.get("REQUEST_URI") or environ.get("RAW_URI")
    if uri is None:
        return environ.get("PATH_INFO", "/").encode("latin-1"), environ.get("QUERY_STRING", "")
    if not uri.startswith("/"):  # absolute form, as sent to a proxy
        uri = "/" + uri.partition("://")[2].partition("/")[2]
    path, _, query = uri.partition("?")
    return unquote_to_bytes(path), query


def _query(text: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError:
        raise errors.InvalidURI() from None


def _host_bucket(host: str, hosts: Sequence[str]) -> str | None:
    """The bucket of a Host header: `<bucket>.<one of hosts>` or `<bucket>.s3.<region>.amazonaws.com`."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.lower().rstrip(".")
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        pass
    else:
        return None
    if name in hosts:
        return None
    aws = _AWS_HOST.fullmatch(name)
    if aws is not None:
        return aws["bucket"]
    bases = [base for base in hosts if name.endswith("." + base)]
    return name.removesuffix("." + max(bases, key=len)) if bases else None


def _names(path: bytes, bucket: str | None) -> tuple[str | None, str | None]:
    try:
        text = path.removeprefix(b"/").decode()
    except UnicodeDecodeError:
        raise errors.InvalidURI() from None
    if bucket is None:
        bucket, _, text = text.partition("/")
    return bucket or None, text or None

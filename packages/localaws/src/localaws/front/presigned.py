"""Presigned S3 URLs of signature version 2, which boto3 still makes when it is not told otherwise."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from botocore.auth import HmacV1Auth
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials


class _ExpiringAuth(HmacV1Auth):  # type: ignore[misc]
    """botocore's signer with the expiry in place of the date, as the query form demands."""

    def __init__(self, credentials: Credentials, expires: str) -> None:
        super().__init__(credentials)
        self._expires = expires

    def _get_date(self) -> str:
        return self._expires


def is_presigned(query: Mapping[str, str]) -> bool:
    """Whether the query carries a signature of version 2."""
    return {"AWSAccessKeyId", "Signature", "Expires"} <= set(query)


def signature_fits(method: str, url: str, headers: Mapping[str, str], secret: str) -> bool:
    """Whether the `Signature` in the query of a path-style URL was made with this secret for this request.

    Content type and MD5 count when they are sent, and so does every `x-amz-` header.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    signed = HTTPHeaders()
    for name in ("content-md5", "content-type"):
        if value := headers.get(name) or query.get(name):
            signed[name] = value
    for name, value in {**headers, **query}.items():
        if name.startswith("x-amz-"):
            signed[name] = value
    signer = _ExpiringAuth(Credentials("", secret), query["Expires"])
    wanted: str = signer.get_signature(method, parts, signed)
    return hmac.compare_digest(wanted.encode(), query["Signature"].encode())

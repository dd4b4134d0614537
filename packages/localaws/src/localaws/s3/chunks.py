"""Signatures of the chunks of a body (`STREAMING-AWS4-HMAC-SHA256-PAYLOAD`), each made over the one before it.

Source: Amazon S3 API Reference, "Signature calculations for the Authorization header: transferring payload in multiple
chunks" and "... including trailing headers"; the examples there are the tests.
"""

from __future__ import annotations

import hashlib
import hmac

SIGNED = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
"""Values of x-amz-content-sha256 that promise chunk signatures."""

ENVIRON = "localaws.s3.chunk_signer"
"""Member of a WSGI environ: the signer of the body's chunks, set by whoever has checked the request's signature."""

_EMPTY = hashlib.sha256().hexdigest()


def signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The key of a day, region and service that signature version 4 derives from the secret."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class ChunkSigner:
    """Says what the signature of each next chunk must be; `seed` is the signature of the request."""

    def __init__(self, key: bytes, time: str, scope: str, seed: str) -> None:
        self._key = key
        self._time = time
        self._scope = scope
        self._last = seed

    def chunk(self, digest: str) -> str:
        """The signature of a chunk whose bytes have this SHA-256, in hexadecimal."""
        return self._sign("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY}\n{digest}")

    def trailer(self, headers: bytes) -> str:
        """The signature of the trailing headers, given as `name:value` lines."""
        return self._sign("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(headers).hexdigest())

    def _sign(self, kind: str, rest: str) -> str:
        text = f"{kind}\n{self._time}\n{self._scope}\n{self._last}\n{rest}"
        self._last = hmac.new(self._key, text.encode(), "sha256").hexdigest()
        return self._last

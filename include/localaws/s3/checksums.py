"""Content-MD5 and x-amz-checksum-*: what the standard library can compute is verified, the rest is kept as given.

Verified: crc32, md5, sha1, sha256, sha512. Kept and given back unverified: crc32c, crc64nvme and the xxhash family,
which neither the standard library nor a library of the lock computes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from include.localaws.s3 import errors

KNOWN = (
    "crc32",
    "crc32c",
    "crc64nvme",
    "sha1",
    "sha256",
    "sha512",
    "md5",
    "xxhash64",
    "xxhash3",
    "xxhash128",
)
"""The algorithms of the S3 API (botocore shape ChecksumAlgorithm), lower case."""

HEADER = "x-amz-checksum-"


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _md5() -> _Hash:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> _Hash:
    return hashlib.sha1(usedforsecurity=False)


_MAKERS: dict[str, Callable[[], _Hash]] = {
    "crc32": _Crc32,
    "md5": _md5,
    "sha1": _sha1,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
}


class Digests:
    """Several digests over one pass of the bytes; MD5 is always among them, since it is the ETag."""

    def __init__(self, algorithms: Iterable[str] = ()) -> None:
        wanted = {"md5", *algorithms}
        self._hashes = {name: make() for name, make in _MAKERS.items() if name in wanted}

    def update(self, data: bytes) -> None:
        """Take in the next bytes."""
        for running in self._hashes.values():
            running.update(data)

    @property
    def etag(self) -> str:
        """MD5 in hexadecimal: the ETag of an object written in one piece."""
        return self._hashes["md5"].digest().hex()

    def value(self, algorithm: str) -> str | None:
        """The digest in base64, or None when this algorithm is not computed here."""
        running = self._hashes.get(algorithm)
        return None if running is None else base64.b64encode(running.digest()).decode()

    def verify(self, content_md5: str | None, given: Mapping[str, str]) -> None:
        """Compare with what the client declared; raises BadDigest, InvalidDigest or InvalidRequest."""
        if content_md5 is not None:
            if len(_decode(content_md5)) != 16:
                raise errors.InvalidDigest(**{"Content-MD5": content_md5})
            if content_md5 != self.value("md5"):
                raise errors.BadDigest(ExpectedDigest=content_md5, CalculatedDigest=self.value("md5") or "")
        for algorithm, declared in given.items():
            computed = self.value(algorithm)
            if computed is None:
                continue
            if len(_decode(declared)) != len(_decode(computed)):
                raise errors.InvalidRequest(f"Value for {HEADER}{algorithm} header is invalid.")
            if declared != computed:
                raise errors.BadDigest(f"The {algorithm.upper()} you specified did not match the calculated checksum.")


def _decode(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""


def composite(algorithm: str, parts: list[str]) -> str | None:
    """A multipart object's checksum of checksums, `<base64>-<number of parts>`; None if not computable here."""
    make = _MAKERS.get(algorithm)
    if make is None:
        return None
    running = make()
    for part in parts:
        running.update(base64.b64decode(part))
    return f"{base64.b64encode(running.digest()).decode()}-{len(parts)}"


def multipart_etag(etags: list[str]) -> str:
    """The MD5 of the parts' MD5s, a dash, and the number of parts."""
    joined = b"".join(bytes.fromhex(etag) for etag in etags)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(etags)}"

"""Content-MD5 and x-amz-checksum-*: every checksum that is taken is verified; the xxhash family is refused by name.

CRC32C and CRC64-NVME come from anycrc (vectorised, and it combines the checksums of parts into that of the whole).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import anycrc

from localaws.coverage import Behaviour
from localaws.s3 import errors

BEHAVIOURS = (
    Behaviour(
        "S3: CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5 are verified; multipart uploads have full-object or "
        "composite checksums",
        "documented",
        "Amazon S3 User Guide, Checking object integrity in Amazon S3",
    ),
)

KNOWN = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256", "sha512", "md5")
"""The algorithms of the S3 API (botocore shape ChecksumAlgorithm) that are computed here, lower case."""

REFUSED = ("xxhash64", "xxhash3", "xxhash128")
"""The other algorithms of the S3 API."""

HEADER = "x-amz-checksum-"


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """A cyclic redundancy check, and its value in the byte order of the API."""

    def __init__(self, start: Callable[[bytes, int], int], width: int) -> None:
        self._next = start
        self._width = width
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._next(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


_CRC32C = anycrc.Model("CRC32-ISCSI")
_CRC64 = anycrc.Model("CRC64-NVME")
_COMBINED = {"crc32": anycrc.Model("CRC32"), "crc32c": _CRC32C, "crc64nvme": _CRC64}
FULL_OBJECT_ONLY = frozenset({"crc64nvme"})
"""Checksum types of multipart uploads (S3 user guide, "Checking object integrity"): these have no composite form."""
COMPOSITE_ONLY = frozenset({"sha1", "sha256", "sha512", "md5"})
"""... and these no full-object form, since checksums of parts cannot be combined."""


def _md5() -> _Hash:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> _Hash:
    return hashlib.sha1(usedforsecurity=False)


_MAKERS: dict[str, Callable[[], _Hash]] = {
    "crc32": lambda: _Crc(zlib.crc32, 4),
    "crc32c": lambda: _Crc(_CRC32C.calc, 4),
    "crc64nvme": lambda: _Crc(_CRC64.calc, 8),
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
                # A trailer that was not announced: its bytes have passed.
                raise errors.InvalidRequest(f"The trailer {HEADER}{algorithm} was not named in x-amz-trailer.")
            if len(_decode(declared)) != len(_decode(computed)):
                raise errors.InvalidRequest(f"Value for {HEADER}{algorithm} header is invalid.")
            if declared != computed:
                raise errors.BadDigest(f"The {algorithm.upper()} you specified did not match the calculated checksum.")


def _decode(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""


def combined(algorithm: str, parts: Iterable[tuple[str, int]]) -> str:
    """The checksum of a whole of which each part's checksum (base64) and size in bytes are given, in order."""
    model, value, width = _COMBINED[algorithm], 0, 0
    for part, size in parts:
        raw = base64.b64decode(part)
        value, width = model.combine(value, int.from_bytes(raw, "big"), size), len(raw)
    return base64.b64encode(value.to_bytes(width, "big")).decode()


def composite(algorithm: str, parts: list[str]) -> str:
    """A multipart object's checksum of checksums, `<base64>-<number of parts>`."""
    running = _MAKERS[algorithm]()
    for part in parts:
        running.update(base64.b64decode(part))
    return f"{base64.b64encode(running.digest()).decode()}-{len(parts)}"


def multipart_etag(etags: list[str]) -> str:
    """The MD5 of the parts' MD5s, a dash, and the number of parts."""
    joined = b"".join(bytes.fromhex(etag) for etag in etags)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(etags)}"

"""What S3 knows of a bucket, an object and an upload, and the rules for their names."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from localaws.s3 import errors

MAX_KEY_BYTES = 1024
"""Length of a key in UTF-8 (S3 user guide, "Naming Amazon S3 objects")."""

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
"""What S3 gives an object whose writer named no type."""

_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_TAG = re.compile(r"[\w\s.:/=+\-@]*")  # letters, digits, spaces and _ . : / = + - @
_MAX_METADATA_BYTES = 2048
_MAX_OBJECT_TAGS = 10
_MAX_BUCKET_TAGS = 50


@dataclass(frozen=True)
class Bucket:
    """A bucket; `created` in seconds since the epoch."""

    name: str
    region: str
    created: float
    tags: dict[str, str] | None = None


@dataclass(frozen=True)
class ObjectMeta:
    """What a writer says about an object besides its bytes.

    `headers` are the system headers that S3 keeps and gives back (lower-case names: cache-control, expires, ...);
    `user` is the x-amz-meta-* metadata without the prefix; `checksums` maps an algorithm (crc32, sha256, ...) to the
    value in base64; `parts` holds the sizes of the parts of a multipart upload, in bytes.
    """

    content_type: str = DEFAULT_CONTENT_TYPE
    headers: dict[str, str] = field(default_factory=dict)
    user: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    checksum_type: str = "FULL_OBJECT"
    parts: tuple[int, ...] = ()

    def to_json(self) -> str:
        """As one line of JSON, defaults left out."""
        filled = {k: v for k, v in asdict(self).items() if v and v != getattr(_PLAIN, k)}
        return json.dumps(filled, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ObjectMeta:
        """The inverse of `to_json`."""
        if text == "{}":
            return _PLAIN
        values: dict[str, Any] = json.loads(text)
        values["parts"] = tuple(values.get("parts", ()))
        return cls(**values)

    @property
    def storage_class(self) -> str:
        """STANDARD unless the writer chose another."""
        return self.headers.get("x-amz-storage-class", "STANDARD")

    def with_tags(self, tags: dict[str, str]) -> ObjectMeta:
        """The same with other tags."""
        return replace(self, tags=tags)


_PLAIN = ObjectMeta()


@dataclass(frozen=True)
class ObjectInfo:
    """One object. `size` in bytes, `modified` in whole seconds since the epoch (as HTTP dates), `etag` unquoted.

    `blob` is its file, `stamp` that file's modification time in nanoseconds when it was stored.
    """

    bucket: str
    key: str
    size: int
    etag: str
    modified: int
    meta: ObjectMeta
    blob: str
    stamp: int = 0


@dataclass(frozen=True)
class Upload:
    """A multipart upload under way."""

    id: str
    bucket: str
    key: str
    created: float
    meta: ObjectMeta
    algorithm: str | None = None


@dataclass(frozen=True)
class Part:
    """One uploaded part; `size` in bytes."""

    number: int
    size: int
    etag: str
    modified: int
    checksums: dict[str, str]
    blob: str


@dataclass(frozen=True)
class Listing:
    """A page of a bucket: objects and common prefixes, in key order; `last` is what the next page starts after."""

    objects: list[ObjectInfo]
    prefixes: list[str]
    truncated: bool
    last: str


def check_bucket_name(name: str) -> None:
    """S3's rules for general purpose buckets; raises InvalidBucketName naming the name."""
    bad = not _BUCKET_NAME.fullmatch(name) or ".." in name or name.startswith("xn--")
    if not bad:
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            return
    raise errors.InvalidBucketName(BucketName=name)


def encode_key(key: str) -> bytes:
    """The UTF-8 bytes by which S3 orders and measures keys; raises KeyTooLong, InvalidURI for lone surrogates."""
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        raise errors.InvalidURI(URI=key.encode("utf-8", "backslashreplace").decode()) from None
    if len(raw) > MAX_KEY_BYTES:
        raise errors.KeyTooLong(Size=str(len(raw)), MaxSizeAllowed=str(MAX_KEY_BYTES))
    if not raw:
        raise errors.InvalidArgument("An object key must not be empty.")
    return raw


def check_user_metadata(user: dict[str, str]) -> None:
    """At most 2 KB of names and values together (S3 user guide, "Working with object metadata")."""
    size = sum(len(name.encode()) + len(value.encode()) for name, value in user.items())
    if size > _MAX_METADATA_BYTES:
        raise errors.MetadataTooLarge(Size=str(size), MaxSizeAllowed=str(_MAX_METADATA_BYTES))


def check_tags(tags: list[tuple[str, str]], *, bucket: bool = False) -> dict[str, str]:
    """Number, lengths and uniqueness of tags; the tags as a dict, else InvalidTag."""
    most = _MAX_BUCKET_TAGS if bucket else _MAX_OBJECT_TAGS
    if len(tags) > most:
        kind = "Bucket" if bucket else "Object"
        raise errors.BadRequest(f"{kind} tags cannot be greater than {most}")
    for name, value in tags:
        if not 1 <= len(name) <= 128 or not _TAG.fullmatch(name):
            raise errors.InvalidTag("The TagKey you have provided is invalid", TagKey=name)
        if len(value) > 256 or not _TAG.fullmatch(value):
            raise errors.InvalidTag("The TagValue you have provided is invalid", TagKey=name, TagValue=value)
        if name.startswith("aws:"):
            raise errors.InvalidTag("System tags cannot be added/updated by requester", TagKey=name)
    found = dict(tags)
    if len(found) != len(tags):
        raise errors.InvalidTag("Cannot provide multiple Tags with the same key")
    return found

"""Conditional requests and byte ranges (RFC 9110 sections 13 and 14.2, as the S3 API Reference narrows them)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from localaws.coverage import Behaviour
from localaws.s3 import errors
from localaws.s3.objects import ObjectInfo

BEHAVIOURS = (
    Behaviour(
        "S3: conditional requests, byte ranges", "documented", "RFC 9110 sections 13 and 14.2; Amazon S3 API Reference"
    ),
)

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Conditions:
    """The four conditional headers of a request, or of the source of a copy."""

    if_match: str | None
    if_none_match: str | None
    if_modified_since: str | None
    if_unmodified_since: str | None

    def check_read(self, info: ObjectInfo) -> None:
        """Raises PreconditionFailed (412) or NotModified (304); a true If-Match outweighs If-Unmodified-Since."""
        if self.if_match is not None:
            if not _matches(self.if_match, info.etag):
                raise errors.PreconditionFailed(Condition="If-Match")
        elif (when := _seconds(self.if_unmodified_since)) is not None and info.modified > when:
            raise errors.PreconditionFailed(Condition="If-Unmodified-Since")
        if self.if_none_match is not None:
            if _matches(self.if_none_match, info.etag):
                raise errors.NotModified()
        elif (when := _seconds(self.if_modified_since)) is not None and info.modified <= when:
            raise errors.NotModified()

    def check_source(self, info: ObjectInfo) -> None:
        """The same for the source of a copy, where there is no 304."""
        try:
            self.check_read(info)
        except errors.NotModified:
            raise errors.PreconditionFailed() from None

    def write_check(self) -> Callable[[ObjectInfo | None], None] | None:
        """S3's conditional writes: `If-None-Match: *` (only if absent) and `If-Match: <ETag>`; None without either."""
        if self.if_none_match is None and self.if_match is None:
            return None
        if self.if_none_match is not None and self.if_none_match != "*":
            raise errors.NotImplementedS3(Header="If-None-Match", additionalMessage="only * is supported")
        return self._check_write

    def _check_write(self, current: ObjectInfo | None) -> None:
        if self.if_none_match is not None and current is not None:
            raise errors.PreconditionFailed(Condition="If-None-Match")
        if self.if_match is not None:
            if current is None:
                raise errors.NoSuchKey()
            if not _matches(self.if_match, current.etag):
                raise errors.PreconditionFailed(Condition="If-Match")


def _matches(header: str, etag: str) -> bool:
    given = [item.strip().removeprefix("W/").strip('"') for item in header.split(",")]
    return "*" in given or etag in given


def _seconds(header: str | None) -> float | None:
    if header is None:
        return None
    try:
        when = parsedate_to_datetime(header)
    except ValueError:  # RFC 9110: a date that cannot be read is as if it were not there
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte (inclusive) of a `Range` header, or None for the whole object.

    Headers that S3 ignores (several ranges, other units, first after last) give None; a range that begins beyond the
    end raises InvalidRange.
    """
    found = None if header is None else _RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first == "":
        start, end = max(0, size - int(last)), size - 1
        satisfiable = int(last) > 0 and size > 0
    else:
        start, end = int(first), min(size - 1, int(last)) if last else size - 1
        if last and int(last) < int(first):
            return None
        satisfiable = start < size
    if not satisfiable:
        raise errors.InvalidRange(ActualObjectSize=str(size), RangeRequested=header or "")
    return start, end

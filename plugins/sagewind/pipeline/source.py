"""Data sources: `sklearn://`, `openml://`, `https://`, `s3://`, `file://`, with a run's window as placeholders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import SplitResult, parse_qs, urlsplit

from sagewind.pipeline.errors import SourceError

#: Loaders of scikit-learn that need no network: the data ships inside the library.
SKLEARN_SETS = ("breast_cancer", "diabetes", "digits", "iris", "wine")
#: Scheme -> how a source goes on behind `://`, as far as a regular expression can say.
_FORMS = {
    "sklearn": rf"({'|'.join(SKLEARN_SETS)})(?![^/?#])",
    "openml": "[^/?#]",
    "https": "[^/?#]",
    "s3": "[^/?#]+/+[^/?#]",
    "file": "/",
}
SCHEMES = tuple(_FORMS)
SHOWN_SCHEMES = ", ".join(f"{scheme}://" for scheme in SCHEMES)
#: Characters of a source at most: a signed address with a session token has two thousand.
LONGEST = 4096
#: An S3 prefix of rows, without a slash at the end.
S3_PREFIX = "s3://[^/]+/.*[^/]"
_CONTROL = r"[\x00-\x1f]"
_PLACEHOLDER = re.compile(r"\{(window_start|window_end)(?::([^{}]*))?\}")


def field(form: str) -> str:
    """Pattern of a trigger form's field that is empty or of a form, without control characters.

    For `re` and for browsers. `$` alone would let a line break at the end pass.
    """
    return rf"^(?!.*{_CONTROL})(|{form})$"


#: What a source may look like in a trigger form: `parse` takes no other, and of these refuses only hosts that are none.
PATTERN = field(f"({'|'.join(f'{scheme}://{form}' for scheme, form in _FORMS.items())}).*")


@dataclass(frozen=True)
class DataSource:
    """A parsed source. `name` is the data set, bucket, host or empty; `path` the key or file; `query` its options."""

    uri: str
    scheme: str
    name: str
    path: str
    query: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The URI for logs and records: without a user's name, password or token, which https may carry."""
        if self.scheme != "https":
            return self.uri
        return f"https://{self.name.rpartition('@')[2]}{self.path}"


def parse(uri: str) -> DataSource:
    """Parse and check a source URI; SourceError names the URI and what is allowed."""
    parts = _split(uri)
    if parts.scheme not in SCHEMES:
        raise SourceError(f"source {uri!r} has the scheme {parts.scheme!r}: use one of {SHOWN_SCHEMES}")
    if not uri.startswith(f"{parts.scheme}://"):
        raise SourceError(f"source {uri!r} must begin with {parts.scheme}://, in small letters, nothing before it")
    query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    source = DataSource(uri, parts.scheme, parts.netloc, parts.path, query)
    if source.scheme == "file" and (source.name or not source.path.startswith("/")):
        raise SourceError(f"source {uri!r} is not an absolute path: write file:///data/file.csv")
    if source.scheme != "file" and not source.name:
        raise SourceError(f"source {uri!r} names nothing behind {source.scheme}://")
    if source.scheme == "sklearn" and source.name not in SKLEARN_SETS:
        raise SourceError(f"source {uri!r} is not in scikit-learn: use one of {', '.join(SKLEARN_SETS)}")
    if source.scheme == "s3" and not source.path.strip("/"):
        raise SourceError(f"source {uri!r} names a whole bucket: add a key or a prefix")
    return source


def _split(uri: str) -> SplitResult:
    if len(uri) > LONGEST:
        raise SourceError(f"source {uri[:60]!r}... has {len(uri)} characters: give one of at most {LONGEST}")
    if re.search(_CONTROL, uri):
        # `urlsplit` would drop some of them in silence.
        raise SourceError(f"source {uri!r} holds a line break or another control character: take it out")
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise SourceError(f"source {uri!r} has no valid host ({error}): check what stands behind ://") from None


def fill_window(uri: str, start: datetime | None, end: datetime) -> str:
    """Put the run's window into `{window_end}` or `{window_end:%Y-%m-%d}` (default format: ISO date)."""
    values = {"window_start": start, "window_end": end}

    def value(match: re.Match[str]) -> str:
        moment = values[match[1]]
        if moment is None:
            raise SourceError(
                f"source {uri!r} wants {match[1]}, but this run has no interval: start it by cron or backfill, "
                "or give it another source"
            )
        return moment.strftime(match[2] or "%Y-%m-%d")

    return _PLACEHOLDER.sub(value, uri)


def override_variable(model: str) -> str:
    """Environment variable that overrides the source of `model`, e.g. `SAGEWIND_SOURCE_TUMOR`."""
    return "SAGEWIND_SOURCE_" + re.sub(r"[^A-Z0-9]", "_", model.upper())


def choose(model: str, declared: str, param: str | None, environ: Mapping[str, str]) -> str:
    """The source of a run: the DAG param, else the environment variable, else the model file."""
    return param or environ.get(override_variable(model)) or declared

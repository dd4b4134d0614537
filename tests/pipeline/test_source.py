"""Sources: what is understood, what is refused, and how a run chooses."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagewind.pipeline import source
from sagewind.pipeline.errors import SourceError

END = datetime(2026, 3, 2, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("uri", "scheme", "name", "path", "query"),
    [
        ("sklearn://breast_cancer", "sklearn", "breast_cancer", "", {}),
        ("openml://adult?version=2", "openml", "adult", "", {"version": "2"}),
        ("s3://bucket/a/b.csv", "s3", "bucket", "/a/b.csv", {}),
        ("https://example.org/a.csv?x=1", "https", "example.org", "/a.csv", {"x": "1"}),
        ("file:///data/a.csv", "file", "", "/data/a.csv", {}),
    ],
)
def test_what_is_understood(uri: str, scheme: str, name: str, path: str, query: dict[str, str]) -> None:
    assert source.parse(uri) == source.DataSource(uri, scheme, name, path, query)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("ftp://host/a", "use one of sklearn://"),
        ("/data/a.csv", "use one of"),
        ("http://host/a.csv", "use one of"),
        ("file://data/a.csv", "absolute path"),
        ("sklearn://boston", "not in scikit-learn"),
        ("s3://bucket", "add a key"),
        ("openml://", "names nothing"),
        ("S3://bucket/key", "must begin with s3://, in small letters"),
        (" s3://bucket/key", "must begin with s3://"),
        ("file:/data/a.csv", "must begin with file://"),
        ("s3://bucket/a\nb", "line break"),
        ("https://[host/a.csv", "no valid host"),
        ("s3://bucket/" + "a" * source.LONGEST, "has 4108 characters: give one of at most 4096"),
    ],
)
def test_what_is_refused_says_what_to_do(uri: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        source.parse(uri)


#: What URIs are made of, and what is put into them by mistake.
SIGNS = [*"a/. ?#@:[]\\%", "//", "://", ":/", "\n", "\t", "\r", "\x00", "\x1f", "\x7f", "\u2028", "\u2100", "é"]
PIECES = st.sampled_from([*source.SCHEMES, *source.SKLEARN_SETS, *SIGNS, "S3", "http", "{window_end:%Y/%m}"])
URIS = st.one_of(
    st.text(),
    st.lists(PIECES, max_size=8).map("".join),
    st.builds(
        lambda scheme, pieces: f"{scheme}://{''.join(pieces)}",
        st.sampled_from(source.SCHEMES),
        st.lists(PIECES, max_size=6),
    ),
)


@settings(max_examples=2000)
@given(URIS)
def test_a_forms_field_takes_what_is_understood_and_refuses_what_is_not(uri: str) -> None:
    try:
        source.parse(uri)
        refusal = ""
    except SourceError as error:
        refusal = str(error)
    taken = re.search(source.PATTERN, uri) is not None
    if "no valid host" not in refusal:  # brackets and signs that stand for several others: no pattern can say it
        assert taken == (not refusal or not uri)


def test_the_window_is_filled_in() -> None:
    start = datetime(2026, 3, 1, 4, tzinfo=UTC)
    filled = source.fill_window("s3://b/{window_start}/{window_end:%Y%m%d-%H}.csv", start, END)
    assert filled == "s3://b/2026-03-01/20260302-04.csv"


def test_a_run_without_an_interval_has_no_start() -> None:
    with pytest.raises(SourceError, match="no interval"):
        source.fill_window("s3://b/{window_start}.csv", None, END)


@given(st.text(alphabet=st.characters(exclude_characters="{}")))
def test_a_source_without_placeholders_stays(uri: str) -> None:
    assert source.fill_window(uri, None, END) == uri


def test_param_before_environment_before_file() -> None:
    environment = {"SAGEWIND_SOURCE_MY_MODEL": "s3://env/a"}
    assert source.choose("my-model", "s3://file/a", "s3://param/a", environment) == "s3://param/a"
    assert source.choose("my-model", "s3://file/a", None, environment) == "s3://env/a"
    assert source.choose("my-model", "s3://file/a", None, {}) == "s3://file/a"

"""Splitting, filtering and assembling of batch transform, checked by properties and against the csv module."""

import csv
import io
import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from localaws.transform import data_processing
from localaws.transform.csv_filter import FilterError, parse_path, select_record, select_records, split_cells
from localaws.transform.record_split import lines_of
from localaws.transform.records import RecordTooLarge, RequestBatch, TransformPlan, output_key

LINE = st.binary(max_size=12).filter(lambda text: b"\n" not in text and b"\r" not in text)
CELL = st.text(st.characters(blacklist_characters="\r\n\x00", codec="utf-8"), max_size=5)


def plan(*, kind="text/csv", **changes):
    """A plan for lines of at most 100 bytes a request; `input_filter`, `output_filter`, `join` make a processing."""
    named = {"input_filter": "InputFilter", "output_filter": "OutputFilter"}
    given_ = {named[key]: changes.pop(key) for key in list(changes) if key in named}
    if changes.pop("join", False):
        given_["JoinSource"] = "Input"
    split = changes.setdefault("split", "Line")
    request = {
        "DataProcessing": given_,
        "TransformInput": {"ContentType": kind, "SplitType": split},
        "TransformOutput": {"Accept": kind, "AssembleWith": "Line"},
    }
    changes = {"max_bytes": 100, "assemble_lines": True, **changes}
    return TransformPlan(processing=data_processing.read(request) if given_ else None, **changes)


@given(st.lists(LINE, max_size=30), st.integers(12, 60), st.booleans(), st.booleans())
def test_every_record_is_sent_once_in_order_and_no_request_is_too_large(records, limit, multi, final_newline):
    assume(not records or records[-1] or final_newline)  # "a\n" is one record, however it was built
    body = b"\n".join(records) + (b"\n" if final_newline and records else b"")
    sent = list(plan(multi_record=multi, max_bytes=limit).batches(io.BytesIO(body)))
    assert [record for batch in sent for record in (batch.payload + b"\n").split(b"\n")[:-1]] == records
    assert all(len(batch.payload) <= limit for batch in sent)
    if not multi:
        assert all(b"\n" not in batch.payload for batch in sent)
    kept = list(plan(multi_record=multi, max_bytes=limit, output_filter="$[0]").batches(io.BytesIO(body)))
    assert [(batch.payload, list(batch.records)) for batch in kept] == [
        (batch.payload, (batch.payload + b"\n").split(b"\n")[:-1]) for batch in sent
    ]


@given(st.lists(LINE.filter(len), min_size=1, max_size=30), st.integers(12, 60))
def test_multi_record_requests_are_as_full_as_they_can_be(records, limit):
    sent = list(plan(max_bytes=limit).batches(io.BytesIO(b"\n".join(records))))
    for batch, following in itertools.pairwise(sent):
        assert len(batch.payload) + 1 + len(following.payload.split(b"\n")[0]) > limit


@given(st.lists(LINE.filter(len), min_size=1, max_size=30), st.integers(12, 60), st.booleans())
def test_an_echoing_model_gives_the_input_back(records, limit, multi):
    transform = plan(multi_record=multi, max_bytes=limit)
    body = b"\n".join(records) + b"\n"
    answered = b"".join(transform.assemble(batch, batch.payload) for batch in transform.batches(io.BytesIO(body)))
    assert answered == body


@given(st.lists(st.lists(CELL.filter(len), min_size=2, max_size=5), min_size=1, max_size=10), st.integers(40, 300))
def test_join_puts_one_answer_behind_each_input(rows, limit):
    source = io.StringIO()
    csv.writer(source, lineterminator="\n").writerows(rows)
    body = source.getvalue().encode()
    assume(all(len(line) <= limit for line in lines_of(body)))
    transform = plan(max_bytes=limit, input_filter="$[1:]", join=True)
    result = b""
    for batch in transform.batches(io.BytesIO(body)):
        answer = b"\n".join(str(len(split_cells(line.decode()))).encode() for line in lines_of(batch.payload))
        result += transform.assemble(batch, answer)
    assert list(csv.reader(io.StringIO(result.decode()))) == [[*row, str(len(row) - 1)] for row in rows]


@given(st.lists(CELL, min_size=1, max_size=8))
def test_cells_are_those_of_the_csv_module_and_join_to_the_record(row):
    source = io.StringIO()
    csv.writer(source, lineterminator="").writerow(row)
    cells = split_cells(source.getvalue())
    assert ",".join(cells) == source.getvalue()
    assert [next(csv.reader([cell]), [""])[0] if cell else "" for cell in cells] == row


@given(st.text(st.sampled_from('a,"'), max_size=12))
def test_cells_of_any_text_join_to_it(text):
    assert ",".join(split_cells(text)) == text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", b"a,b,c,d"),
        ("$[0]", b"a"),
        ("$[-1]", b"d"),
        ("$[1:]", b"b,c,d"),
        ("$[:-1]", b"a,b,c"),
        ("$[1:3]", b"b,c"),
        ("$[3,0]", b"d,a"),
        ("$[0, 2:]", b"a,c,d"),
        ("$[*]", b"a,b,c,d"),
        ("$[2:]", b"c,d"),
    ],
)
def test_column_paths(path, expected):
    assert select_record(parse_path(path), b"a,b,c,d") == expected
    assert select_records(parse_path(path), [b"a,b,c,d"] * 3) == [expected] * 3
    quoted = expected.replace(b"b", b'"b,b"')
    assert select_records(parse_path(path), [b'a,"b,b",c,d', b"a,b,c,d"]) == [quoted, expected]


@pytest.mark.parametrize("path", ["", "$.features", "$[?(@>1)]", "$[0", "$['a']", "$[0:2:1]", "$[]", "x"])
def test_other_paths_are_refused(path):
    with pytest.raises(FilterError, match="is not a column path for CSV"):
        parse_path(path)


@pytest.mark.parametrize(("path", "message"), [("$[4]", "names column 4"), ("$[4:]", "leaves nothing")])
def test_a_missing_column_is_an_error(path, message):
    with pytest.raises(FilterError, match=message):
        select_record(parse_path(path), b"a,b,c,d")
    with pytest.raises(FilterError, match=message):
        select_records(parse_path(path), [b"a,b,c,d"])


def test_answers_that_cannot_be_told_apart_are_an_error():
    transform = plan(join=True)
    with pytest.raises(FilterError, match="answered 1 lines to a request of 2 records"):
        transform.assemble(RequestBatch(b"1\n2", (b"1", b"2")), b"0.5,0.6")


def test_a_record_over_the_limit_is_named():
    with pytest.raises(RecordTooLarge, match="record 2 has 101 bytes, a request may have 100"):
        list(plan().batches(io.BytesIO(b"1\n" + b"2" * 101 + b"\n3\n")))


def test_an_unsplit_object_is_one_request_or_too_large():
    whole = plan(split="None")
    assert [batch.payload for batch in whole.batches(io.BytesIO(b"1\n2\n"))] == [b"1\n2\n"]
    with pytest.raises(RecordTooLarge, match="the object is larger"):
        list(whole.batches(io.BytesIO(b"1" * 101)))


def test_assemble_with_none_leaves_answers_as_they_are():
    transform = plan(assemble_lines=False)
    assert transform.assemble(RequestBatch(b"1"), b"0.5") == b"0.5"


def test_windows_line_endings_are_not_part_of_a_record():
    for body in (b"1,2\r\n3,4\r\n", b"1,2\r\n3,4", b"1,2\n3,4\r\n"):
        for limit in (3, 4, 5, 6, 7, 8, 100):
            sent = [batch.payload for batch in plan(max_bytes=limit).batches(io.BytesIO(body))]
            assert b"\n".join(sent) == b"1,2\n3,4"
            assert max(map(len, sent)) <= limit


@pytest.mark.parametrize(
    ("prefix", "key", "expected"),
    [
        ("in", "in/a/b.csv", "out/a/b.csv.out"),
        ("in/", "in/b.csv", "out/b.csv.out"),
        ("in/b.csv", "in/b.csv", "out/b.csv.out"),
        ("in/part-", "in/part-1.csv", "out/part-1.csv.out"),
        ("part-", "part-1.csv", "out/part-1.csv.out"),
        ("", "b.csv", "out/b.csv.out"),
    ],
)
def test_output_keys_follow_the_input_below_its_prefix(prefix, key, expected):
    assert output_key(prefix, key, "out/") == expected
    assert output_key(prefix, key, "") == expected.removeprefix("out/")

from __future__ import annotations

import gzip
import json
from collections import Counter

import pytest

from tests.jobs.conftest import csv_text

MIXED_HEADER = ["size", "colour", "target"]
MIXED = [[number + 0.5, ("red", "green", "blue")[number % 3], "yes" if number % 2 else "no"] for number in range(60)]


def parts(container) -> dict[str, list[list[str]]]:
    return {name: container.rows(f"{name}/{name}.csv") for name in ("train", "validation", "test")}


def test_every_row_arrives_once_with_its_exact_numbers(container, tumour_csv) -> None:
    container.configure(data={"positive": "1"})
    container.raw(tumour_csv)
    assert container.run("prepare") == 0
    rows = [tuple(row) for part in parts(container).values() for row in part]
    raw = [line.split(",") for line in tumour_csv.splitlines()[1:]]
    as_numbers = [(float(row[0]), *map(float, row[1:])) for row in rows]
    assert Counter(as_numbers) == Counter((float(row[-1]), *map(float, row[:-1])) for row in raw)
    assert {row[0] for row in rows} == {"0", "1"}


def test_batch_is_the_test_features_and_baseline_the_train_features(container, tumour_csv) -> None:
    container.configure(data={"positive": "1"})
    container.raw(tumour_csv)
    container.run("prepare")
    written = parts(container)
    assert container.rows("batch/batch.csv") == [row[1:] for row in written["test"]]
    baseline = container.rows("baseline/baseline.csv")
    assert baseline[1:] == [row[1:] for row in written["train"]]
    schema = container.json("schema/schema.json")
    assert baseline[0] == [feature["name"] for feature in schema["features"]]
    assert schema["rows"] == {name: len(rows) for name, rows in written.items()}
    assert schema["classes"] == ["0", "1"]


def test_classes_keep_their_shares(container, tumour_csv) -> None:
    container.configure(data={"positive": "1"})
    container.raw(tumour_csv)
    container.run("prepare")
    for rows in parts(container).values():
        assert sum(row[0] == "1" for row in rows) / len(rows) == pytest.approx(357 / 569, abs=0.01)


def test_the_positive_class_is_one(container) -> None:
    container.configure(data={"positive": "no"})
    container.raw(csv_text(MIXED_HEADER, MIXED))
    container.run("prepare")
    assert container.json("schema/schema.json")["classes"] == ["yes", "no"]


def test_whole_numbers_and_categories_are_written_as_floats(container) -> None:
    container.configure()
    container.raw(csv_text(["n", "c", "target"], [[i, "ab"[i % 2], "xy"[i // 2 % 2]] for i in range(40)]))
    container.run("prepare")
    for row in parts(container)["train"]:
        assert all(cell == repr(float(cell)) for cell in row[1:])


def test_onehot_has_one_feature_per_category(container) -> None:
    container.configure(data={"encode": "onehot"})
    container.raw(csv_text(MIXED_HEADER, MIXED))
    container.run("prepare")
    features = container.json("schema/schema.json")["features"]
    assert [feature["name"] for feature in features] == ["size", "colour=blue", "colour=green", "colour=red"]
    assert {feature["kind"] for feature in features[1:]} == {"onehot"}
    for rows in parts(container).values():
        assert all(sorted(row[2:]) == ["0.0", "0.0", "1.0"] for row in rows)


@pytest.mark.parametrize(("encode", "written"), [("ordinal", ["-1.0"]), ("onehot", ["0.0", "0.0"])])
def test_a_category_that_training_never_saw(container, encode, written) -> None:
    rows = [["ab"[i // 2 % 2], "xy"[i % 2]] for i in range(40)]
    container.configure(data={"encode": encode})
    container.raw(csv_text(["c", "target"], rows))
    container.run("prepare")
    # The split depends on the labels alone, so a row that was seen in the test part stays there.
    test_row = next(index for index in range(40) if _place(container, rows, index) == "test")
    rows[test_row][0] = "never seen"
    container.raw(csv_text(["c", "target"], rows))
    container.run("prepare")
    assert sum(row[1:] == written for row in parts(container)["test"]) == 1
    assert container.json("schema/summary.json")["unknown_categories"] == {"c": 1}


def _place(container, rows, index) -> str:
    from sagewind.jobs.splitting import split
    from tests.jobs.conftest import SPLIT

    placed = split([int(row[1] == "y") for row in rows], ["x", "y"], SPLIT, 7)
    return next(part for part, members in placed.items() if index in members)


GAPS = [["?" if i % 5 == 0 else float(i), "" if i % 7 == 0 else "ab"[i % 2], "xy"[i // 2 % 2]] for i in range(70)]


def test_missing_values_are_kept_as_empty_cells(container) -> None:
    container.configure(data={"na_values": ["?"]})
    container.raw(csv_text(["n", "c", "target"], GAPS))
    container.run("prepare")
    rows = [row for part in parts(container).values() for row in part]
    assert [sum(row[column] == "" for row in rows) for column in (1, 2)] == [14, 10]
    columns = container.json("schema/summary.json")["columns"]
    assert {name: facts["missing"] for name, facts in columns.items()} == {"n": 14, "c": 10}


def test_missing_values_are_imputed_from_the_train_rows(container) -> None:
    import statistics

    container.configure(data={"na_values": ["?"]})
    container.raw(csv_text(["n", "c", "target"], GAPS))
    container.run("prepare")
    train = [float(row[1]) for row in parts(container)["train"] if row[1]]
    gaps = [index for index, row in enumerate(parts(container)["test"]) if row[1] == ""]
    container.configure(data={"na_values": ["?"], "missing": "impute"})
    container.run("prepare")
    assert gaps
    assert {parts(container)["test"][index][1] for index in gaps} == {repr(statistics.median(train))}


def test_rows_with_missing_values_are_dropped_and_counted(container) -> None:
    container.configure(data={"na_values": ["?"], "missing": "drop"})
    container.raw(csv_text(["n", "c", "target"], GAPS))
    container.run("prepare")
    complete = sum(row[0] != "?" and row[1] != "" for row in GAPS)
    assert container.json("schema/summary.json")["rows"] == {
        "in": 70,
        "out": complete,
        "removed": {"the label is missing": 0, "a feature is missing": 70 - complete},
    }


def test_rows_without_a_label_are_dropped_and_counted(container) -> None:
    container.configure()
    container.raw(csv_text(MIXED_HEADER, [*MIXED, [1.0, "red", ""], [2.0, "red", ""]]))
    container.run("prepare")
    assert container.json("schema/summary.json")["rows"]["removed"] == {"the label is missing": 2}


@pytest.mark.parametrize(("deduplicate", "out"), [(False, 63), (True, 60)])
def test_duplicates_are_counted_and_removed_only_if_asked(container, deduplicate, out) -> None:
    container.configure(data={"deduplicate": deduplicate})
    container.raw(csv_text(MIXED_HEADER, MIXED + MIXED[:3]))
    container.run("prepare")
    summary = container.json("schema/summary.json")
    assert (summary["duplicates"], summary["rows"]["out"]) == (3, out)


def test_rows_at_or_after_the_windows_end_are_left_out(container) -> None:
    rows = [[f"2026-01-{1 + i // 4:02d}T00:00:00Z", i, "xy"[i % 2]] for i in range(40)]
    container.configure(data={"time_column": "at"}, window={"start": None, "end": "2026-01-06T00:00:00+00:00"})
    container.raw(csv_text(["at", "n", "target"], rows))
    container.run("prepare")
    summary = container.json("schema/summary.json")
    assert summary["rows"]["out"] == 20
    assert list(summary["columns"]) == ["n"], "the time is no feature"


def test_regression_keeps_exact_labels(container) -> None:
    container.configure(problem="regression")
    container.raw(csv_text(["x", "target"], [[i, i / 7] for i in range(50)]))
    container.run("prepare")
    labels = sorted(float(row[0]) for part in parts(container).values() for row in part)
    assert labels == [i / 7 for i in range(50)]
    assert container.json("schema/schema.json")["classes"] == []


def test_multiclass_codes_follow_the_order_of_numbers(container) -> None:
    container.configure(problem="multiclass")
    container.raw(csv_text(["x", "target"], [[i, (2, 10, 1)[i % 3]] for i in range(60)]))
    container.run("prepare")
    assert container.json("schema/schema.json")["classes"] == ["1", "2", "10"]


def _as_json_lines(rows) -> str:
    return "".join(json.dumps(dict(zip(MIXED_HEADER, row, strict=True))) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", "\ufeff" + csv_text(MIXED_HEADER, MIXED)),
        ("data.tsv", csv_text(MIXED_HEADER, MIXED).replace(",", "\t")),
        ("data.csv", csv_text(MIXED_HEADER, MIXED).replace(",", " ; ")),
        ("data.csv", csv_text(MIXED_HEADER, MIXED).replace("\n", "\r\n\r\n")),
        ("data.csv.gz", gzip.compress(csv_text(MIXED_HEADER, MIXED).encode())),
        ("data.jsonl", _as_json_lines(MIXED)),
    ],
    ids=["byte order mark", "tab", "semicolon and blanks", "blank lines", "gzip", "json lines"],
)
def test_other_forms_of_the_same_file_give_the_same_result(container, name, content) -> None:
    container.configure()
    container.raw(csv_text(MIXED_HEADER, MIXED))
    container.run("prepare")
    expected = parts(container)
    (container.input("raw") / "data.csv").unlink()
    container.raw(content, name)
    assert container.run("prepare") == 0
    assert parts(container) == expected


def test_parquet(container) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    container.configure()
    container.raw(csv_text(MIXED_HEADER, MIXED))
    container.run("prepare")
    expected = parts(container)
    (container.input("raw") / "data.csv").unlink()
    columns = [list(column) for column in zip(*MIXED, strict=True)]
    table = pyarrow.table(dict(zip(MIXED_HEADER, columns, strict=True)))
    parquet.write_table(table, container.input("raw") / "data.parquet")
    assert container.run("prepare") == 0
    assert parts(container) == expected


def test_several_files_are_one_table_whatever_the_order_of_their_columns(container) -> None:
    container.configure()
    container.raw(csv_text(MIXED_HEADER, MIXED))
    container.run("prepare")
    expected = parts(container)
    container.raw(csv_text(MIXED_HEADER, MIXED[:20]))
    container.raw(csv_text(MIXED_HEADER[::-1], [row[::-1] for row in MIXED[20:]]), "more.csv")
    assert container.run("prepare") == 0
    assert parts(container) == expected
    assert container.json("schema/summary.json")["files"] == [
        {"name": "data.csv", "rows": 20},
        {"name": "more.csv", "rows": 40},
    ]


@pytest.mark.parametrize("header", [None, MIXED_HEADER, ["colour", "target", "size"]])
def test_column_names_of_the_settings_name_a_file_without_header_only(container, header) -> None:
    order = [MIXED_HEADER.index(name) for name in header or MIXED_HEADER]
    container.configure(data={"columns": MIXED_HEADER})
    container.raw(csv_text(header, [[row[index] for index in order] for row in MIXED]))
    assert container.run("prepare") == 0
    schema = container.json("schema/schema.json")
    assert sorted(feature["name"] for feature in schema["features"]) == ["colour", "size"]
    assert sum(schema["rows"].values()) == 60


def test_census(container, shared_data) -> None:
    numeric = ["age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
    columns = ["age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"]
    columns += ["relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country"]
    columns.append("class")
    container.configure(target="class", data={"positive": ">50K", "columns": columns, "drop": ["fnlwgt"]})
    container.raw((shared_data / "adult.data").read_bytes(), "adult.data")
    assert container.run("prepare") == 0
    summary, schema = container.json("schema/summary.json"), container.json("schema/schema.json")
    assert (summary["rows"]["in"], summary["rows"]["out"], summary["duplicates"]) == (32561, 32561, 24)
    assert schema["classes"] == ["<=50K", ">50K"]
    assert sum(part["classes"][">50K"] for part in summary["splits"].values()) == 7841
    by_name = {feature["name"]: feature for feature in schema["features"]}
    assert len(by_name) == 13
    assert [name for name, feature in by_name.items() if feature["kind"] == "numeric"] == [
        name for name in numeric if name != "fnlwgt"
    ]
    assert by_name["sex"] == {"name": "sex", "kind": "categorical", "source": "sex", "categories": ["Female", "Male"]}


def test_census_test_file_has_labels_with_a_dot(container, shared_data) -> None:
    columns = [f"c{number}" for number in range(14)] + ["class"]
    container.configure(target="class", data={"positive": ">50K", "columns": columns})
    container.raw((shared_data / "adult.test").read_bytes(), "adult.test")
    assert container.run("prepare") == 0
    assert container.json("schema/schema.json")["classes"] == ["<=50K", ">50K"]


@pytest.mark.parametrize(
    ("name", "problem", "settings", "rows", "features"),
    [
        ("boston_housing.csv", "regression", {"target": "medv", "drop": ["b"]}, 506, 12),
        ("creditcard_sample.csv", "binary", {"target": "Class", "positive": "1"}, 5191, 30),
    ],
)
def test_other_public_data(container, shared_data, name, problem, settings, rows, features) -> None:
    container.configure(problem=problem, data=settings)
    container.raw((shared_data / name).read_bytes(), name)
    assert container.run("prepare") == 0
    schema = container.json("schema/schema.json")
    assert (sum(schema["rows"].values()), len(schema["features"])) == (rows, features)


GOOD = csv_text(MIXED_HEADER, MIXED)
ERRORS = {
    "missing target": (GOOD, {"data": {"target": "label"}}, ["'label'", "data.csv", "size, colour, target"]),
    "empty file": ("", {}, ["data.csv is empty"]),
    "header only": ("size,colour,target\n", {}, ["data.csv has a header but no rows"]),
    "text in a declared number": (
        GOOD.replace("\n7.5,", "\nseven,"),
        {"data": {"numeric": ["size"]}},
        ["'size'", "'seven'", "line 9 of data.csv"],
    ),
    "stray text in numbers": (
        GOOD.replace("\n7.5,", "\nseven,"),
        {},
        ["'size'", "'seven'", "line 9 of data.csv", "1 of its 60"],
    ),
    "infinity in numbers": (GOOD.replace("\n7.5,", "\ninf,"), {}, ["'size'", "'inf'", "line 9 of data.csv"]),
    "one class": (GOOD.replace("yes", "no"), {}, ["'target'", "holds only no", "two classes"]),
    "three classes": (GOOD.replace("1.5,green,yes", "1.5,green,maybe"), {}, ["3 classes", "maybe", "multiclass"]),
    "rare class": (GOOD + "1,red,maybe\n", {"problem": "multiclass"}, ["'maybe'", "1 rows", "3 parts"]),
    "unknown positive": (GOOD, {"data": {"positive": "true"}}, ["'true'", "'target'", "no, yes"]),
    "ragged row": (GOOD + "1,2\n", {}, ["line 62 of data.csv", "2 cells", "3 are expected"]),
    "wrong encoding": (GOOD.replace("red", "röd").encode("latin-1"), {}, ["line 2 of data.csv", "0xf6", "UTF-8"]),
    "utf-16": (GOOD.encode("utf-16"), {}, ["data.csv is UTF-16", "UTF-8"]),
    "open quote": (GOOD + '"1,red,no\n', {}, ["data.csv", "CSV"]),
    "unknown drop": (GOOD, {"data": {"drop": ["id"]}}, ["data.drop", "'id'", "size, colour, target"]),
    "wrong number of names": (GOOD, {"data": {"columns": ["a", "target"]}}, ["3 cells", "data.columns names 2"]),
    "column twice": ("a,a,target\n1,2,x\n", {}, ["'a' twice"]),
    "empty column": (
        csv_text(["e", "target"], [["", "xy"[i % 2]] for i in range(9)]),
        {},
        ["'e'", "no value", "data.drop"],
    ),
    "text target of a regression": (GOOD, {"problem": "regression"}, ["'target'", "'no'", "line 2 of data.csv"]),
    "no feature": (GOOD, {"data": {"drop": ["size", "colour"]}}, ["no feature left"]),
    "bad time": (
        GOOD,
        {"data": {"time_column": "colour"}, "window": {"end": "2026-01-01"}},
        ["'colour'", "'red'", "ISO"],
    ),
    "bad split": (GOOD, {"data": {"split": {"train": 0.9, "test": 0.3}}}, ["data.split", "must be 1"]),
    "bad choice": (GOOD, {"data": {"missing": "guess"}}, ["'guess'", "keep, impute, drop"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_a_user_can_get_wrong_ends_with_one_sentence(container, capsys, case) -> None:
    content, settings, fragments = ERRORS[case]
    container.configure(**settings)
    container.raw(content)
    assert container.run("prepare") == 1
    sentence = container.message()
    assert capsys.readouterr().err == sentence + "\n"
    assert "\n" not in sentence
    for fragment in fragments:
        assert fragment in sentence


def test_a_broken_json_line_is_named(container) -> None:
    container.configure()
    container.raw(_as_json_lines(MIXED) + "{broken\n", "data.jsonl")
    assert container.run("prepare") == 1
    assert "line 61 of data.jsonl is not JSON" in container.message()


def test_files_with_other_columns_are_named(container) -> None:
    container.configure()
    container.raw(GOOD)
    container.raw("size,shape,target\n1,round,no\n", "more.csv")
    assert container.run("prepare") == 1
    assert "more.csv has other columns than data.csv (differing: colour, shape)" in container.message()

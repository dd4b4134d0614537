"""What the analyzer makes of each kind of input, and of bad input: every case states its verdict."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs.conftest import lay_out
from tests.jobs.test_monitor import CAPTURE, HEADER, HEADLESS, IN, OUT, SMALL, Monitor, record

KERNELS = ["numpy", "compiled"]


@pytest.fixture
def monitor(container) -> Monitor:
    return Monitor(container)


def analyse(container, files, dataset_format=HEADER, **environment) -> int:
    """A baseline run over the given files."""
    for name, content in files.items():
        path = container.input("dataset") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    settings = {"dataset_source": f"{IN}/dataset", "dataset_format": dataset_format, "output_path": OUT}
    return container.run("monitor", **settings, **environment)


def features(container) -> dict:
    return {feature["name"]: feature for feature in container.json("statistics.json")["features"]}


def common(feature) -> tuple[int, int]:
    block = feature.get("numerical_statistics") or feature["string_statistics"]
    return block["common"]["num_present"], block["common"]["num_missing"]


def report(container) -> str:
    return (container.output("") / "report.html").read_text()


# --- verdicts on bad input ---


@pytest.mark.parametrize("kernels", KERNELS)
def test_missing_cells_and_a_column_without_any(container, kernels) -> None:
    assert analyse(container, {"d.csv": 'a,b,c\n1,,x\n,,\n3,"",y\n'}, analysis_kernels=kernels) == 0
    found = features(container)
    assert [found[name]["inferred_type"] for name in "abc"] == ["Integral", "Unknown", "String"]
    assert [common(found[name]) for name in "abc"] == [(2, 1), (0, 3), (2, 1)]
    constraint = container.json("constraints.json")["features"][1]
    assert constraint == {"name": "b", "inferred_type": "Unknown", "completeness": 0.0}
    buckets = found["c"]["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert {bucket["value"]: bucket["count"] for bucket in buckets} == {"x": 1, "y": 1, "NullValue": 1}


@pytest.mark.parametrize("kernels", KERNELS)
def test_not_a_number_in_text_is_text_and_overflow_is_missing(container, capsys, kernels) -> None:
    text = "a,b\n1.5,1.5\nNaN,1e999\ninf,2.5\n"
    assert analyse(container, {"d.csv": text}, analysis_kernels=kernels) == 0
    found = features(container)
    assert found["a"]["inferred_type"] == "String"
    assert (found["b"]["inferred_type"], common(found["b"])) == ("Fractional", (2, 1))
    assert "1 values of b are infinite or no number: they count as missing" in capsys.readouterr().out


@pytest.mark.parametrize("kernels", KERNELS)
def test_not_a_number_and_infinity_in_parquet_are_missing(container, kernels) -> None:
    table = pa.table({"a": [1.5, float("nan"), float("inf"), None, 2.5]})
    pq.write_table(table, container.input("dataset") / "d.parquet")
    assert analyse(container, {}, '{"parquet": {}}', analysis_kernels=kernels) == 0
    assert common(features(container)["a"]) == (2, 3)
    assert features(container)["a"]["numerical_statistics"]["max"] == 2.5
    assert "2 values of a are infinite" in report(container)


SENTENCES = {
    "empty": ({"d.csv": ""}, HEADER, ["no data", "d.csv is empty"]),
    "header only": ({"d.csv": "a,b\n"}, HEADER, ["no data", "no row in d.csv"]),
    "no file": ({}, HEADER, ["no data", "holds no file"]),
    "utf-16": ({"d.csv": "a,b\n1,2\n".encode("utf-16")}, HEADER, ["d.csv is UTF-16", "UTF-8"]),
    "twice": ({"d.csv": "a,a\n1,2\n"}, HEADER, ["'a' twice"]),
    "no parquet": ({"d.parquet": "x"}, '{"parquet": {}}', ["d.parquet cannot be read as Parquet"]),
    "no json": ({"d.jsonl": "x\n"}, '{"json": {"lines": true}}', ["no data"]),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_no_data_is_one_sentence_and_a_failure(container, case) -> None:
    files, dataset_format, words = SENTENCES[case]
    assert analyse(container, files, dataset_format) == 1
    message = container.message()
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_nested_parquet_is_refused_by_name(container) -> None:
    pq.write_table(pa.table({"a": [[1], [2]]}), container.input("dataset") / "d.parquet")
    assert analyse(container, {}, '{"parquet": {}}') == 1
    assert "column 'a' of d.parquet holds list" in container.message()


@pytest.mark.parametrize("kernels", KERNELS)
def test_ragged_rows_keep_what_they_have_and_are_shown(container, capsys, kernels) -> None:
    assert analyse(container, {"d.csv": "a,b,c\n1,2,3\n4,5\n7,8,9,10\n"}, analysis_kernels=kernels) == 0
    found = features(container)
    assert container.json("statistics.json")["dataset"]["item_count"] == 3
    assert [common(found[name]) for name in "abc"] == [(3, 0), (3, 0), (2, 1)]
    printed = capsys.readouterr().out
    assert "2 rows have another number of cells than the header" in printed
    assert "a row of d.csv has 2 cells where 3 are expected: 4,5" in printed


@pytest.mark.parametrize("kernels", KERNELS)
def test_wrong_encoding_is_replaced_counted_and_shown(container, capsys, kernels) -> None:
    assert analyse(container, {"d.csv": "a,b\nMünchen,1\nKöln,2\n".encode("latin-1")}, analysis_kernels=kernels) == 0
    buckets = features(container)["a"]["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert sorted(bucket["value"] for bucket in buckets) == ["K\ufffdln", "M\ufffdnchen"]
    assert "2 cells are not UTF-8" in capsys.readouterr().out


def test_mixed_types_are_text(container) -> None:
    assert analyse(container, {"d.csv": "a,b\n1,1\n1.0,x\n"}) == 0
    found = features(container)
    assert [found[name]["inferred_type"] for name in "ab"] == ["Fractional", "String"]
    assert found["a"]["numerical_statistics"]["approximate_num_distinct_values"] == 2


@pytest.mark.parametrize(
    ("header", "expected"),
    [("n,c,x", "extra_column_check"), ("n", "missing_column_check")],
)
def test_a_column_too_many_or_too_few(monitor, header, expected) -> None:
    monitor.baseline(SMALL)
    rows = [",".join([f"{i}.5", "ab"[i % 2], "7"][: len(header.split(","))]) for i in range(100)]
    assert monitor.check([header, *rows], HEADER) == 0
    assert [kind for _, kind in monitor.violations()] == [expected]


def test_folders_of_other_hours_are_left_out(container) -> None:
    files = {f"ep/AllTraffic/2026/11/20/{hour:02}/d.csv": f"a\n{hour}\n" for hour in (2, 3, 4)}
    window = {"start_time": "2026-11-20T03:00:00Z", "end_time": "2026-11-20T04:00:00Z"}
    assert analyse(container, files, **window) == 0
    assert features(container)["a"]["numerical_statistics"]["sum"] == 3.0
    assert "2 files lie in folders of hours outside the window" in report(container)
    assert analyse(container, {}, start_time="2027-01-01T00:00:00Z") == 1
    assert "all 3 files lie in folders of hours outside" in container.message()


def test_a_late_capture_counts_by_its_own_time(container) -> None:
    files = {
        "2026/11/20/04/late.jsonl": record("7.5", "2026-11-20T03:59:59Z") + "\n" + record("9.5", "2026-11-20T04:00:01Z")
    }
    window = {"start_time": "2026-11-20T03:00:00Z", "end_time": "2026-11-20T04:00:00Z"}
    assert analyse(container, files, CAPTURE, **window) == 0
    assert features(container)["_c0"]["numerical_statistics"]["max"] == 7.5


def test_a_file_with_other_columns_is_noted_and_lacks_them(container) -> None:
    assert analyse(container, {"1.csv": "a,b\n1,2\n", "2.csv": "a,c\n3,4\n"}) == 0
    found = features(container)
    assert [common(found[name]) for name in "abc"] == [(2, 0), (1, 1), (1, 1)]
    assert "2.csv has other columns than 1.csv (b, c)" in report(container)


def test_a_bad_json_record_is_left_out_and_shown(container, capsys) -> None:
    lines = ['{"a": 1}', "{", '{"a": [1]}', "[1]", '{"a": 3}']
    assert analyse(container, {"d.jsonl": "\n".join(lines)}, '{"json": {"lines": true}}') == 0
    assert features(container)["a"]["numerical_statistics"]["sum"] == 4.0
    assert "3 records could not be read" in capsys.readouterr().out


# --- formats and flags ---


@pytest.mark.parametrize("options", ['{"lines": true}', '{"line": "true"}', "{}"])
def test_json_lines(container, options) -> None:
    text = '{"a": 1, "b": "x", "c": true}\n{"a": 2.5, "b": null, "SageMakerInferenceId": "i"}\n'
    assert analyse(container, {"d.jsonl": text}, f'{{"json": {options}}}') == 0
    found = features(container)
    assert list(found) == ["a", "b", "c"]
    assert [found[name]["inferred_type"] for name in "abc"] == ["Fractional", "String", "String"]
    assert common(found["c"]) == (1, 1)


def test_a_json_document_of_records(container) -> None:
    assert analyse(container, {"d.json": '[{"a": 1}, {"a": 2}]'}, '{"json": {"lines": false}}') == 0
    assert features(container)["a"]["numerical_statistics"]["sum"] == 3.0


def test_the_header_flag_may_be_text(container) -> None:
    assert analyse(container, {"d.csv": "a\n1\n"}, '{"csv": {"header": "true"}}') == 0
    assert list(features(container)) == ["a"]


def test_columns_without_names_are_counted(container) -> None:
    assert analyse(container, {"d.csv": "1,x\n2,y\n"}, HEADLESS) == 0
    assert list(features(container)) == ["_c0", "_c1"]


def test_compressed_and_with_a_mark_and_windows_lines(container) -> None:
    content = gzip.compress("\ufeffa,b\r\n1,x\r\n\r\n2,y\r\n".encode())
    assert analyse(container, {"d.csv.gz": content}) == 0
    assert {name: common(feature) for name, feature in features(container).items()} == {"a": (2, 0), "b": (2, 0)}


def test_quotes_blanks_and_line_breaks_in_cells(container) -> None:
    text = 'a name,b\n" x, ""y""\nz",1\n w ,2\n'
    assert analyse(container, {"d.csv": text}) == 0
    buckets = features(container)["a name"]["string_statistics"]["distribution"]["categorical"]["buckets"]
    assert sorted(bucket["value"] for bucket in buckets) == [" w ", ' x, "y"\nz']


def test_batch_transform_without_header_drops_the_id_and_the_time_it_added(monitor, container) -> None:
    monitor.baseline(SMALL)
    lines = [f"{i}.5,{'ab'[i % 2]},id-{i},2026-11-20T03:00:00Z" for i in range(100)]
    assert monitor.check(lines, HEADLESS) == 0
    assert monitor.violations() == []
    assert "the last two columns of file.csv are the inference id and its time" in report(container)


def test_manifests_of_batch_capture_are_no_data(container) -> None:
    manifest = json.dumps([{"prefix": "s3://bucket/in/"}, "d.csv"])
    assert analyse(container, {"2026/11/20/03/list": manifest, "d.csv": "a\n1\n"}) == 0
    assert list(features(container)) == ["a"]


def test_merged_ground_truth_is_read_like_capture(container) -> None:
    line = json.loads(record("1.5,a", output="0.25"))
    line["groundTruthData"] = {"data": "1", "encoding": "CSV"}
    dataset_format = json.dumps({"sagemakerMergeJson": {"captureIndexNames": ["endpointOutput"]}})
    assert analyse(container, {"d.jsonl": json.dumps(line)}, dataset_format) == 0
    assert features(container)["_c0"]["numerical_statistics"]["sum"] == 0.25


def test_outputs_come_last_if_asked(container) -> None:
    both = {"captureIndexNames": ["endpointInput", "endpointOutput"], "output_columns_position": "END"}
    assert analyse(container, {"d.jsonl": record("7.5", output="0.5")}, json.dumps({"sagemakerCaptureJson": both})) == 0
    assert features(container)["_c1"]["numerical_statistics"]["sum"] == 0.5


@pytest.mark.parametrize("kernels", KERNELS)
def test_parquet_types(container, kernels) -> None:
    table = pa.table(
        {
            "i": pa.array([1, 2, None], pa.int32()),
            "l": pa.array([2**60, 1, 1], pa.int64()),
            "f": pa.array([0.5, None, 1.5], pa.float32()),
            "s": pa.array(["x", "", None]),
            "b": pa.array([True, False, None]),
            "t": pa.array([0, 1, 2], pa.timestamp("us")),
            "d": pa.array(["1", "2", "3"]).dictionary_encode(),
        }
    )
    pq.write_table(table, container.input("dataset") / "d.parquet")
    assert analyse(container, {}, '{"parquet": {}}', analysis_kernels=kernels) == 0
    found = features(container)
    kinds = {name: feature["inferred_type"] for name, feature in found.items()}
    assert kinds == {
        "i": "Integral", "l": "Integral", "f": "Fractional", "s": "String", "b": "String", "t": "String",
        "d": "Integral",
    }  # fmt: skip
    assert common(found["s"]) == (2, 1)
    assert found["l"]["numerical_statistics"]["sum"] == float(2**60 + 2)


# --- modes ---


def large(rows: int) -> str:
    draw = np.random.default_rng(rows)
    numbers = draw.normal(10, 3, rows).round(4).tolist()
    return "x,s,q\n" + "".join(f'{value},k{at % 7},"a,{at % 3}"\n' for at, value in enumerate(numbers))


@pytest.mark.parametrize("kernels", KERNELS)
def test_parallel_agrees_with_exact(container, monkeypatch, kernels) -> None:
    from sagewind.jobs.monitor import read_csv

    monkeypatch.setattr(read_csv, "BLOCK", 64 << 10)
    text = large(30_000)
    results = []
    for mode in ("exact", "parallel"):
        assert analyse(container, {"d.csv": text}, analysis_mode=mode, analysis_kernels=kernels) == 0
        results.append(features(container))
        assert f"read in {mode} mode with the {kernels} kernels" in report(container)
    exact, parallel = (result["x"]["numerical_statistics"] for result in results)
    assert exact["common"] == parallel["common"]
    same = ("min", "max", "approximate_num_distinct_values")
    assert [exact[name] for name in same] == [parallel[name] for name in same]
    for name in ("sum", "mean", "std_dev"):
        assert exact[name] == pytest.approx(parallel[name], rel=1e-9)
    assert results[0]["s"] == results[1]["s"]
    assert results[0]["q"] == results[1]["q"]


def test_numpy_kernels_share_out_columns_among_processes(container, monkeypatch) -> None:
    from sagewind.jobs.monitor import engine

    assert analyse(container, {"d.csv": large(3_000)}, analysis_kernels="numpy") == 0
    single = container.json("statistics.json")
    monkeypatch.setattr(engine, "WORTH_PROCESSES", 0)
    assert analyse(container, {}, analysis_kernels="numpy") == 0
    assert container.json("statistics.json") == single


def test_unknown_settings_are_refused(container) -> None:
    for name, value in (("analysis_mode", "fast"), ("analysis_kernels", "gpu"), ("categorical_drift_method", "KS")):
        assert analyse(container, {"d.csv": "a\n1\n"}, **{name: value}) == 1
        assert name in container.message()
        assert value in container.message()


# --- scripts ---

SCRIPT = """
def preprocess_handler(inference_record{logger}):
    data = inference_record.endpoint_input.data
    if data.startswith("9"):
        return []
    if data.startswith("bad"):
        raise ValueError("cannot")
    return {{str(i).zfill(20): cell for i, cell in enumerate(data.rstrip("\\n").split(","))}}
"""


@pytest.mark.parametrize("logger", ["", ", logger"])
def test_a_preprocessing_script_makes_the_rows(container, capsys, logger) -> None:
    script = container.input("code") / "script.py"
    script.write_text(SCRIPT.format(logger=logger))
    lines = "\n".join(record(data) for data in ("1.5,a", "9,x", "2.5,b", "bad"))
    settings = {"record_preprocessor_script": f"{IN}/code/script.py"}
    assert analyse(container, {"d.jsonl": lines}, CAPTURE, **settings) == 0
    assert features(container)["0" * 20]["numerical_statistics"]["sum"] == 4.0
    assert "1 captured lines could not be read" in capsys.readouterr().out


def test_a_preprocessing_script_sees_the_rows_of_a_csv(container) -> None:
    script = container.input("code") / "script.py"
    script.write_text(SCRIPT.format(logger=""))
    settings = {"record_preprocessor_script": f"{IN}/code/script.py"}
    assert analyse(container, {"d.csv": "a,b\n1,x\n9,y\n3,z\n"}, **settings) == 0
    assert features(container)["0" * 20]["numerical_statistics"]["sum"] == 4.0


def test_a_postprocessing_script_runs_last(container) -> None:
    script = container.input("code") / "post.py"
    mark = container.base / "mark"
    output = container.output("") / "statistics.json"
    script.write_text(f"def postprocess_handler():\n    open({str(mark)!r}, 'w').write(open({str(output)!r}).read())\n")
    assert analyse(container, {"d.csv": "a\n1\n"}, post_analytics_processor_script=f"{IN}/code/post.py") == 0
    assert json.loads(mark.read_text())["dataset"]["item_count"] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "no such file"), ("x = 1", "no function"), ("raise KeyError('k')", "fails when loaded")],
)
def test_a_script_that_cannot_be_used_is_one_sentence(container, text, words) -> None:
    script = container.input("code") / "script.py"
    if text is not None:
        script.write_text(text)
    settings = {"record_preprocessor_script": f"{IN}/code/script.py"}
    assert analyse(container, {"d.csv": "a\n1\n"}, **settings) == 1
    assert words in container.message()


def test_the_bundle_runs_as_a_program(python, tmp_path) -> None:
    """What travels with a run is enough for `python3 -m sagewind.jobs.monitor` in a container."""
    code = lay_out(tmp_path / "code")
    (tmp_path / "d.csv").write_text("a,b\n1,x\n2,y\n")
    done = python(
        "-m",
        "sagewind.jobs.monitor",
        cwd=code,
        SAGEMAKER_BASE_DIR=str(tmp_path / "ml"),
        dataset_source=str(tmp_path / "d.csv"),
        dataset_format=HEADER,
        output_path="/opt/ml/processing/output",
    )
    assert done.returncode == 0, done.stderr
    statistics = json.loads((tmp_path / "ml/processing/output/statistics.json").read_text())
    assert [feature["name"] for feature in statistics["features"]] == ["a", "b"]

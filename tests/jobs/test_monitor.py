from __future__ import annotations

import base64
import csv
import io
import json
import shutil

import numpy as np
import pytest

IN = "/opt/ml/processing/input"
OUT = "/opt/ml/processing/output"
CAPTURE = json.dumps({"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput"]}})
HEADER = json.dumps({"csv": {"header": True}})
HEADLESS = json.dumps({"csv": {"header": False}})
AGAINST = {
    "baseline_constraints": f"{IN}/baseline/constraints.json",
    "baseline_statistics": f"{IN}/baseline/statistics.json",
}


def record(data: str, time: str = "2026-11-20T03:15:00Z", encoding: str = "CSV", output: str = "0.5") -> str:
    """One line as data capture writes it."""
    capture = {
        "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "data": data, "encoding": encoding},
        "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": output, "encoding": "CSV"},
    }
    event = {"eventId": "e", "inferenceTime": time}
    return json.dumps({"captureData": capture, "eventMetadata": event, "eventVersion": "0"})


class Monitor:
    """A baseline and checks against it in one container."""

    def __init__(self, container) -> None:
        self.container = container

    def baseline(self, text: str) -> None:
        (self.container.input("dataset") / "baseline.csv").write_text(text)
        assert (
            self.container.run("monitor", dataset_source=f"{IN}/dataset", dataset_format=HEADER, output_path=OUT) == 0
        )
        shutil.copytree(self.container.output(""), self.container.input("baseline"), dirs_exist_ok=True)
        for path in self.container.output("").iterdir():
            path.unlink()

    def check(self, lines: list[str], dataset_format: str = CAPTURE, **environment: str) -> int:
        folder = self.container.input("captured") / "endpoint" / "AllTraffic" / "2026" / "11" / "20" / "03"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        suffix = "jsonl" if dataset_format != HEADER and dataset_format != HEADLESS else "csv"
        (folder / f"file.{suffix}").write_text("".join(line + "\n" for line in lines))
        settings = {"dataset_source": f"{IN}/captured", "dataset_format": dataset_format, "output_path": OUT}
        return self.container.run("monitor", **settings, **AGAINST, **environment)

    def violations(self) -> list[tuple[str, str]]:
        found = self.container.json("constraint_violations.json")["violations"]
        return [(entry["feature_name"], entry["constraint_check_type"]) for entry in found]

    def statistics(self) -> dict:
        return {feature["name"]: feature for feature in self.container.json("statistics.json")["features"]}


@pytest.fixture
def monitor(container) -> Monitor:
    return Monitor(container)


SMALL = "n,c\n" + "".join(f"{i}.5,{'ab'[i % 2]}\n" for i in range(100))


def test_a_baseline_writes_aws_files_and_its_message(monitor, container) -> None:
    folder = container.input("dataset")
    (folder / "baseline.csv").write_text(SMALL)
    assert container.run("monitor", dataset_source=f"{IN}/dataset", dataset_format=HEADER, output_path=OUT) == 0
    assert container.message() == "Completed: Job completed successfully with no violations."
    assert {path.name for path in container.output("").iterdir()} == {
        "statistics.json",
        "constraints.json",
        "report.html",
    }
    assert container.json("statistics.json")["dataset"] == {"item_count": 100}
    suggested = {feature["name"]: feature for feature in container.json("constraints.json")["features"]}
    assert suggested["n"]["num_constraints"] == {"is_non_negative": True}
    assert suggested["c"]["string_constraints"] == {"domains": ["a", "b"]}


@pytest.fixture
def tumour(monitor, container, tumour_csv):
    """A baseline of the train part, and the captured test rows as prepare wrote them."""
    container.configure(data={"positive": "1"})
    container.raw(tumour_csv)
    container.run("prepare")
    header = container.rows("baseline/baseline.csv")[0]
    rows = container.rows("batch/batch.csv") + container.rows("validation/validation.csv")
    traffic = [row[-len(header) :] for row in rows][:150]
    baseline = (container.output("baseline") / "baseline.csv").read_text()
    shutil.rmtree(container.output(""))
    monitor.baseline(baseline)
    return header, traffic


def requests(rows, per: int = 4) -> list[str]:
    """Captured requests of several rows each."""
    lines = [",".join(row) for row in rows]
    return [record("\n".join(lines[start : start + per])) for start in range(0, len(lines), per)]


def test_ordinary_traffic_is_no_violation(monitor, container, tumour) -> None:
    _, traffic = tumour
    assert len(traffic) == 150
    assert monitor.check(requests(traffic)) == 0
    assert monitor.violations() == []
    assert container.message() == "Completed: Job completed successfully with no violations."
    assert container.json("statistics.json")["dataset"]["item_count"] == 150


@pytest.mark.parametrize("shifted", [(3, 7), (0, 29)])
def test_shifted_columns_and_no_others_are_named(monitor, container, tumour, shifted) -> None:
    header, traffic = tumour
    table = np.array(traffic, dtype=float)
    table[:, shifted] += 4 * table[:, shifted].std(axis=0)
    assert monitor.check(requests([list(map(repr, row)) for row in table.tolist()])) == 0
    assert monitor.violations() == [(header[index], "baseline_drift_check") for index in shifted]
    assert container.message() == "CompletedWithViolations: Job completed successfully with 2 violations."
    descriptions = [entry["description"] for entry in container.json("constraint_violations.json")["violations"]]
    assert all("Numerical distance: 0." in text and text.endswith("threshold: 0.1") for text in descriptions)
    report = (container.output("") / "report.html").read_text()
    assert (
        report.index("2 violations")
        < report.index("What is wrong")
        < report.index(f"<strong>{header[shifted[0]]}</strong>")
    )


def test_a_batch_without_header_is_checked_like_captured_rows(monitor, tumour) -> None:
    _, traffic = tumour
    assert monitor.check([",".join(row) for row in traffic], HEADLESS) == 0
    assert monitor.violations() == []


def ordinary(count: int = 100) -> list[list[str]]:
    return [[f"{i % 100}.5", "ab"[i % 2]] for i in range(count)]


def as_lines(rows) -> list[str]:
    return [record(",".join(row)) for row in rows]


def test_a_whole_number_is_a_valid_fraction(monitor) -> None:
    monitor.baseline(SMALL)
    monitor.check(as_lines([["50" if row[0] == "50.5" else row[0], row[1]] for row in ordinary()]))
    assert monitor.violations() == []


def test_text_among_numbers(monitor, container) -> None:
    monitor.baseline(SMALL)
    rows = ordinary()
    rows[0][0] = "many"
    monitor.check(as_lines(rows))
    assert container.json("constraint_violations.json")["violations"] == [
        {
            "feature_name": "n",
            "constraint_check_type": "data_type_check",
            "description": "Data type match requirement is not met. Expected data type: Fractional, Expected match: "
            "100.0%. Observed: Only 99.0% of data is Fractional.",
        }
    ]


def test_missing_values_where_training_had_none(monitor) -> None:
    monitor.baseline(SMALL)
    rows = ordinary()
    rows[0][0] = ""
    monitor.check(as_lines(rows))
    assert monitor.violations() == [("n", "completeness_check")]


@pytest.mark.parametrize(("missing", "violated"), [(5, False), (15, False), (60, True)])
def test_missing_values_where_training_had_some(monitor, missing, violated) -> None:
    gaps = "n,c\n" + "".join(f"{'' if i % 10 == 0 else f'{i}.5'},{'ab'[i % 2]}\n" for i in range(100))
    monitor.baseline(gaps)
    rows = ordinary()
    for index in range(missing):
        rows[(index * 7) % 100][0] = ""
    monitor.check(as_lines(rows))
    assert (("n", "completeness_check") in monitor.violations()) is violated


def test_unknown_categories(monitor, container) -> None:
    monitor.baseline(SMALL)
    rows = ordinary()
    rows[0][1] = "z"
    monitor.check(as_lines(rows))
    assert container.json("constraint_violations.json")["violations"] == [
        {
            "feature_name": "c",
            "constraint_check_type": "categorical_values_check",
            "description": "Value: 0.99 does not meet the constraint requirement!",
        }
    ]


def test_other_shares_of_known_categories(monitor, container) -> None:
    monitor.baseline(SMALL)
    monitor.check(as_lines([[row[0], "a"] for row in ordinary()]))
    ((name, kind),) = monitor.violations()
    assert (name, kind) == ("c", "baseline_drift_check")
    text = container.json("constraint_violations.json")["violations"][0]["description"]
    assert float(text.split()[2]) == pytest.approx(0.5 - 1.8 * np.sqrt(200 / 10_000))


@pytest.mark.parametrize(
    ("change", "expected", "counts"),
    [
        (lambda row: [*row, "7.5"], ("Extra columns", "extra_column_check"), (3, 2)),
        (lambda row: row[:1], ("Missing columns", "missing_column_check"), (1, 2)),
    ],
)
def test_another_number_of_columns(monitor, container, change, expected, counts) -> None:
    monitor.baseline(SMALL)
    monitor.check(as_lines([change(row) for row in ordinary()]))
    assert monitor.violations() == [expected]
    text = container.json("constraint_violations.json")["violations"][0]["description"]
    assert text.endswith(
        f"Number of columns in current dataset: {counts[0]}, Number of columns in baseline constraints: {counts[1]}"
    )


def test_named_columns_are_matched_by_name(monitor) -> None:
    monitor.baseline(SMALL)
    monitor.check(["c,n", *(f"{row[1]},{row[0]}" for row in ordinary())], HEADER)
    assert monitor.violations() == []
    monitor.check(["c,m", *(f"{row[1]},{row[0]}" for row in ordinary())], HEADER)
    assert monitor.violations() == [
        ("Missing columns", "missing_column_check"),
        ("Extra columns", "extra_column_check"),
    ]


def test_only_requests_in_the_window_count(monitor, container) -> None:
    monitor.baseline(SMALL)
    times = ["2026-11-20T02:59:59.999Z", "2026-11-20T03:00:00Z", "2026-11-20T03:59:59Z", "2026-11-20T04:00:00+00:00"]
    lines = [record(f"{index}.5,a", time) for index, time in enumerate(times)]
    monitor.check(lines, start_time="2026-11-20T03:00:00Z", end_time="2026-11-20T04:00:00Z")
    numbers = monitor.statistics()["n"]["numerical_statistics"]
    assert (numbers["min"], numbers["max"], numbers["common"]["num_present"]) == (1.5, 2.5, 2)


def test_an_unreadable_line_is_counted_and_shown_and_the_rest_is_used(monitor, container, capsys) -> None:
    monitor.baseline(SMALL)
    broken = ["{broken", "[]", json.dumps({"captureData": {}}), record("1.5,a", time="yesterday")]
    assert monitor.check([*as_lines(ordinary()), *broken]) == 0
    assert container.json("statistics.json")["dataset"]["item_count"] == 100
    printed = capsys.readouterr().out
    assert "4 captured lines could not be read" in printed
    assert "line 101 of file.jsonl" in printed
    assert "line 104 of file.jsonl: inferenceTime in line 104 of file.jsonl is 'yesterday'" in printed
    assert "4 captured lines could not be read" in (container.output("") / "report.html").read_text()


def test_requests_of_a_verification_are_left_out_record_by_record(monitor, container, capsys) -> None:
    """Their objects hold users' requests too: without this, many of them hide the few that have drifted."""
    monitor.baseline(SMALL)
    lines = as_lines(ordinary())
    for number in range(1, len(lines), 2):
        line = json.loads(lines[number])
        line["eventMetadata"]["inferenceId"] = f"sagewind-verify-{number}"
        lines[number] = json.dumps(line)
    assert monitor.check(lines, excluded_inference_id_prefix="sagewind-verify") == 0
    assert container.json("statistics.json")["dataset"]["item_count"] == 50
    assert "50 requests are excluded by their inference id" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("1.5,a\n2.5,b\n", "CSV"),
        ("1.5, a\r\n2.5, b", "CSV"),
        (base64.b64encode(b"1.5,a\n2.5,b\n").decode(), "BASE64"),
        ('[[1.5, "a"], [2.5, "b"]]', "JSON"),
        ('{"instances": [{"features": [1.5, "a"]}, {"features": [2.5, "b"]}]}', "JSON"),
        ('[{"n": 1.5, "c": "a"}, {"c": "b", "n": 2.5}]', "JSON"),
    ],
)
def test_payloads_of_the_same_rows(monitor, container, data, encoding) -> None:
    monitor.baseline(SMALL)
    assert monitor.check([record(data, encoding=encoding)]) == 0
    statistics = monitor.statistics()
    assert statistics["n"]["numerical_statistics"]["sum"] == 4.0
    assert statistics["c"]["string_statistics"]["distribution"]["categorical"]["buckets"] == [
        {"value": "a", "count": 1},
        {"value": "b", "count": 1},
    ]


def test_input_and_output_make_one_row_output_first(monitor) -> None:
    monitor.baseline("score,n\n" + "".join(f"0.{i:02d},{i}.5\n" for i in range(1, 60)))
    both = json.dumps({"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}})
    monitor.check([record("7.5\n8.5", output="0.25\n0.5\n")], both)
    assert monitor.statistics()["score"]["numerical_statistics"]["max"] == 0.5
    assert monitor.statistics()["n"]["numerical_statistics"]["max"] == 8.5


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"evaluate_constraints": "Disabled"}, []),
        ({"datatype_check_threshold": 0.5}, []),
        ({"datatype_check_threshold": 0.99}, []),
        ({}, [("n", "data_type_check")]),
    ],
)
def test_settings_of_one_feature_override_the_common_ones(monitor, container, changes, expected) -> None:
    monitor.baseline(SMALL)
    path = container.input("baseline") / "constraints.json"
    document = json.loads(path.read_text())
    document["features"][0]["monitoringConfigOverrides"] = changes
    path.write_text(json.dumps(document))
    rows = ordinary()
    rows[0][0] = "many"
    monitor.check(as_lines(rows))
    assert monitor.violations() == expected


@pytest.mark.parametrize(("method", "violated"), [("Robust", False), ("Simple", True)])
def test_comparison_method_of_the_baseline(monitor, container, method, violated) -> None:
    monitor.baseline(SMALL)
    path = container.input("baseline") / "constraints.json"
    document = json.loads(path.read_text())
    document["monitoring_config"]["distribution_constraints"]["comparison_method"] = method
    path.write_text(json.dumps(document))
    monitor.check(as_lines(ordinary(80)))
    assert (("n", "baseline_drift_check") in monitor.violations()) is violated


def test_metrics_for_cloudwatch_only_if_enabled(monitor, container) -> None:
    monitor.baseline(SMALL)
    path = container.base / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl"
    monitor.check(as_lines(ordinary()), publish_cloudwatch_metrics="Disabled")
    assert not path.exists()
    names = {"sagemaker_endpoint_name": "ep", "sagemaker_monitoring_schedule_name": "daily"}
    monitor.check(as_lines(ordinary()), publish_cloudwatch_metrics="Enabled", end_time="2026-11-21T00:00:00Z", **names)
    metrics = {entry["MetricName"]: entry for entry in map(json.loads, path.read_text().splitlines())}
    assert set(metrics) == {
        "feature_data_n",
        "feature_non_null_n",
        "feature_baseline_drift_n",
        "feature_non_null_c",
        "feature_baseline_drift_c",
    }
    assert metrics["feature_data_n"] == {
        "MetricName": "feature_data_n",
        "StatisticValues": {"SampleCount": 100.0, "Sum": 5000.0, "Minimum": 0.5, "Maximum": 99.5},
        "Unit": "None",
        "Timestamp": "2026-11-21T00:00:00Z",
        "Dimensions": [
            {"Name": "Endpoint", "Value": "ep"},
            {"Name": "MonitoringSchedule", "Value": "daily"},
        ],
    }
    assert metrics["feature_baseline_drift_n"]["Value"] == 0.0


def test_a_feature_whose_baseline_emits_no_metrics_has_none(monitor, container) -> None:
    monitor.baseline(SMALL)
    path = container.input("baseline") / "constraints.json"
    document = json.loads(path.read_text())
    document["features"][0]["monitoringConfigOverrides"] = {"emit_metrics": "Disabled"}
    path.write_text(json.dumps(document))
    monitor.check(as_lines(ordinary()), publish_cloudwatch_metrics="Enabled")
    metrics = container.base / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl"
    names = {json.loads(line)["MetricName"] for line in metrics.read_text().splitlines()}
    assert names == {"feature_non_null_c", "feature_baseline_drift_c"}


def test_metrics_fit_what_cloudwatch_accepts(monitor, container) -> None:
    import botocore.session
    from botocore.validate import ParamValidator

    monitor.baseline(SMALL)
    monitor.check(as_lines(ordinary()), publish_cloudwatch_metrics="Enabled", sagemaker_endpoint_name="ep")
    path = container.base / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl"
    shape = botocore.session.get_session().get_service_model("cloudwatch").shape_for("MetricDatum")
    for line in path.read_text().splitlines():
        report = ParamValidator().validate(json.loads(line), shape)
        assert not report.has_errors(), report.generate_report()


ERRORS = {
    "nothing captured": ([], {}, ["no data", "no captured request"]),
    "all outside": (
        [record("1.5,a")],
        {"start_time": "2027-01-01T00:00:00Z"},
        ["no data", "2027-01-01", "1 outside the window"],
    ),
    "all unreadable": (["{"], {}, ["no data", "1 unreadable"]),
    "bad time": ([record("1.5,a")], {"start_time": "soon"}, ["start_time is 'soon'", "ISO 8601"]),
    "unknown format": ([record("1.5,a")], {"dataset_format": '{"xml": {}}'}, ["'xml'", "sagemakerCaptureJson"]),
    "misspelt option": (
        [record("1.5,a")],
        {"dataset_format": '{"csv": {"headers": true}}'},
        ["csv the option 'headers'", "header, output_columns_position"],
    ),
    "flag that is none": (
        [record("1.5,a")],
        {"dataset_format": '{"csv": {"header": "yes"}}'},
        ["header = 'yes'", "write true or false"],
    ),
    "options that are none": ([record("1.5,a")], {"dataset_format": '{"csv": true}'}, ["gives csv True", "object"]),
    "broken format": ([record("1.5,a")], {"dataset_format": "csv"}, ["dataset_format is 'csv'", "JSON"]),
    "unknown index": (
        [record("1.5,a")],
        {"dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["input"]}}'},
        ["'input'", "endpointInput"],
    ),
    "not implemented": ([record("1.5,a")], {"record_preprocessor_script": "s3://x"}, ["record_preprocessor_script"]),
    "unknown analysis": ([record("1.5,a")], {"analysis_type": "QUALITY"}, ["analysis_type", "'QUALITY'", "MODEL_BIAS"]),
    "baseline is missing": (
        [record("1.5,a")],
        {"baseline_constraints": f"{IN}/none.json"},
        ["constraints", "none.json"],
    ),
    "no output": ([record("1.5,a")], {"output_path": ""}, ["output_path is missing"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_can_be_wrong_ends_with_one_sentence(monitor, container, capsys, case) -> None:
    lines, environment, fragments = ERRORS[case]
    monitor.baseline(SMALL)
    for name, value in environment.items():
        container.monkeypatch.setenv(name, value)
    capsys.readouterr()
    folder = container.input("captured")
    (folder / "file.jsonl").write_text("".join(line + "\n" for line in lines))
    settings = {"dataset_source": f"{IN}/captured", "dataset_format": CAPTURE, "output_path": OUT, **AGAINST}
    assert container.run("monitor", **{**settings, **environment}) == 1
    sentence = container.message()
    assert capsys.readouterr().err == sentence + "\n"
    for fragment in fragments:
        assert fragment in sentence


@pytest.mark.parametrize("text", ["", "n,c\n"])
def test_a_baseline_without_rows(container, text) -> None:
    (container.input("dataset") / "baseline.csv").write_text(text)
    assert container.run("monitor", dataset_source=f"{IN}/dataset", dataset_format=HEADER, output_path=OUT) == 1
    assert "baseline.csv" in container.message()


def test_an_empty_column_is_unknown_and_checked_for_completeness_only(monitor, container) -> None:
    monitor.baseline("n,e\n" + "".join(f"{i}.5,\n" for i in range(50)))
    suggested = json.loads((container.input("baseline") / "constraints.json").read_text())["features"][1]
    assert (suggested["inferred_type"], suggested["completeness"]) == ("Unknown", 0.0)
    monitor.check([record(f"{i}.5,") for i in range(50)])
    assert monitor.violations() == []


def test_quoted_names_and_values(monitor) -> None:
    rows = [[f'say "{i % 3}"', f"{i}.5"] for i in range(60)]
    text = io.StringIO()
    csv.writer(text).writerows([["a, b", "n"], *rows])
    monitor.baseline(text.getvalue())
    body = io.StringIO()
    csv.writer(body).writerows(rows)
    monitor.check([record(body.getvalue())])
    assert monitor.violations() == []
    assert list(monitor.statistics()) == ["a, b", "n"]

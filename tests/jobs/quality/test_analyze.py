"""Model quality against scikit-learn, the developer guide's examples, and every kind of bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as oracle

from tests.jobs.analysis.captured import TIME, label, request
from tests.jobs.conftest import csv_text

IN, OUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
CSV, MERGED = '{"csv":{"header":true}}', '{"sagemakerMergeJson":{"captureIndexNames":["endpointOutput"]}}'
BINARY = {
    "problem_type": "BinaryClassification",
    "inference_attribute": "prediction",
    "probability_attribute": "probability",
    "ground_truth_attribute": "label",
}
CAMEL = {"truePositiveRate", "trueNegativeRate", "falsePositiveRate", "falseNegativeRate"}


class Quality:
    """Baselines and checks of model quality in one container."""

    def __init__(self, container) -> None:
        self.container = container

    def table(self, header, rows, name: str = "data.csv", **environment: str) -> int:
        return self.text(csv_text(header, rows), name, **environment)

    def text(self, text: str, name: str = "data.csv", **environment: str) -> int:
        folder = self.container.input("data")
        for path in folder.iterdir():
            path.unlink()
        (folder / name).write_text(text)
        return self._run(**{"dataset_source": f"{IN}/data", "dataset_format": CSV, **environment})

    def merged(self, *records: dict | str, **environment: str) -> int:
        folder = self.container.base / "processing" / "input_data" / "ep" / "AllTraffic" / "2026" / "11" / "20" / "03"
        folder.mkdir(parents=True, exist_ok=True)
        texts = [record if isinstance(record, str) else json.dumps(record) for record in records]
        (folder / "part.jsonl").write_text("".join(text + "\n" for text in texts))
        return self._run(**{"dataset_source": "/opt/ml/processing/input_data", "dataset_format": MERGED, **environment})

    def _run(self, **environment: str) -> int:
        settings = {"analysis_type": "MODEL_QUALITY", "output_path": OUT, **environment}
        return self.container.run("quality.analyze", **{name: value for name, value in settings.items() if value})

    def against(self, constraints: dict) -> dict[str, str]:
        (self.container.input("baseline") / "constraints.json").write_text(json.dumps(constraints))
        return {"baseline_constraints": f"{IN}/baseline/constraints.json"}

    def keep(self) -> dict[str, str]:
        return self.against(self.container.json("constraints.json"))

    @property
    def report(self) -> str:
        return (self.container.output("") / "report.html").read_text()

    def block(self, name: str) -> dict:
        return self.container.json("statistics.json")[f"{name}_metrics"]


@pytest.fixture
def quality(container) -> Quality:
    return Quality(container)


def merge_record(event: str, output: str, truth: str) -> dict:
    return {**request(event, output), "groundTruthData": label(event, truth)["groundTruthData"]}


def values(block: dict) -> dict[str, float]:
    return {name: entry["value"] for name, entry in block.items() if "value" in entry}


def test_the_guides_binary_example(quality, container) -> None:
    """One right positive and one right negative of four; the guide's areas belong to other scores and are left out."""
    rows = [[1, 0.9, 1], [1, 0.6, 0], [1, 0.6, 0], [0, 0.2, 0]]
    assert quality.table(["prediction", "probability", "label"], rows, **BINARY) == 0
    block = quality.block("binary_classification")
    assert block["confusion_matrix"] == {"0": {"0": 1, "1": 2}, "1": {"0": 0, "1": 1}}
    expected = {
        "recall": 1.0, "precision": 1 / 3, "accuracy": 0.5, "recall_best_constant_classifier": 1.0,
        "precision_best_constant_classifier": 0.25, "accuracy_best_constant_classifier": 0.25,
        "true_positive_rate": 1.0, "true_negative_rate": 1 / 3, "false_positive_rate": 2 / 3,
        "false_negative_rate": 0.0,
        "f0_5": 0.3846153846153846, "f1": 0.5, "f2": 0.7142857142857143,
        "f0_5_best_constant_classifier": 0.29411764705882354, "f1_best_constant_classifier": 0.4,
        "f2_best_constant_classifier": 0.625, "auc": 1.0, "au_prc": 1.0,
    }  # fmt: skip
    assert values(block) == pytest.approx(expected)
    assert {entry["standard_deviation"] for entry in block.values() if "value" in entry} == {"NaN"}
    assert container.json("statistics.json")["dataset"]["item_count"] == 4
    assert container.message() == "Completed: Job completed successfully with no violations."
    assert "Baseline made" in quality.report


def test_the_guides_multiclass_example(quality, container) -> None:
    cells = {(0, 0): 1180, (0, 1): 510, (1, 0): 268, (1, 1): 138}
    rows = [[predicted, actual] for (actual, predicted), count in cells.items() for _ in range(count)]
    settings = {**BINARY, "problem_type": "MulticlassClassification", "probability_attribute": ""}
    assert quality.table(["prediction", "label"], rows, **settings) == 0
    block = quality.block("multiclass_classification")
    assert block["confusion_matrix"] == {"0": {"0": 1180, "1": 510}, "1": {"0": 268, "1": 138}}
    expected = {
        "accuracy": 0.6288167938931297, "weighted_recall": 0.6288167938931297,
        "weighted_precision": 0.6983172269629505, "weighted_f0_5": 0.6803947317178771,
        "weighted_f1": 0.6571162346664904, "weighted_f2": 0.6384024354394601,
        "accuracy_best_constant_classifier": 0.19370229007633588,
        "weighted_recall_best_constant_classifier": 0.19370229007633588,
        "weighted_precision_best_constant_classifier": 0.03752057718081697,
        "weighted_f0_5_best_constant_classifier": 0.04473443104152011,
        "weighted_f1_best_constant_classifier": 0.06286421244683643,
        "weighted_f2_best_constant_classifier": 0.10570313141262414,
    }  # fmt: skip
    assert values(block) == pytest.approx(expected, rel=1e-12)
    # The guide's deviation of the accuracy is 0.0038: five draws of ours give the same size.
    assert 0.0005 < block["accuracy"]["standard_deviation"] < 0.012
    assert list(container.json("constraints.json")["multiclass_classification_constraints"]) == [
        "accuracy", "weighted_recall", "weighted_precision", "weighted_f0_5", "weighted_f1", "weighted_f2",
    ]  # fmt: skip


def test_binary_metrics_against_scikit_learn(quality, container) -> None:
    random = np.random.default_rng(3)
    actual = random.integers(0, 2, 400)
    scores = np.round(random.random(400) * 0.6 + actual * 0.3, 2)
    settings = {**BINARY, "inference_attribute": "", "probability_threshold_attribute": "0.4"}
    assert quality.table(["probability", "label"], zip(scores, actual, strict=True), **settings) == 0
    predicted = (scores > 0.4).astype(int)
    assert (scores == 0.4).any()  # the threshold itself is negative
    measured = values(quality.block("binary_classification"))
    expected = {
        "auc": oracle.roc_auc_score(actual, scores),
        "au_prc": oracle.average_precision_score(actual, scores),
        "accuracy": oracle.accuracy_score(actual, predicted),
        "precision": oracle.precision_score(actual, predicted),
        "recall": oracle.recall_score(actual, predicted),
        **{name: oracle.fbeta_score(actual, predicted, beta=beta)
           for name, beta in (("f0_5", 0.5), ("f1", 1), ("f2", 2))},
    }  # fmt: skip
    assert {name: measured[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert container.json("constraints.json")["version"] == 0.0
    operators = {
        name: entry["comparison_operator"]
        for name, entry in container.json("constraints.json")["binary_classification_constraints"].items()
    }
    greater = {name for name, operator in operators.items() if operator == "GreaterThanThreshold"}
    assert greater == {"false_positive_rate", "false_negative_rate"}
    assert "au_prc" not in operators
    assert not any("constant" in name for name in operators)


def test_regression_baseline_and_check(quality, container) -> None:
    random = np.random.default_rng(4)
    actual = random.normal(size=300)
    settings = {**BINARY, "problem_type": "Regression", "probability_attribute": ""}
    header = ["prediction", "label"]
    rows = list(zip(actual + random.normal(size=300) / 10, actual, strict=True))
    assert quality.table(header, rows, **settings) == 0
    truth, guesses = actual, np.array(rows)[:, 0]
    assert values(quality.block("regression")) == pytest.approx({
        "mae": oracle.mean_absolute_error(truth, guesses), "mse": oracle.mean_squared_error(truth, guesses),
        "rmse": oracle.root_mean_squared_error(truth, guesses), "r2": oracle.r2_score(truth, guesses),
    })  # fmt: skip
    against = quality.keep()
    assert quality.table(header, rows, **settings, **against) == 0
    assert container.json("constraint_violations.json") == {"violations": []}
    worse = [[guess + 1, label] for guess, label in rows]
    assert quality.table(header, worse, **settings, **against) == 0
    found = container.json("constraint_violations.json")["violations"]
    assert [(entry["metric_name"], entry["constraint_check_type"]) for entry in found] == [
        ("mae", "GreaterThanThreshold"), ("mse", "GreaterThanThreshold"), ("rmse", "GreaterThanThreshold"),
        ("r2", "LessThanThreshold"),
    ]  # fmt: skip
    assert container.message() == "CompletedWithViolations: Job completed successfully with 4 violations."


def test_violations_have_aws_texts_and_metrics_are_published(quality, container) -> None:
    good = [[i % 2, 0.9 if i % 2 else 0.1, i % 2] for i in range(250)]
    quality.table(["prediction", "probability", "label"], good, **BINARY)
    against = quality.keep()
    records = [merge_record(f"e{i}", f"{(i + 1) % 2},{0.9 if i % 3 else 0.1}", str(i % 2)) for i in range(300)]
    settings = {**BINARY, "inference_attribute": "0", "probability_attribute": "1", "ground_truth_attribute": ""}
    published = {
        "publish_cloudwatch_metrics": "Enabled", "sagemaker_endpoint_name": "ep", "metric_time": TIME,
        "sagemaker_monitoring_schedule_name": "sched",
    }  # fmt: skip
    assert quality.merged(*records, **settings, **against, **published) == 0
    found = {entry["metric_name"]: entry for entry in container.json("constraint_violations.json")["violations"]}
    assert set(found) == {"recall", "precision", "accuracy", "auc", "f0_5", "f1", "f2"} | CAMEL
    auc = quality.block("binary_classification")["auc"]
    assert found["auc"] == {
        "constraint_check_type": "LessThanThreshold",
        "description": f"Metric auc with {auc['value']} +/- {auc['standard_deviation']} was LessThanThreshold '1.0'",
        "metric_name": "auc",
    }
    assert found["falsePositiveRate"]["constraint_check_type"] == "GreaterThanThreshold"
    assert container.message() == "CompletedWithViolations: Job completed successfully with 11 violations."
    path = container.base / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl"
    metrics = {entry["MetricName"]: entry for entry in map(json.loads, path.read_text().splitlines())}
    assert metrics["auc"] == {
        "MetricName": "auc", "Timestamp": TIME, "Value": auc["value"], "Unit": "None",
        "Dimensions": [{"Name": "Endpoint", "Value": "ep"}, {"Name": "MonitoringSchedule", "Value": "sched"}],
    }  # fmt: skip
    assert metrics["total_number_of_violations"]["Value"] == 11.0
    assert "11 metrics are worse than the limit" in quality.report
    assert "<script" not in quality.report
    assert "http" not in quality.report.replace("http-equiv", "")


JSON_OUTPUTS = {
    "object": ('{"prediction": 1, "probability": 0.9}', {}),
    "wrapped": ('{"predictions": [{"prediction": 1, "probability": 0.9}]}', {}),
    "path": (
        '{"out": [{"p": 0.9, "l": 1}]}',
        {"inference_attribute": "out[0].l", "probability_attribute": "out[0].p"},
    ),
    "most probable of all classes": (
        '{"labels": [0, 1], "probabilities": [0.1, 0.9]}',
        {"inference_attribute": "labels", "probability_attribute": "probabilities"},
    ),
}


@pytest.mark.parametrize("case", JSON_OUTPUTS)
def test_predictions_are_found_in_json_responses(quality, case) -> None:
    text, settings = JSON_OUTPUTS[case]
    record = merge_record("a", text, "1")
    record["captureData"]["endpointOutput"] |= {"encoding": "JSON", "observedContentType": "application/json"}
    assert quality.merged(record, **{**BINARY, **settings}) == 0
    assert values(quality.block("binary_classification"))["accuracy"] == 1.0


def test_one_request_with_several_rows(quality, container) -> None:
    record = merge_record("a", "1\n0\n1", "1\n1\n1")
    record["captureData"]["endpointInput"]["data"] = "1,2\n3,4\n5,6"
    short = merge_record("b", "1\n0", "1")
    short["captureData"]["endpointInput"]["data"] = "1,2\n3,4"
    settings = {"problem_type": "BinaryClassification", "inference_attribute": "0"}
    assert quality.merged(record, short, **settings) == 0
    assert container.json("statistics.json")["dataset"]["item_count"] == 3
    assert "the record has 1 rows, there are 2 predictions" in quality.report


def test_a_record_without_request_and_classes_from_a_row_of_scores(quality) -> None:
    records = [merge_record("a", "0.1,0.7,0.2", "1"), merge_record("b", "0.5,0.3,0.2", "2")]
    for record in records:
        del record["captureData"]["endpointInput"]
    assert quality.merged(*records, problem_type="MulticlassClassification") == 0
    assert quality.block("multiclass_classification")["confusion_matrix"]["1"] == {"0": 0, "1": 1, "2": 0}


def test_json_lines_and_parquet_baselines(quality, container) -> None:
    lines = [
        '{"label": "yes", "out": {"p": 0.8}}',
        '{"label": "no", "out": {"p": 0.3}}',
        '{"label": "yes"}',
        "[1]",
        "{",
    ]
    settings = {
        "problem_type": "BinaryClassification", "probability_attribute": "out.p", "ground_truth_attribute": "label",
        "positive_label": "yes",
    }  # fmt: skip
    code = quality.text("\n".join(lines), "data.jsonl", dataset_format='{"json":{"lines":true}}', **settings)
    assert code == 0, container.message()
    assert quality.block("binary_classification")["confusion_matrix"] == {
        "no": {"no": 1, "yes": 0}, "yes": {"no": 0, "yes": 1},
    }  # fmt: skip
    assert "3 records could not be used" in quality.report
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = container.input("table")
    parquet.write_table(pyarrow.table({"p": [0.2, 0.7, None], "y": [0, 1, 1]}), folder / "t.parquet")
    settings |= {"probability_attribute": "p", "ground_truth_attribute": "y", "positive_label": ""}
    place = {"dataset_source": f"{IN}/table", "dataset_format": '{"parquet":{}}'}
    assert quality._run(**place, **settings) == 0
    assert container.json("statistics.json")["dataset"]["item_count"] == 2


def test_bad_rows_are_counted_and_shown_and_the_rest_is_measured(quality, container) -> None:
    rows = "prediction,probability,label\n1,0.9,1\n0,0.2,0\n1,high,1\n1,inf,1\n,0.9,1\n1,0.8,\n1,0.8\n1,0.9,2\n"
    assert quality.text(rows, **BINARY) == 0
    assert container.json("statistics.json")["dataset"]["item_count"] == 2
    report = quality.report
    for text in (
        "5 records could not be used", "1 records have no ground truth",
        "line 4 of data.csv: the probability is &#x27;high&#x27;, it must be a finite number",
        "line 6 of data.csv: the prediction is empty", "line 8 of data.csv: 2 cells, the file has 3 columns",
        "the class &#x27;2&#x27; is neither &#x27;1&#x27; nor &#x27;0&#x27;",
    ):  # fmt: skip
        assert text in report, text


def test_one_class_only_leaves_the_areas_undefined_and_says_so(quality, container) -> None:
    header = ["prediction", "probability", "label"]
    quality.table(header, [[1, 0.9, 1], [0, 0.1, 0]], **BINARY)
    against = quality.keep()
    assert quality.table(header, [[0, 0.1, 0], [0, 0.2, 0]], **BINARY, **against) == 0
    block = quality.block("binary_classification")
    assert "auc" not in block
    assert "receiver_operating_characteristic_curve" not in block
    assert "without a value in this run, so not checked: auc" in quality.report
    # Recall and precision of a class that does not occur are zero, as everywhere in this project.
    names = {entry["metric_name"] for entry in container.json("constraint_violations.json")["violations"]}
    assert names == {"recall", "precision", "truePositiveRate", "f0_5", "f1", "f2"}


def test_unlabelled_and_duplicate_records_of_a_merged_file(quality, container) -> None:
    plain = request("x", "1")
    twice = merge_record("a", "1", "1")
    settings = {"problem_type": "BinaryClassification", "inference_attribute": "0"}
    assert quality.merged(plain, twice, twice, "{", json.dumps({"eventMetadata": {}}), **settings) == 0
    # A merged file is taken as it is: the merge is where repeated identifiers are sorted out.
    assert container.json("statistics.json")["dataset"]["item_count"] == 2
    assert "1 records have no ground truth" in quality.report
    assert "2 records could not be used" in quality.report


ERRORS = {
    "no problem type": ({"problem_type": ""}, "the environment variable problem_type is missing"),
    "strange problem type": ({"problem_type": "Ranking"}, "problem_type is 'Ranking': use one of BinaryClassification"),
    "no label attribute": ({"ground_truth_attribute": ""}, "ground_truth_attribute is missing: name the column"),
    "no prediction": ({"inference_attribute": "", "probability_attribute": ""}, "inference_attribute and probability"),
    "unknown column": ({"inference_attribute": "guess"}, "inference_attribute is 'guess', the columns of data.csv are"),
    "unknown index": ({"inference_attribute": "7"}, "inference_attribute is '7', the columns of data.csv are"),
    "threshold": ({"probability_threshold_attribute": "half"}, "threshold_attribute is 'half': give a number"),
    "format": ({"dataset_format": "csv"}, "dataset_format is 'csv': write JSON such as"),
    "unknown format": ({"dataset_format": '{"xml": {}}'}, "dataset_format is 'xml': use one of csv, json"),
    "captured": ({"dataset_format": '{"sagemakerCaptureJson":{}}'}, "which holds no labels: merge the captured data"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_settings_that_allow_no_verdict_are_the_users_error(quality, container, case) -> None:
    changed, expected = ERRORS[case]
    rows = [[1, 0.9, 1], [0, 0.1, 0]]
    assert quality.table(["prediction", "probability", "label"], rows, **{**BINARY, **changed}) == 1
    assert expected in container.message()
    assert "Traceback" not in container.message()


def test_data_that_allows_no_verdict_is_the_users_error(quality, container) -> None:
    assert quality.text("", **BINARY) == 1
    assert container.message().startswith("no data: no row of predictions with labels can be analysed")
    assert quality.text("prediction,probability,label\n", **BINARY) == 1
    assert "the input holds no record" in container.message()
    assert quality.text("prediction,probability,label\n1,x,1\n", **BINARY) == 1
    assert "line 2 of data.csv: the probability is 'x'" in container.message()
    settings = {"problem_type": "BinaryClassification", "inference_attribute": "0"}
    assert quality.merged(request("a"), request("b"), **settings) == 1
    assert "2 records have no ground truth" in container.message()
    assert quality.text("prediction,probability,label\na,0.1,a\nb,0.9,b\n", **BINARY) == 1
    assert container.message() == ("the labels are a, b: name the positive one in the setting positive_label")


def test_constraints_of_another_problem_are_refused(quality, container) -> None:
    header, rows = ["prediction", "probability", "label"], [[1, 0.9, 1], [0, 0.1, 0]]
    against = quality.against({"version": 0.0, "regression_constraints": {}})
    assert quality.table(header, rows, **BINARY, **against) == 1
    assert "a BinaryClassification needs 'binary_classification_constraints'" in container.message()
    wrong = {"binary_classification_constraints": {"auc": {"threshold": "high", "comparison_operator": "Less"}}}
    assert quality.table(header, rows, **BINARY, **quality.against(wrong)) == 1
    assert "the baseline's constraint of 'auc' is" in container.message()

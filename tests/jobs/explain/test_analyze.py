"""The explanation job: model and data in, analysis.json and the drift verdict out, and what it says to bad input."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest

from tests.jobs.analysis.captured import TIME, request
from tests.jobs.conftest import csv_text

IN, OUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
CAPTURE = '{"sagemakerCaptureJson":{"captureIndexNames":["endpointInput"]}}'
HEADER = ["target", "age", "hours", "gain"]
#: A model without scikit-learn: 3 age - 2 hours + age x gain / 10; its second answer, if asked for, is the opposite.
MODEL = """
import numpy as np
def model_fn(folder): return "model"
def input_fn(body, kind): return np.array([[float(c or "nan") for c in row.split(",")] for row in body.splitlines()])
def predict_fn(data, model):
    value = 3 * data[:, 0] - 2 * data[:, 1] + data[:, 0] * data[:, 2] / 10
    return {answer}
"""


class Explain:
    """Baselines and checks of explanations in one container."""

    def __init__(self, container) -> None:
        self.container = container

    def model(self, answer: str = "value", files: dict[str, bytes] | None = None) -> None:
        files = files or {"code/inference.py": MODEL.replace("{answer}", answer).encode()}
        with tarfile.open(self.container.input("model") / "model.tar.gz", "w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))

    def configure(self, shap: dict | None = None, **changed) -> None:
        document = {"dataset_type": "text/csv", "label": "target", "methods": {"shap": shap or {}}, **changed}
        (self.container.input("config") / "analysis_config.json").write_text(json.dumps(document))

    def table(self, rows, header=HEADER, **environment: str) -> int:
        (self.container.input("data") / "data.csv").write_text(csv_text(header, rows))
        return self.container.run("explain.analyze", output_path=OUT, **environment)

    def captured(self, rows, **environment: str) -> int:
        folder = self.container.base / "processing" / "input_data" / "ep" / "AllTraffic" / "2026" / "11" / "20" / "03"
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for number, row in enumerate(rows):
            record = request(f"e{number}")
            record["captureData"]["endpointInput"]["data"] = ",".join(map(str, row))
            lines.append(json.dumps(record))
        (folder / "f.jsonl").write_text("\n".join(lines))
        settings = {"dataset_source": "/opt/ml/processing/input_data", "dataset_format": CAPTURE, "output_path": OUT}
        return self.container.run("explain.analyze", **{**settings, **environment})

    def keep(self) -> dict[str, str]:
        folder = self.container.input("baseline")
        for name in ("analysis.json", "explanation.json"):
            (folder / name).write_text(json.dumps(self.container.json(name)))
        return {"baseline_constraints": f"{IN}/baseline/analysis.json"}

    @property
    def labels(self) -> dict:
        return self.container.json("analysis.json")["explanations"]["kernel_shap"]

    @property
    def report(self) -> str:
        return (self.container.output("") / "report.html").read_text()


@pytest.fixture
def explain(container) -> Explain:
    made = Explain(container)
    made.model()
    made.configure({"baseline": [[0, 0, 0]]})
    return made


def rows(count: int = 60, age: float = 10.0, hours: float = 1.0, gain: float = 0.0) -> list[list[float]]:
    random = np.random.default_rng(3)
    features = np.round(random.normal(size=(count, 3)) * [age, hours, gain], 3)
    return [[0, *row] for row in features.tolist()]


def test_a_baseline_is_an_analysis_json_like_clarifys(explain, container) -> None:
    table = rows()
    assert explain.table(table) == 0, container.message()
    analysis = container.json("analysis.json")
    assert (list(analysis), analysis["version"]) == (["version", "explanations"], "1.0")
    (label,) = explain.labels
    assert label == "label0"
    data = np.array(table)[:, 1:]
    # Without gain the model is linear: an attribution is the coefficient times the distance from the background.
    assert explain.labels[label]["global_shap_values"] == pytest.approx(
        {"age": np.abs(3 * data[:, 0]).mean(), "hours": np.abs(2 * data[:, 1]).mean(), "gain": 0.0}, abs=1e-9
    )
    assert explain.labels[label]["expected_value"] == 0.0
    how = container.json("explanation.json")
    assert (how["algorithm"], how["rows"], how["rows_explained"], how["aggregation"]) == ("kernel", 60, 60, "mean_abs")
    assert container.message() == "Completed: Job completed successfully with no violations."
    assert "Baseline made" in explain.report


def test_captured_data_with_the_same_and_with_another_ranking(explain, container) -> None:
    explain.table(rows())
    against = explain.keep()
    explain.configure({"baseline": [[0, 0, 0]]}, headers=HEADER)
    assert explain.captured([row[1:] for row in rows(age=9)], **against) == 0, container.message()
    assert container.json("constraint_violations.json") == {"version": "1.0", "violations": []}
    published = {"publish_cloudwatch_metrics": "Enabled", "metric_time": TIME, "sagemaker_endpoint_name": "ep"}
    assert explain.captured([row[1:] for row in rows(age=0.1, hours=10)], **against, **published) == 0
    score = container.json("explanation.json")["ndcg"]["label0"]
    assert score < 0.9
    assert container.json("constraint_violations.json")["violations"] == [{
        "label": "label0", "metric_name": "shap", "constraint_check_type": "feature_attribution_drift_check",
        "description": f"Feature attribution drift {score} exceeds threshold 0.9",
    }]  # fmt: skip
    assert container.message() == "CompletedWithViolations: Job completed successfully with 1 violations."
    assert "rest on other features" in explain.report
    path = container.base / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl"
    metrics = {entry["MetricName"]: entry for entry in map(json.loads, path.read_text().splitlines())}
    assert set(metrics) == {"feature_age", "feature_hours", "feature_gain", "ExpectedValue"}
    assert {entry["Name"]: entry["Value"] for entry in metrics["feature_age"]["Dimensions"]} == {
        "Endpoint": "ep", "ExplainabilityMethod": "KernelShap", "Label": "label0", "ValueType": "GlobalShapValues",
    }  # fmt: skip


def test_several_outputs_names_aggregation_and_local_values(explain, container) -> None:
    explain.model("np.stack([value, -value], axis=1)")
    shap = {"baseline": [[0, 0, 0]], "agg_method": "mean_sq", "save_local_shap_values": True, "max_rows": 20}
    explain.configure(shap, predictor={"label_headers": ["yes", "no"]})
    assert explain.table(rows()) == 0, container.message()
    assert list(explain.labels) == ["yes", "no"]
    assert explain.labels["yes"]["global_shap_values"] == pytest.approx(explain.labels["no"]["global_shap_values"])
    assert container.json("explanation.json")["rows_explained"] == 20
    lines = container.rows("explanations_shap/out.csv")
    assert lines[0] == ["age_label0", "hours_label0", "gain_label0", "age_label1", "hours_label1", "gain_label1"]
    assert len(lines) == 21
    assert "20 of 60 rows explained" in explain.report


def test_a_label_that_one_side_lacks_is_told(explain, container) -> None:
    explain.model("np.stack([value, -value], axis=1)")
    explain.table(rows())
    against = explain.keep()
    explain.model()
    assert explain.table(rows(), **against) == 0
    assert container.json("constraint_violations.json")["violations"] == []
    assert "No violations, but not everything could be compared" in explain.report
    assert "the label label1 is in the baseline only: not compared" in explain.report


def test_without_a_background_the_means_of_the_data_stand_for_it(explain, container) -> None:
    explain.configure({"agg_method": "median"})
    table = rows(gain=4)
    assert explain.table(table) == 0, container.message()
    age, hours, gain = np.array(table)[:, 1:].mean(axis=0)
    assert explain.labels["label0"]["expected_value"] == pytest.approx(3 * age - 2 * hours + age * gain / 10)


def test_bad_rows_are_counted_and_the_rest_is_explained(explain, container) -> None:
    assert explain.table([*rows(), [0, "old", 1, 2], [0, 1, 2], [0, 1, "", 0]]) == 1
    # An empty cell is a missing value, which this model cannot take: its answer is no number.
    assert "no finite numbers" in container.message()
    assert explain.table([*rows(), [0, "old", 1, 2], [0, 1, 2]]) == 0
    assert "60 rows analysed, of 62 records" in explain.report
    assert "the feature &#x27;age&#x27; is &#x27;old&#x27;, it must be a finite number" in explain.report


def test_a_model_of_xgboost_is_explained_by_its_trees(explain, container, tmp_path) -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed here")
    random = np.random.default_rng(1)
    data = random.normal(size=(300, 3))
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(data, data[:, 1] > 0), 5)
    booster.save_model(tmp_path / "m.ubj")
    explain.model(files={"xgboost-model": (tmp_path / "m.ubj").read_bytes()})
    explain.configure({})
    assert explain.table([[0, *row] for row in data.tolist()]) == 0, container.message()
    values = explain.labels["label0"]["global_shap_values"]
    assert max(values, key=values.get) == "hours"
    assert container.json("explanation.json")["unit"] == "margin"
    against = explain.keep()
    explain.configure({"algorithm": "kernel", "baseline": [[0, 0, 0]], "max_rows": 5})
    assert explain.table(rows(), **against) == 1
    assert container.message().startswith("the baseline was explained with algorithm 'tree', this run with 'kernel'")


ERRORS = {
    "no shap": ({"methods": {}}, "methods.shap is missing"),
    "aggregation": ({"shap": {"agg_method": "sum"}}, "methods.shap.agg_method is 'sum': use one of mean_abs"),
    "algorithm": ({"shap": {"algorithm": "deep"}}, "methods.shap.algorithm is 'deep'"),
    "trees of another model": ({"shap": {"algorithm": "tree"}}, "methods.shap.algorithm is 'tree', the model is a"),
    "samples": ({"shap": {"num_samples": 0}}, "methods.shap.num_samples is 0: give a whole number of at least 1"),
    "background from S3": ({"shap": {"baseline": "s3://b/k"}}, "methods.shap.baseline is 's3://b/k': write its rows"),
    "background of text": ({"shap": {"baseline": [["a", 0, 0]]}}, "holds a row that is none of numbers"),
    "background too short": ({"shap": {"baseline": [[0]]}}, "has 1 values, the data has 3 features"),
    "nothing left": ({"excluded_columns": ["age", "hours", "gain"]}, "no column is left to explain"),
    "logit of no probability": (
        {"shap": {"use_logit": True, "baseline": [[0, 0, 0]]}},
        "use_logit needs answers between 0 and 1",
    ),
    "dataset type": ({"dataset_type": "application/x-image"}, "dataset_type is 'application/x-image': use one of"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_settings_that_allow_no_verdict_are_the_users_error(explain, container, case) -> None:
    changed, expected = ERRORS[case]
    explain.configure(changed.get("shap"), **{key: value for key, value in changed.items() if key != "shap"})
    assert explain.table(rows()) == 1
    assert expected in container.message()
    assert "failed:" not in container.message()


def test_inputs_that_allow_no_verdict_are_the_users_error(explain, container) -> None:
    assert explain.table([]) == 1
    assert container.message().startswith("no data: no row of model inputs can be analysed")
    (container.input("baseline") / "c.json").write_text('{"post_training_bias_metrics": {}}')
    against = {"baseline_constraints": f"{IN}/baseline/c.json"}
    assert explain.table(rows(), **against) == 1
    assert "the baseline's constraints hold no explanations.kernel_shap" in container.message()
    values = {"explanations": {"kernel_shap": {"other": {"global_shap_values": {"age": 1.0}}}}}
    (container.input("baseline") / "c.json").write_text(json.dumps(values))
    assert explain.table(rows(), **against) == 1
    assert "the baseline explains other, this run label0" in container.message()
    (container.input("model") / "model.tar.gz").unlink()
    assert explain.table(rows()) == 1
    assert container.message().startswith("the model artifact is missing")

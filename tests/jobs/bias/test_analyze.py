"""The bias job: configuration in, analysis.json and violations out, and what it says to bad input."""

from __future__ import annotations

import json

import pytest

from sagewind.jobs.bias import drift
from sagewind.jobs.bias.columns import CodedColumn, select
from tests.jobs.analysis.captured import TIME, label, request
from tests.jobs.conftest import csv_text

IN, OUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
HEADER = ["target", "predicted", "sex", "age", "dept"]
CONFIG = {
    "dataset_type": "text/csv",
    "label": "target",
    "label_values_or_threshold": [1],
    "facet": [{"name_or_index": "sex", "value_or_threshold": ["F"]}],
    "group_variable": "dept",
    "predicted_label": "predicted",
}
MERGED = '{"sagemakerMergeJson":{"captureIndexNames":["endpointInput","endpointOutput"]}}'


def rows(count: int = 80, harm: int = 0) -> list[list]:
    """People; of every twenty women `harm` are refused although they would not have been."""
    table = []
    for i in range(count):
        sex, truth = "MF"[i % 2], int(i % 4 < 2)
        guess = 0 if sex == "F" and i % 20 < harm else truth
        table.append([truth, guess, sex, 20 + i % 50, "xyz"[i % 3]])
    return table


class Bias:
    """Baselines and checks of bias in one container."""

    def __init__(self, container) -> None:
        self.container = container

    def configure(self, **changed) -> None:
        document = {key: value for key, value in {**CONFIG, **changed}.items() if value is not None}
        (self.container.input("config") / "analysis_config.json").write_text(json.dumps(document))

    def table(self, table, header=HEADER, **environment: str) -> int:
        (self.container.input("data") / "data.csv").write_text(csv_text(header, table))
        return self.container.run("bias.analyze", output_path=OUT, **environment)

    def merged(self, records, **environment: str) -> int:
        folder = self.container.base / "processing" / "input_data" / "ep" / "AllTraffic" / "2026" / "11" / "20" / "03"
        folder.mkdir(parents=True, exist_ok=True)
        texts = [record if isinstance(record, str) else json.dumps(record) for record in records]
        (folder / "part.jsonl").write_text("".join(text + "\n" for text in texts))
        settings = {"dataset_source": "/opt/ml/processing/input_data", "dataset_format": MERGED, "output_path": OUT}
        return self.container.run("bias.analyze", **{**settings, **environment})

    def keep(self) -> dict[str, str]:
        folder = self.container.input("baseline")
        (folder / "analysis.json").write_text(json.dumps(self.container.json("analysis.json")))
        return {"baseline_constraints": f"{IN}/baseline/analysis.json"}

    def values(self, stage: str = "post_training", facet: str = "sex") -> dict:
        (group,) = self.container.json("analysis.json")[f"{stage}_bias_metrics"]["facets"][facet]
        return {metric["name"]: metric["value"] for metric in group["metrics"]}

    @property
    def violations(self) -> list[dict]:
        return self.container.json("constraint_violations.json")["violations"]

    @property
    def report(self) -> str:
        return (self.container.output("") / "report.html").read_text()


@pytest.fixture
def bias(container) -> Bias:
    made = Bias(container)
    made.configure()
    return made


def as_records(table) -> list[dict]:
    """The table as merged captured data: sex, age and dept went in, a prediction came out."""
    found = []
    for number, (truth, guess, *features) in enumerate(table):
        record = {**request(f"e{number}", str(guess)), "groundTruthData": label("x", str(truth))["groundTruthData"]}
        record["captureData"]["endpointInput"]["data"] = ",".join(map(str, features))
        found.append(record)
    return found


def test_a_baseline_is_an_analysis_json_like_clarifys(bias, container) -> None:
    assert bias.table(rows()) == 0
    analysis = container.json("analysis.json")
    assert list(analysis) == ["version", "pre_training_bias_metrics", "post_training_bias_metrics"]
    assert analysis["version"] == "1.0"
    block = analysis["pre_training_bias_metrics"]
    assert (block["label"], block["label_value_or_threshold"]) == ("target", "1")
    (group,) = block["facets"]["sex"]
    assert group["value_or_threshold"] == "F"
    assert [metric["name"] for metric in group["metrics"]] == ["CDDL", "CI", "DPL", "JS", "KL", "KS", "LP", "TVD"]
    assert group["metrics"][1] == {"name": "CI", "description": "Class Imbalance (CI)", "value": 0.0}
    assert bias.values()["AD"] == 0.0
    assert not (container.output("") / "constraint_violations.json").exists()
    assert container.message() == "Completed: Job completed successfully with no violations."
    assert "Baseline made" in bias.report


def test_merged_data_that_is_less_balanced_violates_the_baseline(bias, container) -> None:
    bias.table(rows())
    against = bias.keep()
    bias.configure(headers=["target", "sex", "age", "dept"], predicted_label=None)
    attributes = {"inference_attribute": "0"}
    assert bias.merged(as_records(rows()), **attributes, **against) == 0
    assert bias.violations == []
    published = {
        "publish_cloudwatch_metrics": "Enabled", "metric_time": TIME, "sagemaker_endpoint_name": "ep",
        "sagemaker_monitoring_schedule_name": "sched",
    }  # fmt: skip
    assert bias.merged(as_records(rows(harm=10)), **attributes, **against, **published) == 0
    found = {entry["metric_name"]: entry for entry in bias.violations}
    value = bias.values()["DPPL"]
    assert found["DPPL"] == {
        "facet": "sex", "facet_value": "F", "metric_name": "DPPL", "constraint_check_type": "bias_drift_check",
        "description": f"Metric value {value} doesn't meet the baseline constraint requirement 0.0",
    }  # fmt: skip
    assert {"DPPL", "DI", "RD", "AD"} <= set(found)
    assert "CI" not in found
    assert container.message().startswith(f"CompletedWithViolations: Job completed successfully with {len(found)} ")
    assert "farther from balance than in the baseline" in bias.report
    path = container.base / "output" / "metrics" / "cloudwatch" / "cloudwatch_metrics.jsonl"
    metrics = {entry["MetricName"]: entry for entry in map(json.loads, path.read_text().splitlines())}
    assert metrics["bias_metric_DPPL"]["Dimensions"] == [
        {"Name": name, "Value": text}
        for name, text in (
            ("Endpoint", "ep"), ("MonitoringSchedule", "sched"), ("BiasStage", "Post-Training"), ("Label", "target"),
            ("LabelValue", "1"), ("Facet", "sex"), ("FacetValue", "F"),
        )
    ]  # fmt: skip


def test_the_same_rows_as_table_and_as_merged_data_give_the_same(bias, container) -> None:
    table = rows(harm=6)
    bias.configure(facet=[{"name_or_index": "age", "value_or_threshold": [40]}])
    bias.table(table)
    first = container.json("analysis.json")
    bias.configure(
        facet=[{"name_or_index": "age", "value_or_threshold": [40]}], headers=["target", "sex", "age", "dept"]
    )
    bias.merged(as_records(table), inference_attribute="0")
    assert container.json("analysis.json") == first
    assert first["pre_training_bias_metrics"]["facets"]["age"][0]["value_or_threshold"] == "(40, 69]"


def test_a_threshold_is_found_again_though_the_maximum_changed() -> None:
    def analysis(text: str, value: float) -> dict:
        group = {"value_or_threshold": text, "metrics": [{"name": "CI", "value": value}]}
        return {"pre_training_bias_metrics": {"facets": {"age": [group]}}}

    found, unchecked = drift.check(analysis("(40, 69]", 0.1), analysis("(40, 90]", -0.2), {"age": "40"})
    assert [(violation.facet_value, violation.description) for violation in found] == [
        ("40", "Metric value -0.2 doesn't meet the baseline constraint requirement 0.1")
    ]
    assert unchecked == []


def test_a_small_check_takes_values_as_its_large_baseline_did(bias, container) -> None:
    """Five ages among 200 rows are categories (Clarify's 5 %); five among six would be quantities."""
    bias.configure(facet=[{"name_or_index": "age", "value_or_threshold": [22]}])
    bias.table([[i % 2, i % 2, "F", 20 + i % 5, "x"] for i in range(200)])
    against = bias.keep()
    bias.table([[i % 2, i % 2, "F", 20 + i % 5, "x"] for i in range(6)], **against)
    groups = container.json("analysis.json")["pre_training_bias_metrics"]["facets"]["age"]
    assert groups[0]["value_or_threshold"] == "22"


@pytest.mark.parametrize(
    ("metric", "before", "now", "worse"),
    [
        ("DPPL", 0.2, 0.1, False), ("DPPL", 0.2, -0.3, True), ("DPPL", 0.2, -0.2, False),  # the guide's example
        ("DI", 0.7, 1.0, False), ("DI", 0.7, 0.2, True), ("DI", 0.8, 1.5, True), ("DI", 0.5, 2.0, False),
        ("TE", "Infinity", 3.0, False), ("TE", 3.0, "-Infinity", True), ("TE", "Infinity", "Infinity", False),
    ],
)  # fmt: skip
def test_worse_is_farther_from_balance(metric, before, now, worse) -> None:
    def analysis(value) -> dict:
        group = {"value_or_threshold": "1", "metrics": [{"name": metric, "value": value}]}
        return {"post_training_bias_metrics": {"facets": {"f": [group]}}}

    assert bool(drift.check(analysis(before), analysis(now), {})[0]) is worse


def test_without_values_every_category_is_a_group_and_probabilities_make_predictions(bias, container) -> None:
    bias.configure(facet=[{"name_or_index": 4}], predicted_label=None, group_variable=None)
    table = [[truth, 0.9 if guess else 0.5, *rest] for truth, guess, *rest in rows()]
    assert bias.table(table, probability_attribute="predicted") == 0, container.message()
    groups = container.json("analysis.json")["post_training_bias_metrics"]["facets"]["dept"]
    assert [group["value_or_threshold"] for group in groups] == ["x", "y", "z"]
    entries = {entry["name"]: entry for entry in groups[0]["metrics"]}
    assert entries["AD"]["value"] == 0.0  # 0.5 is not above the threshold
    assert "no group variable" in entries["CDDPL"]["error"]
    assert "features that are all numbers" in entries["FT"]["error"]  # sex is text


def test_json_lines_in_the_guides_layout(bias, container) -> None:
    lines = [
        {"features": [0, 0.58], "label": 0, "guess": 0}, {"features": [1, 0.67], "label": 1, "guess": 1},
        {"features": [0, 0.04], "label": 1, "guess": 0}, {"features": [1, 0.47], "label": 1, "guess": 1},
    ]  # fmt: skip
    bias.configure(
        dataset_type="application/jsonlines", headers=["a", "b", "target"], label="label", features="features",
        predicted_label="guess", facet=[{"name_or_index": "a", "value_or_threshold": [1]}], group_variable=None,
    )  # fmt: skip
    (container.input("data") / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert container.run("bias.analyze", output_path=OUT) == 0, container.message()
    assert container.json("analysis.json")["pre_training_bias_metrics"]["label"] == "target"
    assert bias.values("pre_training", "a")["DPL"] == -0.5
    assert bias.values("post_training", "a")["DPPL"] == -1.0


def test_chosen_methods_only(bias, container) -> None:
    bias.configure(
        methods={"pre_training_bias": {"methods": ["CI", "DPL"]}, "post_training_bias": {"methods": ["DCAcc"]}}
    )
    assert bias.table(rows()) == 0
    assert list(bias.values("pre_training")) == ["CI", "DPL"]
    assert list(bias.values()) == ["DCA"]


def test_captured_data_without_labels_gives_what_needs_none(bias, container) -> None:
    bias.configure(headers=["target", "sex", "age", "dept"])
    records = [{key: value for key, value in r.items() if key != "groundTruthData"} for r in as_records(rows(harm=6))]
    assert bias.merged(records, dataset_format='{"sagemakerCaptureJson":{}}', inference_attribute="0") == 0
    measured = bias.values()
    assert measured["DPPL"] == pytest.approx(0.2)
    assert measured["AD"] is None
    assert "there is no ground truth" in bias.report


def test_bad_rows_are_counted_and_the_rest_is_measured(bias, container) -> None:
    table = [*rows(), ["", 1, "F", 30, "x"], [1, "", "F", 30, "x"], [1, 1, "", 30, "x"], [1, 1, "F"]]
    assert bias.table(table) == 0
    report = bias.report
    assert "81 rows analysed, of 84 records" in report
    for text in ("the label is empty", "the predicted label is empty", "3 cells, the file has 5 columns"):
        assert text in report
    assert "1 rows have no sex: they are left out of its metrics" in report


def test_a_window_of_one_class_or_one_group_is_told_not_failed(bias, container) -> None:
    bias.table(rows())
    against = bias.keep()
    assert bias.table([[0, 0, "F", 30, "x"]] * 5 + [[0, 0, "M", 30, "x"]] * 5, **against) == 0
    assert "no row has the positive outcome 1: the labels hold 0" in bias.report
    assert bias.table([[0, 1, "F", 30, "x"]] * 5 + [[0, 0, "M", 30, "x"]] * 5, **against) == 0
    assert bias.values()["DPPL"] == -1.0
    assert bias.table([[1, 1, "M", 30, "x"], [0, 0, "M", 31, "x"]], **against) == 0
    assert bias.violations == []
    assert bias.values()["AD"] is None
    assert "No violations, but not everything could be checked" in bias.report


ERRORS = {
    "no facet": ({"facet": None}, {}, "facet is missing: list the sensitive columns"),
    "facet without name": ({"facet": [{}]}, {}, "has no name_or_index"),
    "unknown facet": ({"facet": [{"name_or_index": "colour"}]}, {}, "facet is 'colour', the data's feature columns"),
    "no positive value": ({"label_values_or_threshold": None}, {}, "label_values_or_threshold is missing"),
    "value that never occurs": ({"label_values_or_threshold": ["yes"]}, {}, "the label 'target' has no row with yes"),
    "group that never occurs": (
        {"facet": [{"name_or_index": "sex", "value_or_threshold": ["X"]}]}, {}, "the facet 'sex' has no row with X",
    ),
    "number without threshold": ({"facet": [{"name_or_index": "age"}]}, {}, "the facet 'age' holds numbers: give"),
    "text as threshold": (
        {"facet": [{"name_or_index": "age", "value_or_threshold": ["old"]}]}, {}, "give a number as its threshold",
    ),
    "unknown label": ({"label": "truth"}, {}, "ground_truth_attribute is 'truth', the columns of data.csv are"),
    "unknown metric": ({"methods": {"pre_training_bias": {"methods": ["XX"]}}}, {}, "asks for 'XX': use all, or some"),
    "no predictions": (
        {"predicted_label": None, "methods": {"post_training_bias": {"methods": "all"}}}, {},
        "post-training bias needs predictions",
    ),
    "dataset type": ({"dataset_type": "image"}, {}, "dataset_type is 'image': use one of text/csv"),
    "group variable": ({"group_variable": "team"}, {}, "group_variable is 'team', the data's feature columns"),
    "threshold": ({"probability_threshold": "0.5"}, {}, "probability_threshold is '0.5': give a number"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_settings_that_allow_no_verdict_are_the_users_error(bias, container, case) -> None:
    changed, environment, expected = ERRORS[case]
    bias.configure(**changed)
    assert bias.table(rows(), **environment) == 1
    assert expected in container.message()
    assert "failed:" not in container.message()


def test_inputs_that_allow_no_verdict_are_the_users_error(bias, container) -> None:
    assert bias.table([]) == 1
    assert container.message().startswith("no data: no row of labelled records can be analysed")
    assert bias.merged([request("a"), "{"], inference_attribute="0") == 1
    assert "1 records have no ground truth; 1 records could not be used" in container.message()
    (container.input("baseline") / "c.json").write_text('{"pre_training_bias_metrics": {"facets": {"sex": [{}]}}}')
    assert bias.table(rows(), baseline_constraints=f"{IN}/baseline/c.json") == 1
    assert "the baseline's constraints are no analysis.json" in container.message()
    (container.input("config") / "analysis_config.json").unlink()
    assert bias.table(rows()) == 1
    assert "(the analysis configuration): give the job the input that holds it" in container.message()


def column(*cells) -> CodedColumn:
    made = CodedColumn("c")
    for cell in cells:
        made.add(cell)
    return made


@pytest.mark.parametrize(
    ("cells", "given", "expected", "text"),
    [
        ([0, 1, 1, None], [1], [0, 1, 1, 0], "1"),  # two values: a category, though half of them are distinct
        (["0", "1", "1.0"], [1.0], [0, 1, 1], "1"),  # one value, three spellings
        ([1.5, 2.5, 3.5], [2], [0, 1, 1], "(2.0, 3.5]"),
        ([1, 2, 3, 4], [2], [0, 0, 1, 1], "(2, 4]"),
        ([1, 2, 3, 4], [2, 3], [0, 1, 1, 0], "2,3"),  # several values are categories
        ([1, 2, 3] * 30, [2], [0, 1, 0] * 30, "2"),  # 3 of 90 are fewer than 5 %
        (["a", "b", ""], ["b"], [0, 1, 0], "b"),
        ([True, False], [True], [1, 0], "True"),
        ([30, 50], [40], [0, 1], "(40, 50]"),
    ],
)
def test_values_and_thresholds(cells, given, expected, text) -> None:
    selected = select(column(*cells), given, "the facet")
    assert (selected.rows.astype(int).tolist(), selected.text) == (expected, text)

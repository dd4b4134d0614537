"""Merge and check in one job: labels of every kind of problem, the window, and what is no verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sagewind.jobs import quality_constraints as constraints
from tests.jobs.analysis.captured import label, request
from tests.jobs.quality.test_merge import Merge

PREFIX = "sagewind-verify"
IN = "/opt/ml/processing/input"
#: A perfect classifier's constraints.
PERFECT = {name: {"threshold": 0.0 if "false" in name else 1.0, "comparison_operator": operator}
           for name, operator in constraints.OPERATORS["BinaryClassification"].items()}  # fmt: skip
GOOD = {"e1": ("0.9", "yes"), "e2": ("0.2", "no"), "e3": ("0.5", "yes"), "e4": ("0.1", "no")}


class Labelled(Merge):
    """One job of merge and check."""

    def baseline(self, limits: dict[str, Any], classes: list[str], kind: str = "binary_classification") -> None:
        folder = self.container.input("baseline")
        (folder / "constraints.json").write_text(json.dumps({f"{kind}_constraints": limits}))
        (folder / "evaluation.json").write_text(json.dumps({"classes": classes, "threshold": 0.5}))

    def run(self, problem: str = "BinaryClassification", **environment: str) -> int:
        return self.container.run(
            "quality.labelled",
            dataset_source="/opt/ml/processing/input_data",
            ground_truth_source="/opt/ml/processing/groundtruth",
            problem_type=problem,
            baseline_statistics=f"{IN}/baseline/evaluation.json",
            baseline_constraints=f"{IN}/baseline/constraints.json",
            output_path="/opt/ml/processing/output",
            excluded_inference_id_prefix=PREFIX,
            **environment,
        )

    def rows(self, rows: dict[str, tuple[str, str]]) -> None:
        self.captured(*(request(event, score) for event, (score, _) in rows.items()))
        self.truth(*(label(event, truth) for event, (_, truth) in rows.items()))

    def values(self, kind: str = "binary_classification") -> dict[str, float]:
        block = self.container.json("statistics.json")[f"{kind}_metrics"]
        return {name: entry["value"] for name, entry in block.items() if "value" in entry}

    @property
    def violated(self) -> set[str]:
        return {entry["metric_name"] for entry in self.container.json("constraint_violations.json")["violations"]}


@pytest.fixture
def job(container) -> Labelled:
    made = Labelled(container)
    made.baseline(PERFECT, ["no", "yes"])
    return made


def test_right_predictions_are_ok_and_the_threshold_itself_is_positive(job) -> None:
    job.rows(GOOD)
    assert job.run() == 0
    assert job.violated == set()
    assert job.values()["accuracy"] == 1.0
    assert job.container.message() == "Completed: Job completed successfully with no violations."
    assert job.counts == {"merged_requests": 4, "requests": 4, "labels": 4, "labelled_identifiers": 4}
    assert len(job.merged) == 4
    page = (job.container.output("") / "report.html").read_text()
    assert "No violations" in page
    assert "4 of 4 captured requests have a label" in page


def test_flipped_labels_violate_and_the_metrics_are_named(job) -> None:
    job.rows({event: (score, "no" if truth == "yes" else "yes") for event, (score, truth) in GOOD.items()})
    assert job.run() == 0
    assert {"auc", "accuracy", "recall", "precision", "falsePositiveRate"} <= job.violated
    assert job.container.message().startswith("CompletedWithViolations: ")


def test_the_tolerance_is_an_allowance_in_the_metrics_unit(job) -> None:
    job.rows({**GOOD, "e5": ("0.8", "no")})
    assert job.run(constraint_tolerance="0.21") == 0
    assert job.violated == {"precision", "f0_5", "trueNegativeRate", "falsePositiveRate"}
    job.run(constraint_tolerance="0.5")
    assert job.violated == set()


def test_a_threshold_of_the_environment_goes_before_the_evaluations(job) -> None:
    job.rows(GOOD)
    assert job.run(probability_threshold_attribute="0.6") == 0
    assert job.violated >= {"recall", "falseNegativeRate"}


def test_requests_of_the_verification_and_outside_the_window_do_not_count(job) -> None:
    job.rows(GOOD)
    job.captured(request("v", "0.1", inference=f"{PREFIX}-1"), request("old", "0.1", time="2026-11-19T00:00:00Z"))
    job.truth(label(f"{PREFIX}-1", "yes"), label("old", "yes"))
    assert job.run(start_time="2026-11-20T00:00:00+00:00", end_time="2026-11-21T00:00:00+00:00") == 0
    assert job.violated == set()
    assert (job.counts["requests_excluded"], job.counts["requests_outside_window"]) == (1, 1)


def test_no_label_is_no_verdict_and_no_failure(job) -> None:
    job.captured(request("e1"))
    job.truth(label("another"))
    assert job.run() == 0
    assert "merged_requests" not in job.counts
    assert not (job.container.output("") / "constraint_violations.json").exists()
    assert job.container.message() == "Completed: 0 of 1 captured requests merged with their label, 1 have none yet."


def test_one_class_alone_is_not_blamed_for_the_rates_of_the_other(job) -> None:
    job.rows({event: row for event, row in GOOD.items() if row[1] == "no"})
    assert job.run() == 0
    assert job.violated == set()
    unchecked = job.container.json("merge.json")["constraints_not_checked"]
    assert set(unchecked) == {"auc", *constraints.OF_POSITIVES}


def test_labels_that_are_no_class_are_left_out_and_alone_they_are_an_error(job) -> None:
    job.rows({**GOOD, "e5": ("0.9", "1")})
    assert job.run() == 0
    page = (job.container.output("") / "report.html").read_text()
    assert "the label &#x27;1&#x27; is none of the model" in page or "the label '1' is none of the model" in page
    job.truth(*(label(event, "1") for event in GOOD), hour="2026/11/22/00")
    assert job.run() == 1
    assert "no data: no row of predictions with labels can be analysed" in job.container.message()


def test_classes_of_several_go_by_their_names(job) -> None:
    job.baseline({"accuracy": {"threshold": 1.0, "comparison_operator": "LessThanThreshold"}}, ["bird", "cat", "dog"],
                 "multiclass_classification")  # fmt: skip
    job.rows({"a": ("0.1,0.2,0.7", "dog"), "b": ("[0.8, 0.1, 0.1]", "bird"), "c": ("0.1,0.8,0.1", "cow")})
    assert job.run("MulticlassClassification") == 0
    assert job.values("multiclass_classification")["accuracy"] == pytest.approx(2 / 3)  # a new class is a wrong answer
    assert job.violated == {"accuracy"}
    job.truth(label("a", "2"), label("b", "0"), label("c", "1"), hour="2026/11/22/00")
    assert job.run("MulticlassClassification") == 1
    assert "no label is one of the model's classes (bird, cat, dog)" in job.container.message()


def test_errors_of_a_regression_take_the_tolerance_as_a_share(job) -> None:
    job.baseline({"mae": {"threshold": 10.0, "comparison_operator": "GreaterThanThreshold"}}, [], "regression")
    job.rows({"a": ("100", "111"), "b": ("50", "39")})
    assert job.run("Regression", constraint_tolerance="0.05") == 0
    assert job.violated == {"mae"}
    assert job.run("Regression", constraint_tolerance="0.2") == 0
    assert job.violated == set()


def test_a_mini_batch_in_one_line_or_in_json(job) -> None:
    answers = {"a": "0.9,0.2", "b": "0.9\n0.2\n"}
    job.captured(*(request(event, answer) for event, answer in answers.items()))
    job.truth(*(label(event, "yes\nno") for event in answers))
    assert job.run() == 0
    assert job.container.json("statistics.json")["dataset"]["item_count"] == 4
    assert job.violated == set()


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"constraint_tolerance": "much"}, "constraint_tolerance is 'much': give a number such as 0"),
        ({"problem_type": "Clustering"}, "problem_type is 'Clustering': use one of"),
    ],
)
def test_settings_that_allow_no_verdict_are_the_users_error(job, environment, says) -> None:
    job.rows(GOOD)
    problem = environment.pop("problem_type", "BinaryClassification")
    assert job.run(problem, **environment) == 1
    assert job.container.message().startswith(says)


def test_a_baseline_without_classes_is_refused(job) -> None:
    job.rows(GOOD)
    (job.container.input("baseline") / "evaluation.json").write_text("{}")
    assert job.run() == 1
    assert job.container.message().startswith(
        "the baseline's evaluation holds None as classes: give the evaluation.json of"
    )


def test_labels_that_nobody_can_read_are_no_lack_of_labels(job) -> None:
    job.captured(request("a", "0.9"), request("b", "0.1"))
    job.truth({"id": "a", "label": "yes"}, {"id": "b", "label": "no"})
    assert job.run() == 1
    message = job.container.message()
    assert message.startswith("none of the 2 label lines can be read (")
    assert "'eventMetadata' is missing): write lines like {" in message


def test_what_could_not_be_used_is_part_of_the_verdict(job) -> None:
    job.captured(*(request(event, score) for event, (score, _) in GOOD.items()), request("e5", "0.9"))
    job.truth(*(label(event, truth) for event, (_, truth) in GOOD.items()), label("e5", "YES"))
    assert job.run() == 0
    assert job.counts["unusable_records"] == 1
    page = (job.container.output("") / "report.html").read_text()
    assert "No violations, but not every record could be used" in page
    assert "4 predictions checked. 1 other record could not be used." in page


def test_a_metric_that_is_not_defined_is_shown_as_not_checked(job) -> None:
    job.captured(request("a", "0.1"), request("b", "0.2"))
    job.truth(label("a", "no"), label("b", "no"))
    assert job.run() == 0
    page = (job.container.output("") / "report.html").read_text()
    rows = {row.split("</td>")[0].rsplit(">", 1)[-1]: row for row in page.split("<tr>") if "</td>" in row}
    for metric in ("recall", "f1", "auc"):
        assert "not checked" in rows[metric], metric
        assert "within the limit" not in rows[metric]
    assert "within the limit" in rows["accuracy"]

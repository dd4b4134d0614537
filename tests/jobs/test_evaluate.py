from __future__ import annotations

import io
import json
import re
import sys
import tarfile

import numpy as np
import pytest

from sagewind.facts import metrics as facts
from sagewind.jobs import importance, quality_statistics, scoring
from sagewind.jobs.job import UserError

#: A model without scikit-learn: what it says is the first feature.
FIRST_FEATURE = """
import numpy as np
def model_fn(folder): return "model"
def input_fn(body, kind): return np.array([[float(c or "nan") for c in row.split(",")] for row in body.splitlines()])
def predict_fn(data, model): return {score}
"""


def archive(container, files: dict[str, str | bytes]) -> None:
    with tarfile.open(container.input("model") / "model.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def script(container, score: str = "data[:, 0]") -> None:
    archive(container, {"code/inference.py": FIRST_FEATURE.replace("{score}", score)})


def give(container, problem: str, classes: list[str], rows, **job) -> None:
    """Inputs of an evaluation except the artifact: label and features of every row."""
    container.configure(problem=problem, **job)
    (container.input("test") / "test.csv").write_text("".join(",".join(map(repr, row)) + "\n" for row in rows))
    features = [
        {"name": f"f{index}", "kind": "numeric", "source": f"f{index}", "categories": None}
        for index in range(len(rows[0]) - 1)
    ]
    schema = {"version": 1, "target": "target", "problem": problem, "classes": classes, "features": features}
    labels = [row[0] for row in rows]
    balance = (
        {"classes": {name: labels.count(code) for code, name in enumerate(classes)}}
        if classes
        else {"min": min(labels), "mean": sum(labels) / len(labels), "max": max(labels)}
    )
    summary = {
        "rows": {"in": len(rows), "out": len(rows), "removed": {"the label is missing": 0}},
        "duplicates": 0,
        "columns": {"f0": {"kind": "numeric", "missing": 0, "distinct": 3, "min": 0, "mean": 1, "max": 2}},
        "splits": {"test": {"rows": len(rows), **balance}},
        "warnings": [],
    }
    (container.input("schema") / "schema.json").write_text(json.dumps(schema))
    (container.input("schema") / "summary.json").write_text(json.dumps(summary))


def binary_rows(count: int = 300):
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, count)
    scores = np.clip(random.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
    return [
        [int(label), float(score), float(other)]
        for label, score, other in zip(labels, scores, scores[::-1], strict=True)
    ]


def test_binary_evaluation(container) -> None:
    from sklearn import metrics

    rows = binary_rows()
    give(container, "binary", ["no", "yes"], rows, evaluate={"gates": {"auc": ">= 0.5", "logloss": "< 0.1"}})
    script(container)
    assert container.run("evaluate") == 0
    labels, scores = [row[0] for row in rows], [row[1] for row in rows]
    evaluation = container.json("evaluation/evaluation.json")
    assert tuple(evaluation["metrics"]) == tuple(facts.BINARY)
    assert evaluation["metrics"]["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert [(gate["metric"], gate["passed"]) for gate in evaluation["gates"]] == [("auc", True), ("logloss", False)]
    assert [float(row[0]) for row in container.rows("evaluation/scores.csv")] == scores
    assert {entry["feature"] for entry in evaluation["feature_importance"]["features"]} == {"f0", "f1"}
    assert evaluation["feature_importance"]["measure"] == "permutation"
    assert evaluation["feature_importance"]["features"][0]["feature"] == "f0"


def test_binary_block_is_in_aws_layout(container) -> None:
    rows = binary_rows()
    give(container, "binary", ["no", "yes"], rows)
    script(container)
    container.run("evaluate")
    evaluation = container.json("evaluation/evaluation.json")
    block = evaluation["binary_classification_metrics"]
    assert set(block["confusion_matrix"]) == set(block["confusion_matrix"]["0"]) == {"0", "1"}
    assert sum(sum(line.values()) for line in block["confusion_matrix"].values()) == len(rows)
    for name in ("recall", "precision", "accuracy", "auc", "au_prc", "f1", "true_positive_rate"):
        assert block[name]["value"] == pytest.approx(evaluation["metrics"][name])
        assert 0 <= block[name]["standard_deviation"] < 0.1
    curve = block["receiver_operating_characteristic_curve"]
    assert len(curve["false_positive_rates"]) == len(curve["true_positive_rates"]) <= 200
    for name in ("f0_5", "f2", "f1_best_constant_classifier", "accuracy_best_constant_classifier"):
        assert set(block[name]) == {"value", "standard_deviation"}


def test_the_constraints_of_later_quality_are_the_blocks_values(container) -> None:
    give(container, "binary", ["no", "yes"], binary_rows())
    script(container)
    assert container.run("evaluate") == 0
    block = container.json("evaluation/evaluation.json")["binary_classification_metrics"]
    found = container.json("evaluation/constraints.json")["binary_classification_constraints"]
    assert found["auc"] == {"threshold": block["auc"]["value"], "comparison_operator": "LessThanThreshold"}
    assert found["false_positive_rate"]["comparison_operator"] == "GreaterThanThreshold"


@pytest.mark.parametrize(("positives", "expected"), [(25, 0.25), (75, 0.25)])
def test_best_constant_classifier_predicts_the_rarest_class(positives, expected) -> None:
    actual = np.array([1] * positives + [0] * (100 - positives))
    block = quality_statistics.binary_block(actual, np.ones(100, dtype=np.int64), np.full(100, 0.5), seed=1)
    assert block["accuracy_best_constant_classifier"] == {"value": expected, "standard_deviation": "NaN"}
    assert block["recall_best_constant_classifier"]["value"] == (1.0 if positives == 25 else 0.0)


def test_multiclass_evaluation(container) -> None:
    random = np.random.default_rng(2)
    raw = random.random((90, 3)) + 0.01
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    rows = [[index % 3, *row] for index, row in enumerate(probabilities.tolist())]
    give(container, "multiclass", ["a", "b", "c"], rows)
    script(container, "data")
    assert container.run("evaluate") == 0
    evaluation = container.json("evaluation/evaluation.json")
    assert sorted(evaluation["metrics"]) == sorted(facts.MULTICLASS)
    block = evaluation["multiclass_classification_metrics"]
    assert block["weighted_f1"]["value"] == evaluation["metrics"]["weighted_f1"]
    assert block["accuracy_best_constant_classifier"]["value"] == pytest.approx(1 / 3)
    assert np.array(container.rows("evaluation/scores.csv")).astype(float).tolist() == probabilities.tolist()


def test_regression_evaluation(container) -> None:
    rows = [[i / 3, i / 3 + (-1) ** i] for i in range(40)]
    give(container, "regression", [], rows, evaluate={"gates": {"rmse": "<= 1.0001"}})
    script(container)
    assert container.run("evaluate") == 0
    evaluation = container.json("evaluation/evaluation.json")
    assert evaluation["metrics"]["rmse"] == pytest.approx(1.0)
    assert evaluation["regression_metrics"]["rmse"]["value"] == evaluation["metrics"]["rmse"]
    assert evaluation["gates"][0]["passed"] is True


@pytest.mark.parametrize(
    ("gates", "verdict"),
    [
        ({"auc": ">= 0.5"}, "Good enough: the one gate is met"),
        ({"auc": ">= 0.5", "f1": ">= 0.999"}, "Not good enough: 1 of 2 gates not met"),
        ({}, "No gate is set"),
    ],
)
def test_report_answers_first_and_needs_nothing_from_outside(container, gates, verdict) -> None:
    give(container, "binary", ["<script>", "yes"], binary_rows(), evaluate={"gates": gates})
    script(container)
    container.run("evaluate")
    report = (container.output("evaluation") / "report.html").read_text()
    assert report.index(verdict) < report.index("Key numbers")
    assert "<script>" not in report
    assert not re.search(r"(src|href)=|@import|url\(", report)
    charts = report.count("<svg")
    assert charts == report.count('role="img"') == report.count("<desc") >= 6


ERRORS = {
    "no artifact": (lambda c: None, {}, ["model artifact is missing", "model.tar.gz"]),
    "no tar": (
        lambda c: (c.input("model") / "model.tar.gz").write_bytes(b"text"),
        {},
        ["model.tar.gz cannot be unpacked"],
    ),
    "unknown artifact": (lambda c: archive(c, {"weights.bin": "x"}), {}, ["holds weights.bin", "xgboost-model"]),
    "path that leaves": (lambda c: archive(c, {"../evil": "x"}), {}, ["'../evil'", "refused"]),
    "no model_fn": (lambda c: archive(c, {"code/inference.py": "x = 1"}), {}, ["no model_fn"]),
    "wrong shape": (lambda c: script(c, "data"), {}, ["(300, 2)", "(300,)"]),
    "no probabilities": (lambda c: script(c, "data[:, 0] * 9"), {}, ["probabilities"]),
    "not finite": (lambda c: script(c, "data[:, 0] * np.nan"), {}, ["300 scores", "no finite numbers"]),
    "unknown gate": (script, {"evaluate": {"gates": {"rmse": "< 1"}}}, ["'rmse'", "auc"]),
    "bad rule": (script, {"evaluate": {"gates": {"auc": "high"}}}, ["'high'", ">= 0.9"]),
    "other problem": (script, {"problem": "regression"}, ["binary", "regression"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_can_be_wrong_ends_with_one_sentence(container, capsys, case) -> None:
    artifact, job, fragments = ERRORS[case]
    give(container, "binary", ["no", "yes"], binary_rows())
    container.configure(**job)
    artifact(container)
    assert container.run("evaluate") == 1
    sentence = container.message()
    assert capsys.readouterr().err == sentence + "\n"
    for fragment in fragments:
        assert fragment in sentence


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "test.csv is empty"),
        ("0,1\n", "line 1 of test.csv has 2 cells, the schema says 3"),
        ("0,a,1\n", "line 1 of test.csv holds a cell that is no number"),
        ("0,0.1,1\n0,0.2,1\n", "test.csv holds only class 'no'"),
        ("0,0.1,1\n2,0.2,1\n", "the label 2.0, the schema has the codes 0 to 1"),
    ],
)
def test_test_rows_that_do_not_fit(container, content, sentence) -> None:
    give(container, "binary", ["no", "yes"], binary_rows())
    script(container)
    (container.input("test") / "test.csv").write_text(content)
    assert container.run("evaluate") == 1
    assert sentence in container.message()


def test_modules_beside_the_script_are_found(container, monkeypatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "helper_beside", raising=False)
    give(container, "binary", ["no", "yes"], binary_rows())
    code = "from helper_beside import COLUMN\n" + FIRST_FEATURE.replace("{score}", "data[:, COLUMN]")
    archive(container, {"code/inference.py": code, "code/helper_beside.py": "COLUMN = 1\n"})
    assert container.run("evaluate") == 0
    assert [float(row[0]) for row in container.rows("evaluation/scores.csv")] == [row[2] for row in binary_rows()]


def test_a_link_in_the_artifact_is_refused(tmp_path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("xgboost-model")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(UserError, match="'xgboost-model', which is no plain file"):
        scoring.unpack(tmp_path / "model.tar.gz", tmp_path / "out")


def test_request_body_has_exact_numbers_and_empty_cells() -> None:
    assert scoring.csv_body(np.array([[0.1 + 0.2, np.nan], [1e-300, -0.0]])) == "0.30000000000000004,\n1e-300,-0.0\n"


def test_permutation_importance_finds_the_feature_that_counts() -> None:
    rows = np.random.default_rng(0).random((200, 3))
    losses = importance.permutation(
        lambda given: given[:, 1], rows, lambda actual, scores: -float(np.abs(actual - scores).mean()), rows[:, 1], 1
    )
    assert losses[1] > 0.2
    assert losses[0] == losses[2] == 0.0


@pytest.mark.parametrize(
    ("estimator", "measure"), [("logistic_regression", "coefficient"), ("random_forest", "impurity")]
)
def test_the_whole_way_from_raw_file_to_report(container, tumour_csv, monkeypatch, estimator, measure) -> None:
    from sagewind.jobs import train

    container.configure(data={"positive": "1"}, evaluate={"gates": {"auc": ">= 0.95"}})
    container.raw(tumour_csv)
    container.run("prepare")
    for channel in ("train", "validation"):
        monkeypatch.setenv(f"SM_CHANNEL_{channel.upper()}", str(container.output(channel)))
    monkeypatch.setenv("SM_MODEL_DIR", str(container.base / "model"))
    train.main(["--estimator", estimator])
    with tarfile.open(container.input("model") / "model.tar.gz", "w:gz") as tar:
        tar.add(container.base / "model", ".")
    for name in ("test", "schema"):
        for path in container.output(name).iterdir():
            (container.input(name) / path.name).write_bytes(path.read_bytes())
    assert container.run("evaluate") == 0
    evaluation = container.json("evaluation/evaluation.json")
    assert evaluation["gates"][0]["passed"] is True
    assert evaluation["feature_importance"]["measure"] == measure
    assert sum(entry["share"] for entry in evaluation["feature_importance"]["features"]) == pytest.approx(1)
    assert len(container.rows("evaluation/scores.csv")) == len(container.rows("batch/batch.csv"))


@pytest.mark.parametrize(
    ("objective", "problem", "classes"),
    [
        ("binary:logistic", "binary", 2),
        ("binary:logitraw", "binary", 2),
        ("multi:softprob", "multiclass", 3),
        ("multi:softmax", "multiclass", 3),
        ("reg:squarederror", "regression", 0),
    ],
)
def test_built_in_xgboost_artifact(container, tmp_path, objective, problem, classes) -> None:
    xgboost = pytest.importorskip("xgboost")
    random = np.random.default_rng(0)
    features = random.random((300, 4))
    labels = (features[:, 0] * (classes or 1)).astype(int) if classes else features[:, 0]
    parameters = {"objective": objective, **({"num_class": classes} if classes == 3 else {})}
    booster = xgboost.train(parameters, xgboost.DMatrix(features, labels), 5)
    booster.save_model(tmp_path / "model.ubj")
    archive(container, {"xgboost-model": (tmp_path / "model.ubj").read_bytes()})
    rows = [[label, *row] for label, row in zip(labels.tolist(), features.tolist(), strict=True)]
    give(container, problem, [str(code) for code in range(classes)], rows)
    assert container.run("evaluate") == 0, container.message()
    evaluation = container.json("evaluation/evaluation.json")
    assert evaluation["feature_importance"]["measure"] == "gain"
    assert evaluation["feature_importance"]["features"][0]["feature"] == "f0"
    quality = {"binary": "auc", "multiclass": "accuracy", "regression": "r2"}[problem]
    assert evaluation["metrics"][quality] > 0.9


def test_a_model_of_a_newer_xgboost_is_refused(container, tmp_path, monkeypatch) -> None:
    xgboost = pytest.importorskip("xgboost")
    rows = binary_rows()
    table = np.array(rows)
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(table[:, 1:], table[:, 0]), 2)
    booster.save_model(tmp_path / "model.ubj")
    archive(container, {"xgboost-model": (tmp_path / "model.ubj").read_bytes()})
    give(container, "binary", ["no", "yes"], rows)
    monkeypatch.setattr(xgboost, "__version__", "2.1.4")
    assert container.run("evaluate") == 1
    assert "this image has 2.1.4, which would read it wrongly" in container.message()

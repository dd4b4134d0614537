"""The linear learner against scikit-learn and numerical derivatives, and what AWS documents of it."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

import numpy as np
import pytest
from container_toolkit import linear_fit, linear_scores, mxnet_file, recordio
from container_toolkit.base import UserError
from container_toolkit.linear_learner import LOSSES, RULES
from container_toolkit.rules import validate
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression, QuantileRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from localaws.engine.images import load_image
from localaws_tests.images.builtin import metric
from localaws_tests.images.conftest import IMAGES


def table(loader: Any) -> np.ndarray:
    features, labels = loader(return_X_y=True)
    rows = np.column_stack([labels, features])
    return rows[np.random.default_rng(0).permutation(len(rows))]


def test_a_binary_classifier(builtin: Any) -> None:
    rows = table(load_breast_cancer)
    train, held = rows[:400], rows[400:]
    learner = builtin("linear-learner")
    log = learner.train({"predictor_type": "binary_classifier", "feature_dim": 30}, train=train, validation=held)
    best = make_pipeline(StandardScaler(), LogisticRegression()).fit(train[:, 1:], train[:, 0])
    found = learner.predict(held[:, 1:])
    labels = np.array([entry["predicted_label"] for entry in found])
    scores = np.array([entry["score"] for entry in found])
    truth = held[:, 0]
    assert {type(entry["predicted_label"]) for entry in found} == {int}
    assert oracle.accuracy_score(truth, labels) >= best.score(held[:, 1:], truth) - 0.01
    reported = {
        "binary_classification_accuracy": oracle.accuracy_score(truth, labels),
        "binary_f_1.000": oracle.f1_score(truth, labels),
        "precision": oracle.precision_score(truth, labels),
        "recall": oracle.recall_score(truth, labels),
        "roc_auc_score": oracle.roc_auc_score(truth, scores),
    }
    for name, value in reported.items():
        assert metric(log, f"validation {name} <score>") == pytest.approx(value, abs=1e-5), name
    loss = metric(log, "validation binary_classification_cross_entropy_objective <loss>")
    assert loss == pytest.approx(oracle.log_loss(truth, scores), rel=1e-3)


def test_a_multiclass_classifier(builtin: Any) -> None:
    rows = table(load_digits)
    train, held = rows[:1200], rows[1200:]
    learner = builtin("linear-learner")
    parameters = {"predictor_type": "multiclass_classifier", "num_classes": 10, "balance_multiclass_weights": "true"}
    log = learner.train(parameters, train=train, validation=held)
    found = learner.predict(held[:, 1:])
    scores = np.array([entry["score"] for entry in found])
    labels, truth = [entry["predicted_label"] for entry in found], held[:, 0]
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert oracle.accuracy_score(truth, labels) > 0.95
    reported = {
        "multiclass_accuracy": oracle.accuracy_score(truth, labels),
        "multiclass_top_k_accuracy_3": oracle.top_k_accuracy_score(truth, scores, k=3),
        "macro_recall": oracle.recall_score(truth, labels, average="macro"),
        "macro_precision": oracle.precision_score(truth, labels, average="macro"),
        "macro_f_1.000": oracle.f1_score(truth, labels, average="macro"),
        "dcg": oracle.dcg_score(truth[:, None] == np.arange(10), scores),
    }
    for name, value in reported.items():
        assert metric(log, f"validation {name} <score>") == pytest.approx(value, abs=1e-6), name


def test_a_regressor(builtin: Any) -> None:
    rows = table(load_diabetes)
    train, held = rows[:350], rows[350:]
    learner = builtin("linear-learner")
    log = learner.train({"predictor_type": "regressor"}, train=train, test=held)
    best = LinearRegression().fit(train[:, 1:], train[:, 0])
    found = np.array([entry["score"] for entry in learner.predict(held[:, 1:])])
    rmse = oracle.root_mean_squared_error(held[:, 0], found)
    assert rmse < 1.05 * oracle.root_mean_squared_error(held[:, 0], best.predict(held[:, 1:]))
    assert metric(log, "test rmse <loss>") == pytest.approx(rmse, rel=1e-5)
    assert metric(log, "test mse <loss>") == pytest.approx(rmse**2, rel=1e-5)
    mae = oracle.mean_absolute_error(held[:, 0], found)
    assert metric(log, "test absolute_loss <loss>") == pytest.approx(mae, rel=1e-5)
    assert metric(log, "test r2 <score>") == pytest.approx(oracle.r2_score(held[:, 0], found), rel=1e-4)


@pytest.mark.parametrize("loss", [*LOSSES["regressor"], *LOSSES["binary_classifier"]])
def test_slopes_are_the_derivatives(loss: str) -> None:
    chosen = linear_fit.losses(validate({"predictor_type": "regressor"}, RULES))[loss]
    outputs = np.random.default_rng(0).uniform(-3, 3, 200)
    labels = (np.arange(200) % 2).astype(float)
    step = 1e-6
    numeric = (chosen.value(outputs + step, labels) - chosen.value(outputs - step, labels)) / (2 * step)
    assert np.allclose(chosen.slope(outputs, labels), numeric, atol=1e-4)


def test_quantiles(builtin: Any) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 1))
    labels = features[:, 0] * 3 + rng.exponential(2, 2000)
    learner = builtin("linear-learner")
    parameters = {"predictor_type": "regressor", "loss": "quantile_loss", "quantile": "0.9"}
    learner.train(parameters, train=np.column_stack([labels, features]))
    found = np.array([entry["score"] for entry in learner.predict(features)])
    best = QuantileRegressor(quantile=0.9, alpha=0).fit(features, labels).predict(features)
    assert np.abs(found - best).mean() < 0.3
    assert (labels < found).mean() == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("criterion", "target"),
    [
        ("precision_at_target_recall", {"target_recall": 0.95}),
        ("recall_at_target_precision", {"target_precision": 0.97}),
        ("f_beta", {"f_beta": 0.5}),
    ],
)
def test_the_threshold_serves_its_criterion(builtin: Any, criterion: str, target: dict[str, float]) -> None:
    rows = table(load_breast_cancer)
    learner = builtin("linear-learner")
    asked = {"predictor_type": "binary_classifier", "binary_classifier_model_selection_criteria": criterion}
    log = learner.train({**asked, **target}, train=rows[:400], validation=rows[400:])
    if criterion == "precision_at_target_recall":
        assert metric(log, "validation recall <score>") >= 0.95
    elif criterion == "recall_at_target_precision":
        assert metric(log, "validation precision <score>") >= 0.97
    else:
        found = np.array([entry["predicted_label"] for entry in learner.predict(rows[400:, 1:])])
        value = oracle.fbeta_score(rows[400:, 0], found, beta=0.5)
        assert metric(log, "validation binary_f_0.500 <score>") == pytest.approx(value, abs=1e-6)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30),
    criterion=st.sampled_from(["accuracy", "f1"]),
)
def test_no_threshold_is_better(pairs: list[tuple[int, bool]], criterion: str) -> None:
    scores, truth = np.array([p[0] / 7 for p in pairs]), np.array([float(p[1]) for p in pairs])
    assume(0 < truth.sum() < len(truth))
    measure = oracle.accuracy_score if criterion == "accuracy" else oracle.f1_score
    chosen = {"binary_classifier_model_selection_criteria": criterion}
    cut, value = linear_scores.threshold(scores, truth, chosen, 0.5)
    every = [measure(truth, scores > other) for other in [*np.unique(scores), -1.0]]
    reached = measure(truth, scores > cut)
    assert value == pytest.approx(reached)
    # Saying "all are 0" is no cut between scores: it can be as good for the accuracy.
    assert reached >= max(e for e, other in zip(every, [*np.unique(scores), -1.0], strict=True) if other < scores.max())


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_under_the_curve(pairs: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([float(p[0]) for p in pairs]), np.array([float(p[1]) for p in pairs])
    assume(0 < truth.sum() < len(truth))
    assert linear_scores.auc(scores, truth) == pytest.approx(oracle.roc_auc_score(truth, scores))


def test_the_model_file_is_mxnets(builtin: Any) -> None:
    rows = table(load_diabetes)
    learner = builtin("linear-learner")
    learner.train({"predictor_type": "regressor", "epochs": 2}, train=rows)
    with zipfile.ZipFile(learner.ml.root / "model/model_algo-1") as archive:
        arrays = mxnet_file.load(archive.read("mx-mod-0000.params"))
        graph = json.loads(archive.read("mx-mod-symbol.json"))
    assert isinstance(arrays, dict)
    assert [node["name"] for node in graph["nodes"]] == ["data", "fc0_weight", "fc0_bias", "fc0"]
    own = rows[:3, 1:] @ arrays["arg:fc0_weight"].T + arrays["arg:fc0_bias"]
    assert np.allclose(own[:, 0], [entry["score"] for entry in learner.predict(rows[:3, 1:])], rtol=1e-4)


def test_early_stopping_ends_training(builtin: Any) -> None:
    rows = np.column_stack([np.arange(200.0) % 2, np.arange(200.0) % 2])
    learner = builtin("linear-learner")
    asked = {"predictor_type": "regressor", "epochs": 200, "learning_rate": 0.1, "early_stopping_patience": 2}
    log = learner.train(asked, train=rows)
    assert 2 < len(re.findall(r"epoch=\d+, train mse_objective", log)) < 100


def test_l1_makes_weights_vanish(builtin: Any) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 6))
    rows = np.column_stack([features[:, 0] * 5, features])
    learner = builtin("linear-learner")
    learner.train({"predictor_type": "regressor", "l1": 0.2, "num_models": 1, "wd": 0}, train=rows)
    with zipfile.ZipFile(learner.ml.root / "model/model_algo-1") as archive:
        arrays = mxnet_file.load(archive.read("mx-mod-0000.params"))
    assert isinstance(arrays, dict)
    weights = np.abs(arrays["arg:fc0_weight"][0])
    assert weights[0] > 3
    assert weights[1:].max() < 0.05


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_optimizers_learn(builtin: Any, optimizer: str) -> None:
    rows = table(load_breast_cancer)
    log = builtin("linear-learner").train({"predictor_type": "binary_classifier", "optimizer": optimizer}, train=rows)
    assert metric(log, "train binary_classification_accuracy <score>") > 0.96


def test_the_answers_of_the_developer_guide(builtin: Any) -> None:
    rows = table(load_breast_cancer)
    learner = builtin("linear-learner")
    learner.train({"predictor_type": "binary_classifier", "loss": "hinge_loss", "epochs": 3}, train=rows)
    handler, body = learner.handler(), ",".join(["1"] * 30).encode()
    answer = json.loads(handler(body, "text/csv", "application/json")[2])["predictions"]
    assert list(answer[0]) == ["score", "predicted_label"]
    assert handler(body, "text/csv", "application/jsonlines")[2] == json.dumps(answer[0]).encode() + b"\n"
    record = handler(body, "text/csv", "application/x-recordio-protobuf")[2]
    (label,) = (recordio.decode(frame).label for frame in recordio.frames(io.BytesIO(record)))
    assert {name: tensor.dense().tolist() for name, tensor in label.items()} == {
        name: [float(value)] for name, value in answer[0].items()
    }


def test_the_metric_expressions_read_the_log(builtin: Any, tmp_path: Any) -> None:
    rows = table(load_breast_cancer)
    log = builtin("linear-learner").train({"predictor_type": "binary_classifier"}, train=rows, validation=rows)
    image = load_image(IMAGES / "linear-learner", tmp_path)
    read = {m.name for m in image.metrics if any(re.search(m.expression, line) for line in log.splitlines())}
    names = ("binary_classification_accuracy", "binary_f_beta", "precision", "recall", "roc_auc_score")
    expected = {f"{data}:{name}" for data in ("train", "validation") for name in (*names, "objective_loss")}
    assert read == expected | {"train:objective_loss:final", "validation:objective_loss:final", "train:progress"}


@pytest.mark.parametrize(
    ("changes", "labels", "message"),
    [
        ({"loss": "hinge_loss"}, [1, 2], "loss hinge_loss cannot be used with predictor_type regressor"),
        ({"predictor_type": "multiclass_classifier"}, [1, 2], "num_classes must be given and at least 3"),
        ({"predictor_type": "binary_classifier"}, [0, 2], "label of record 2 of data channel 'train' is 2"),
        (
            {"predictor_type": "multiclass_classifier", "num_classes": 3},
            [0, 3],
            "must be a whole number from 0 to 2",
        ),
        ({"learning_rate": 0}, [0, 1], "learning_rate: 0 is less than or equal to the minimum of 0"),
        ({"positive_example_weight_mult": "-1"}, [0, 1], "positive_example_weight_mult: '-1' is not a valid"),
        ({"target_recall": "1.5"}, [0, 1], "target_recall: 1.5 is greater than the maximum of 1"),
    ],
)
def test_what_is_refused(builtin: Any, changes: dict[str, Any], labels: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        builtin("linear-learner").train(
            {"predictor_type": "regressor", **changes}, train=[[label, 1.0] for label in labels]
        )

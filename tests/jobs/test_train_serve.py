"""The script-mode programs as the toolkit runs them: flat files, settings in the environment."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from sagewind.jobs import serve, train
from tests.conftest import ROOT


def write_channels(base: Path, features, labels, monkeypatch) -> None:
    lines = [",".join([repr(float(label)), *map(repr, row)]) for row, label in zip(features, labels, strict=True)]
    for name, part in (("train", lines[::2]), ("validation", lines[1::2])):
        (base / name).mkdir(exist_ok=True)
        (base / name / "rows.csv").write_text("\n".join(part) + "\n")
        monkeypatch.setenv(f"SM_CHANNEL_{name.upper()}", str(base / name))
    monkeypatch.setenv("SM_MODEL_DIR", str(base / "model"))


@pytest.fixture
def tumour(tmp_path, monkeypatch):
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    write_channels(tmp_path, data.data.tolist(), data.target, monkeypatch)
    return data.data[1::2], data.target[1::2]


def printed_metrics(capsys) -> dict[str, float]:
    lines = [line.split("=") for line in capsys.readouterr().out.splitlines() if line.startswith("validation:")]
    return {name.removeprefix("validation:"): float(value) for name, value in lines}


def loaded(base: Path):
    """The serving module as the container imports it, and its model."""
    path = base / "model" / "code" / "inference.py"
    spec = importlib.util.spec_from_file_location("inference_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.model_fn(str(base / "model"))


def csv_of(rows) -> str:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows)


def test_training_prints_what_its_served_model_scores(tumour, tmp_path, capsys) -> None:
    from sklearn import metrics

    features, labels = tumour
    train.main(["--estimator", "logistic_regression", "--C", "0.5", "--_tuning_objective_metric", "validation:auc"])
    printed = printed_metrics(capsys)
    module, model = loaded(tmp_path)
    assert model[-1].C == 0.5
    body, kind = module.output_fn(
        module.predict_fn(module.input_fn(csv_of(features.tolist()), "text/csv"), model), "text/csv"
    )
    scores = np.array([float(line) for line in body.splitlines()])
    assert kind == "text/csv"
    assert (scores == model.predict_proba(features)[:, 1]).all(), "the text reads back exactly"
    assert printed["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert printed["logloss"] == pytest.approx(metrics.log_loss(labels, scores))
    assert printed["auc"] > 0.95


def test_the_seed_decides_what_chance_would(tumour, tmp_path, capsys) -> None:
    features, _ = tumour
    scores = []
    for seed in ("1", "1", "2"):
        train.main(["--estimator", "random_forest", "--n_estimators", "5", "--seed", seed])
        module, model = loaded(tmp_path)
        scores.append(module.predict_fn(features, model).tolist())
    assert scores[0] == scores[1] != scores[2]


def test_three_classes_give_a_row_of_probabilities(tmp_path, monkeypatch, capsys) -> None:
    from sklearn.datasets import load_iris

    data = load_iris()
    write_channels(tmp_path, data.data.tolist(), data.target, monkeypatch)
    train.main([])
    assert set(printed_metrics(capsys)) == {"accuracy", "logloss", "weighted_f1"}
    module, model = loaded(tmp_path)
    body, kind = module.output_fn(module.predict_fn(data.data[:2], model), "application/json")
    rows = json.loads(body)["predictions"]
    assert kind == "application/json"
    assert np.shape(rows) == (2, 3)
    assert np.sum(rows, axis=1) == pytest.approx(1)


def test_quantities_are_a_regression(tmp_path, monkeypatch, capsys) -> None:
    random = np.random.default_rng(3)
    features = random.normal(size=(80, 3))
    write_channels(tmp_path, features.tolist(), features @ [1.0, 2.0, 3.0] + 5, monkeypatch)
    train.main(["--estimator", "ridge", "--alpha", "1e-6"])
    assert printed_metrics(capsys)["rmse"] < 1e-3
    module, model = loaded(tmp_path)
    assert module.predict_fn(np.zeros((1, 3)), model) == pytest.approx([5.0], abs=1e-3)


def test_missing_cells_reach_an_estimator_that_can_use_them(tmp_path, monkeypatch, capsys) -> None:
    rows = [[float(i), float("nan") if i % 3 else 1.0] for i in range(60)]
    write_channels(tmp_path, rows, [i // 2 % 2 for i in range(60)], monkeypatch)
    for name in ("train", "validation"):
        path = tmp_path / name / "rows.csv"
        path.write_text(path.read_text().replace("nan", ""))
    train.main(["--estimator", "hist_gradient_boosting", "--max_iter", "2"])
    with pytest.raises(train.TrainUserError, match="logistic_regression cannot be trained on this data: .*NaN"):
        train.main(["--estimator", "logistic_regression"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--estimator", "magic"], "estimator is 'magic': use one of logistic_regression,"),
        (["--n_trees", "5"], "logistic_regression has no hyper-parameter 'n_trees': use one of C,"),
        (["--estimator", "ridge"], "'ridge' is for regression, this is a binary problem"),
        (["--problem", "hard"], "problem is 'hard': use one of auto,"),
        (["--C"], "'--C' without its value"),
        (["--C", "-1"], "logistic_regression cannot be trained on this data: .*C"),
    ],
)
def test_wrong_hyperparameters(tumour, arguments, sentence) -> None:
    with pytest.raises(train.TrainUserError, match=sentence):
        train.main(arguments)


@pytest.mark.parametrize(
    ("train_labels", "validation_labels", "sentence"),
    [
        ([1, 1], [0, 1], "train rows hold only class 1"),
        ([0, 1], [0, 2], "validation rows hold class 2, which no train row has"),
    ],
)
def test_labels_that_cannot_be_learned(tmp_path, monkeypatch, train_labels, validation_labels, sentence) -> None:
    labels = [label for pair in zip(train_labels, validation_labels, strict=True) for label in pair]
    write_channels(tmp_path, [[1.0], [2.0], [3.0], [4.0]], labels, monkeypatch)
    with pytest.raises(train.TrainUserError, match=sentence):
        train.main(["--problem", "multiclass"])


def test_a_users_error_is_the_last_line_of_the_job(python, tmp_path) -> None:
    done = python(str(ROOT / "plugins/sagewind/jobs/train.py"), cwd=tmp_path, SM_CHANNEL_TRAIN=str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr == "channel 'train' has no rows: give it a folder of CSV files, label first, no header\n"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("1,2\n3,\n", "text/csv; charset=utf-8"),
        (b"1.0, 2\r\n3, \r\n", "text/csv"),
        ("[[1, 2], [3, null]]", "application/json"),
        ('{"instances": [{"features": [1, 2]}, {"features": [3, null]}]}', "application/json"),
    ],
)
def test_requests_of_the_same_rows(body, content_type) -> None:
    assert serve.input_fn(body, content_type) == pytest.approx(np.array([[1, 2], [3, np.nan]]), nan_ok=True)


@pytest.mark.parametrize(
    ("body", "content_type", "sentence"),
    [
        ("1,2", "image/png", "'image/png' is not supported"),
        ("", "text/csv", "at least one row"),
        ("1,2\n3\n", "text/csv", "equally many features"),
        ("3", "application/json", "list of rows"),
    ],
)
def test_requests_that_are_refused(body, content_type, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        serve.input_fn(body, content_type)


def test_a_request_with_other_features_is_refused(tumour, tmp_path, capsys) -> None:
    train.main([])
    module, model = loaded(tmp_path)
    with pytest.raises(ValueError, match="has 2 features per row, the model was trained on 30"):
        module.predict_fn(np.zeros((1, 2)), model)

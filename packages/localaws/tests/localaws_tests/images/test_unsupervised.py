"""k-means and PCA against scikit-learn, and the formats and model files that AWS documents or shows."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from container_toolkit import mxnet_file, recordio
from container_toolkit.base import UserError
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from localaws_tests.images.builtin import lines, metric

UNLABELLED = "text/csv;label_size=0"


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    rows = load_digits().data
    return rows[np.random.default_rng(0).permutation(len(rows))]


@pytest.mark.parametrize("method", ["random", "kmeans++"])
def test_clusters_are_as_tight_as_scikit_learns(builtin: Any, digits: np.ndarray, method: str) -> None:
    kmeans = builtin("kmeans")
    parameters = {"k": 10, "feature_dim": 64, "eval_metrics": '["msd","ssd"]', "init_method": method}
    log = kmeans.train(parameters, UNLABELLED, train=digits[:1200], test=digits[1200:])
    oracle = KMeans(10, n_init=3, random_state=0).fit(digits[:1200])
    assert metric(log, "train msd <loss>") < 1.05 * oracle.inertia_ / 1200
    msd = metric(log, "test msd <loss>")
    assert msd < 1.05 * -oracle.score(digits[1200:]) / len(digits[1200:])
    assert metric(log, "test ssd <loss>") == pytest.approx(msd * len(digits[1200:]))
    (centres,) = mxnet_file.load((kmeans.ml.root / "model/model_algo-1").read_bytes())
    far = np.linalg.norm(digits[1200:, None] - centres, axis=2)
    found = kmeans.predict(digits[1200:])
    assert [entry["closest_cluster"] for entry in found] == far.argmin(axis=1).tolist()
    assert np.allclose([entry["distance_to_cluster"] for entry in found], far.min(axis=1), rtol=1e-4)


def test_a_training_can_be_repeated(builtin: Any, digits: np.ndarray) -> None:
    models = []
    for _ in range(2):
        kmeans = builtin("kmeans")
        kmeans.train({"k": 4, "feature_dim": 64, "mini_batch_size": 100, "epochs": 2}, UNLABELLED, train=digits[:400])
        models.append((kmeans.ml.root / "model/model_algo-1").read_bytes())
    assert models[0] == models[1]


def test_the_answers_of_k_means(builtin: Any) -> None:
    kmeans = builtin("kmeans")
    kmeans.train({"k": 2, "feature_dim": 2, "force_dense": "True"}, UNLABELLED, train=[[0.0, 0]] * 9 + [[8.0, 8]] * 9)
    handler = kmeans.handler()
    near = kmeans.predict([[0, 0]])[0]["closest_cluster"]
    body = b"3,4\n8,8\n"
    expected = [[near, 5.0], [1 - near, 0.0]]
    rows = [line.split(",") for line in handler(body, "text/csv", "text/csv")[2].decode().split()]
    assert [[float(cell) for cell in row] for row in rows] == expected
    lines_ = handler(body, "text/csv", "application/jsonlines")[2].splitlines()
    assert [list(json.loads(line).values()) for line in lines_] == expected
    records = handler(body, "text/csv", "application/x-recordio-protobuf")[2]
    labels = [recordio.decode(frame).label for frame in recordio.frames(io.BytesIO(records))]
    found = [[entry[name].dense()[0] for name in ("closest_cluster", "distance_to_cluster")] for entry in labels]
    assert found == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 30}, "k is 30, but the data channel 'train' has 20 records only"),
        ({"eval_metrics": "[mse]"}, r"eval_metrics: '\[mse\]' is not a valid value"),
        ({"local_lloyd_tol": "2"}, "local_lloyd_tol: 2 is greater than the maximum of 1"),
    ],
)
def test_k_means_refuses(builtin: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        builtin("kmeans").train({"k": 2, "feature_dim": 3, **changes}, UNLABELLED, train=np.ones((20, 3)))


def test_components_are_scikit_learns(builtin: Any, digits: np.ndarray) -> None:
    pca = builtin("pca")
    pca.train({"num_components": 8, "feature_dim": 64, "mini_batch_size": 200}, UNLABELLED, train=digits)
    oracle = PCA(8).fit(digits)
    arrays = mxnet_file.load((pca.ml.root / "model/model_algo-1").read_bytes())
    assert isinstance(arrays, dict)
    assert np.allclose(arrays["s"], oracle.singular_values_[::-1], rtol=1e-5)
    assert np.allclose(arrays["mean"], oracle.mean_[None, :], rtol=1e-5)
    assert np.allclose(np.abs((arrays["v"].T * oracle.components_[::-1]).sum(axis=1)), 1, atol=1e-4)
    found = np.array([entry["projection"] for entry in pca.predict(digits[:5])])
    assert np.allclose(np.abs(found), np.abs(oracle.transform(digits[:5])[:, ::-1]), atol=1e-2)
    status, _kind, body = pca.handler()(lines(digits[:1]).encode(), "text/csv", None)
    assert (status, list(json.loads(body))) == (200, ["projections"])
    assert pca.handler()(lines(digits[:1]).encode(), "text/csv", "text/csv")[0] == 406


def test_the_randomized_mode_comes_close(builtin: Any, digits: np.ndarray) -> None:
    pca = builtin("pca")
    parameters = {"num_components": 5, "feature_dim": 64, "mini_batch_size": 100, "extra_components": 40}
    log = pca.train({**parameters, "algorithm_mode": "randomized"}, UNLABELLED, train=digits, test=digits[:50])
    found = np.array([entry["projection"] for entry in pca.predict(digits)])
    best = PCA(5).fit(digits).singular_values_
    assert (found**2).sum() > 0.85 * (best**2).sum()
    assert "reconstruction_error" in log


def test_pca_refuses_too_many_components(builtin: Any) -> None:
    parameters = {"num_components": 4, "feature_dim": 3, "mini_batch_size": 10}
    with pytest.raises(UserError, match="num_components is 4, it must not exceed the number of features"):
        builtin("pca").train(parameters, UNLABELLED, train=np.eye(3))

"""k-nearest neighbours against scikit-learn, and the formats that AWS documents for it."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from container_toolkit import recordio
from container_toolkit.base import UserError
from container_toolkit.knn import majority, nearest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.metrics import accuracy_score, mean_squared_error
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors

from localaws_tests.images.builtin import lines, metric

BASE = {"k": 5, "feature_dim": 13, "sample_size": 1000, "predictor_type": "classifier"}


def wines() -> tuple[np.ndarray, np.ndarray]:
    features, labels = load_wine(return_X_y=True)
    table = np.column_stack([labels, features / features.std(axis=0)])
    np.random.default_rng(1).shuffle(table)
    return table[:120], table[120:]


def test_a_classifier_agrees_with_scikit_learn(builtin: Any) -> None:
    train, test = wines()
    knn = builtin("knn")
    log = knn.train(BASE, train=train, test=test)
    oracle = KNeighborsClassifier(5, algorithm="brute").fit(train[:, 1:], train[:, 0])
    found = [entry["predicted_label"] for entry in knn.predict(test[:, 1:])]
    assert found == oracle.predict(test[:, 1:]).tolist()
    assert metric(log, "test accuracy <score>") == accuracy_score(test[:, 0], found)
    assert f"#test_score (algo-1) : ('accuracy', {accuracy_score(test[:, 0], found)!r})" in log


def test_a_regressor_agrees_with_scikit_learn(builtin: Any) -> None:
    features, labels = load_diabetes(return_X_y=True)
    table = np.column_stack([labels, features]).astype(np.float32)
    knn = builtin("knn")
    log = knn.train({**BASE, "feature_dim": 10, "predictor_type": "regressor"}, train=table[:300], test=table[300:])
    found = KNeighborsRegressor(5, algorithm="brute").fit(table[:300, 1:], table[:300, 0]).predict(table[300:, 1:])
    assert metric(log, "test mse <loss>") == pytest.approx(mean_squared_error(table[300:, 0], found), rel=1e-5)


@pytest.mark.parametrize(("metric_name", "oracle"), [("L2", "euclidean"), ("COSINE", "cosine")])
def test_verbose_answers_hold_the_neighbours(builtin: Any, metric_name: str, oracle: str) -> None:
    train, test = wines()
    knn = builtin("knn")
    knn.train({**BASE, "index_metric": metric_name}, train=train)
    body = lines(test[:4, 1:]).encode()
    status, _kind, answer = knn.handler()(body, "text/csv", "application/json; verbose=true")
    assert status == 200
    entries = json.loads(answer)["predictions"]
    points = train[:, 1:].astype(np.float32).astype(float)
    far, near = NearestNeighbors(n_neighbors=5, metric=oracle, algorithm="brute").fit(points).kneighbors(test[:4, 1:])
    expected = 1 - far if metric_name == "COSINE" else far
    assert np.allclose([entry["distances"] for entry in entries], expected, rtol=1e-5)
    assert [entry["labels"] for entry in entries] == train[near, 0].tolist()


def test_the_formats_of_the_developer_guide(builtin: Any) -> None:
    knn = builtin("knn")
    rows = np.array([[0, 1.0, 1, 1, 1], [2, 9.0, 9, 9, 9]])
    knn.train({**BASE, "k": 1, "feature_dim": 4}, train=rows)
    handler = knn.handler()
    document = {"instances": [{"data": {"features": {"values": [1, 1, 1, 2]}}}, {"features": [9.0, 9, 9, 8]}]}
    one, many = b'{"features": [1, 1, 1, 2]}\n', b'{"data": {"features": {"values": [9.0, 9, 9, 8]}}}\n'
    record = recordio.TensorRecord(features={"values": recordio.Tensor(np.array([1, 1, 1, 2.0]))})
    other = recordio.TensorRecord(features={"values": recordio.Tensor(np.array([9, 9, 9, 8.0]))})
    bodies = [
        (json.dumps(document).encode(), "application/json"),
        (one + many, "application/jsonlines"),
        (b"1,1,1,2\n9,9,9,8\n", "text/csv"),
        (b"7,1,1,1,2\n7,9,9,9,8\n", "text/csv; label_size=1"),
        (recordio.write([record, other]), "application/x-recordio-protobuf"),
    ]
    answer = {"predictions": [{"predicted_label": 0.0}, {"predicted_label": 2.0}]}
    for body, kind in bodies:
        status, content_type, found = handler(body, kind, None)
        assert (status, content_type, json.loads(found)) == (200, "application/json", answer), kind
    assert handler(bodies[2][0], "text/csv", "application/jsonlines")[2] == (
        b'{"predicted_label": 0.0}\n{"predicted_label": 2.0}\n'
    )
    assert handler(bodies[2][0], "text/csv", "text/csv")[2] == b"0.0\n2.0\n"
    records = handler(bodies[2][0], "text/csv", "application/x-recordio-protobuf; verbose=true")[2]
    found = [recordio.decode(frame).label for frame in recordio.frames(io.BytesIO(records))]
    assert [entry["labels"].dense().tolist() for entry in found] == [[0.0], [2.0]]
    assert [entry["distances"].dense().tolist() for entry in found] == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("body", "kind", "accept", "status"),
    [
        (b"1,2\n", "text/csv", None, 400),
        (b"a,b,c,d\n", "text/csv", None, 400),
        (b"", "text/csv", None, 400),
        (b'{"rows": []}', "application/json", None, 400),
        (b'{"instances": [{"features": "abc"}]}', "application/json", None, 400),
        (b"x", "image/png", None, 415),
        (b"1,2,3,4\n", "text/csv", "image/png", 406),
    ],
)
def test_bodies_that_cannot_be_answered(builtin: Any, body: bytes, kind: str, accept: str | None, status: int) -> None:
    knn = builtin("knn")
    knn.train({**BASE, "k": 1, "feature_dim": 4}, train=np.eye(5))
    assert knn.handler()(body, kind, accept)[0] == status


def test_the_metadata_may_be_edited(builtin: Any) -> None:
    knn = builtin("knn")
    knn.train({**BASE, "k": 1, "feature_dim": 1}, train=[[0, 0.0], [1, 1], [1, 2]])
    assert knn.predict([[0.1]]) == [{"predicted_label": 0.0}]
    meta = json.loads(knn.ml.text("model/model_algo-1.json"))
    knn.ml.write("model/model_algo-1.json", {**meta, "k": 3, "predictor_type": "regressor"})
    assert knn.predict([[0.1]]) == [{"predicted_label": pytest.approx(2 / 3)}]
    assert np.fromfile(knn.ml.root / "model/model_algo-1.labels", np.float32).tolist() == [0, 1, 1]


def test_samples_and_large_k(builtin: Any) -> None:
    knn = builtin("knn")
    log = knn.train({**BASE, "k": 50, "feature_dim": 1, "sample_size": 7}, train=[[n % 3, n] for n in range(100)])
    assert "k is 50, the index holds 7 records" in log
    assert len(np.fromfile(knn.ml.root / "model/model_algo-1.labels", np.float32)) == 7
    assert len(knn.predict([[1.0]])) == 1


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_reduction_keeps_distances(builtin: Any, kind: str) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 512))
    knn = builtin("knn")
    reduced = {"dimension_reduction_type": kind, "dimension_reduction_target": 256}
    knn.train({**BASE, "k": 1, "feature_dim": 512, **reduced}, train=np.column_stack([np.arange(200), points]))
    found = [entry["predicted_label"] for entry in knn.predict(points + rng.normal(0, 0.1, points.shape))]
    assert found == list(range(200))
    body = lines(np.zeros((1, 512))).encode()
    entry = json.loads(knn.handler()(body, "text/csv", "application/json; verbose=true")[2])["predictions"][0]
    assert entry["distances"][0] == pytest.approx(np.linalg.norm(points, axis=1).min(), rel=0.15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k: 0 is less than the minimum of 1"),
        ({"k": "many"}, "k: 'many' is not a valid integer"),
        ({"faiss_index_pq_m": 5}, "faiss_index_pq_m: '5' is not one of"),
        ({"predictor_type": "both"}, r"predictor_type: 'both' is not one of \['classifier', 'regressor'\]"),
        ({"colour": "red"}, "Additional hyperparameters are not allowed \\('colour' was unexpected\\)"),
        ({"index_type": "faiss.IVFFlat"}, "faiss.IVFFlat is not supported by the local image"),
        ({"dimension_reduction_type": "sign"}, "dimension_reduction_target is required"),
        ({"feature_dim": 12}, "feature_dim is 12, but the records of data channel 'train' have 13 features"),
    ],
)
def test_hyperparameters_are_checked(builtin: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        builtin("knn").train({**BASE, **changes}, train=wines()[0])


def test_missing_hyperparameters_and_channels(builtin: Any) -> None:
    with pytest.raises(UserError, match="'k' is a required property"):
        builtin("knn").train({n: v for n, v in BASE.items() if n != "k"}, train=wines()[0])
    with pytest.raises(UserError, match="'train' is a required property"):
        builtin("knn").train(BASE, test=wines()[0])
    with pytest.raises(UserError, match="'validation' was unexpected"):
        builtin("knn").train(BASE, train=wines()[0], validation=wines()[1])


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"a,b,c\n1,2,3\n", "text/csv", "Unable to read data channel 'train'. Requested content-type is 'text/csv'"),
        (b"1,2,3,4,5\n", "application/x-recordio-protobuf", "no RecordIO: magic number"),
        (b"1,2,3\n", "text/libsvm", "content type 'text/libsvm' of channel 'train' is not supported"),
        (b"", "text/csv", "The data channel 'train' holds no data"),
        (b"1,,3\n", "text/csv", "Unable to read data channel 'train'"),
        (b"1,2,nan\n", "text/csv", "Row 1 of data channel 'train' holds a missing or infinite feature"),
        (b"1,2,3\n", "text/csv;label_size=2", "have 2 labels, one is needed"),
    ],
)
def test_data_that_cannot_be_read(builtin: Any, data: bytes, kind: str, message: str) -> None:
    size = 1 if "label_size" in kind else 2
    with pytest.raises(UserError, match=message):
        builtin("knn").train({**BASE, "feature_dim": size}, kind, train=data)


def test_recordio_is_trained_on(builtin: Any) -> None:
    def record(label: float, *values: float) -> recordio.TensorRecord:
        return recordio.TensorRecord(
            {"values": recordio.Tensor(np.array(values))}, {"values": recordio.Tensor(np.array([label]))}
        )

    knn = builtin("knn")
    data = recordio.write([record(0, 0, 0), record(3, 5, 5)])
    knn.train({**BASE, "k": 1, "feature_dim": 2}, "application/x-recordio-protobuf", train=data)
    assert knn.predict([[4, 4]]) == [{"predicted_label": 3.0}]


def test_ties() -> None:
    assert majority(np.array([[2.0, 1, 1, 2], [3, 3, 1, 2]])).tolist() == [1, 3]
    assert nearest(np.array([[1.0, 0, 1, 1, 0]]), 3).tolist() == [[1, 4, 0]]
    assert nearest(np.array([[1.0, 0, 2]]), 3).tolist() == [[1, 0, 2]]

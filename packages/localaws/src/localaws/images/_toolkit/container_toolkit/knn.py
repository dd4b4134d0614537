"""k-nearest neighbours as AWS's built-in algorithm has it: sample, reduce, index; majority or mean of k neighbours.

Sources: "k-NN Hyperparameters", "How the k-NN Algorithm Works", "k-NN Request and Response Formats" of the developer
guide. The index is exhaustive and exact (faiss.Flat).
"""

import json
from pathlib import Path
from typing import Any

from container_toolkit import base, tabular
from container_toolkit.algorithm import MODEL, AlgorithmTraining, BuiltInAlgorithm, model_file, report
from container_toolkit.base import UserError
from container_toolkit.rules import AUTO, Rule, choice, integer

RULES = {
    "feature_dim": integer(required=True),
    "k": integer(required=True),
    "predictor_type": choice("classifier", "regressor", required=True),
    "sample_size": integer(required=True),
    "dimension_reduction_target": integer(),
    "dimension_reduction_type": choice("sign", "fjlt"),
    "faiss_index_ivf_nlists": integer(default=AUTO, auto=True),
    "faiss_index_pq_m": Rule(int, choices=(1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)),
    "index_metric": choice("L2", "INNER_PRODUCT", "COSINE", default="L2"),
    "index_type": choice("faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ", default="faiss.Flat"),
    "mini_batch_size": integer(default=5000),
}

ALGORITHM = BuiltInAlgorithm("container_toolkit.knn", "k-nearest neighbors", RULES, ("train", "test"), labelled=True)

_SEED = 0  # AWS's samples differ from run to run; here a training can be repeated
_BLOCK = 1 << 22  # distances that are in memory at once


def check(parameters: dict[str, Any]) -> None:
    """What depends on several hyperparameters."""
    reduction, target = parameters["dimension_reduction_type"], parameters["dimension_reduction_target"]
    if reduction and not target:
        raise UserError("dimension_reduction_target is required when dimension_reduction_type is given.")
    if reduction and target >= parameters["feature_dim"]:
        raise UserError(
            f"dimension_reduction_target is {target}, it must be less than feature_dim ({parameters['feature_dim']})."
        )
    if parameters["index_type"] != "faiss.Flat":
        raise UserError(
            f"index_type {parameters['index_type']} is not supported by the local image, whose index is exact: use "
            "faiss.Flat."
        )


def train(training: AlgorithmTraining) -> None:
    """Sample, reduce, index, score the test channel, write the three files of the model."""
    import numpy as np

    parameters = training.parameters
    check(parameters)
    found = training.data("train")
    assert found is not None
    features, labels = found
    if len(features) > parameters["sample_size"]:
        chosen = np.random.default_rng(_SEED).choice(len(features), parameters["sample_size"], replace=False)
        features, labels = features[np.sort(chosen)], labels[np.sort(chosen)]
    elif len(features) < parameters["sample_size"]:
        report(
            f"sample_size is {parameters['sample_size']}, the train channel has {len(features)} records: all are used"
        )
    if parameters["k"] > len(features):
        report(f"k is {parameters['k']}, the index holds {len(features)} records: all of them are neighbours")
    meta: dict[str, Any] = {"k": parameters["k"], "predictor_type": parameters["predictor_type"]}
    meta |= {"index_metric": parameters["index_metric"], "feature_dim": parameters["feature_dim"], "version": "1.0"}
    if parameters["dimension_reduction_type"]:
        meta["dimension_reduction"] = {
            "type": parameters["dimension_reduction_type"],
            "seed": _SEED,
            "target_dim": parameters["dimension_reduction_target"],
            "input_dim": parameters["feature_dim"],
        }
    model = KNNModel(meta, reduce(features, meta).astype(np.float32), labels.astype(np.float32))
    model.save(base.model_dir())
    report(f"Index of {len(model.points)} points of dimension {model.points.shape[1]} is built")
    if (test := training.data("test")) is not None:
        evaluate(training, model, *test)


def evaluate(training: AlgorithmTraining, model: "KNNModel", features: Any, labels: Any) -> None:
    """The metrics of the test channel."""
    import numpy as np

    predicted = model(features, verbose=False)["predicted_label"]
    if model.meta["predictor_type"] == "regressor":
        mse = float(np.mean((predicted - labels) ** 2))
        training.score("test", "mse", mse)
        training.quality("test", "mse", mse, kind="loss")
        return
    accuracy = float(np.mean(predicted == labels))
    training.score("test", "accuracy", accuracy)
    training.quality("test", "accuracy", accuracy)


def reduce(features: Any, meta: dict[str, Any]) -> Any:
    """Project onto fewer dimensions: random signs, or a fast Johnson-Lindenstrauss transform."""
    import numpy as np

    how = meta.get("dimension_reduction")
    if not how:
        return features
    rng, target, width = np.random.default_rng(how["seed"]), how["target_dim"], how["input_dim"]
    if how["type"] == "sign":
        return features @ rng.choice([-1.0, 1.0], size=(width, target)) / np.sqrt(target)
    # Random signs spread every feature over all frequencies, of which some are kept: distances stay as they are.
    from scipy.fft import dct

    spread = dct(features * rng.choice([-1.0, 1.0], size=width), norm="ortho", axis=1)
    return spread[:, np.sort(rng.choice(width, target, replace=False))] * np.sqrt(width / target)


class KNNModel:
    """An index with its labels."""

    def __init__(self, meta: dict[str, Any], points: Any, labels: Any) -> None:
        import numpy as np

        self.meta, self.points, self.labels = meta, points, labels
        self.width = int(meta["feature_dim"])
        self._table = points.astype(np.float64)
        if meta["index_metric"] == "COSINE":
            self._table = _unit(self._table)
        self._norms = (self._table**2).sum(axis=1)

    def save(self, directory: Path) -> None:
        """The index, the labels as float32, and the metadata that may be edited to change k."""
        tabular.write_atomically(directory / MODEL, self.points.astype("<f4").tobytes())
        tabular.write_atomically(directory / f"{MODEL}.labels", self.labels.astype("<f4").tobytes())
        tabular.write_atomically(directory / f"{MODEL}.json", json.dumps(self.meta, indent=1).encode())

    def __call__(self, features: Any, *, verbose: bool) -> dict[str, Any]:
        """The predicted label; with `verbose` the distances and labels of the neighbours, nearest first."""
        import numpy as np

        queries = reduce(features, self.meta)
        if self.meta["index_metric"] == "COSINE":
            queries = _unit(queries)
        step = max(1, _BLOCK // len(self.points))
        blocks = [self._nearest(queries[start : start + step]) for start in range(0, len(queries), step)]
        distances, indices = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        near = self.labels[indices]
        predicted = near.mean(axis=1) if self.meta["predictor_type"] == "regressor" else majority(near)
        return {"predicted_label": predicted} | ({"distances": distances, "labels": near} if verbose else {})

    def _nearest(self, queries: Any) -> tuple[Any, Any]:
        """Distances and positions of the k nearest points; of equally near ones the first."""
        import numpy as np

        products = queries @ self._table.T
        if self.meta["index_metric"] == "L2":
            far = np.maximum((queries**2).sum(axis=1)[:, None] - 2 * products + self._norms, 0.0)
        else:
            far = -products  # the most alike first
        order = nearest(far, min(int(self.meta["k"]), len(self.points)))
        chosen = np.take_along_axis(far, order, axis=1)
        return np.sqrt(chosen) if self.meta["index_metric"] == "L2" else -chosen, order


def nearest(far: Any, k: int) -> Any:
    """Positions of the k smallest of each row, smallest first; of equal ones the first."""
    import numpy as np

    if k == far.shape[1]:
        return np.argsort(far, axis=1, kind="stable")
    order = np.sort(np.argpartition(far, k - 1, axis=1)[:, :k], axis=1)
    limit = np.take_along_axis(far, order, axis=1).max(axis=1, keepdims=True)
    # Where more than k are as near as the k-th, the partition has taken any of them.
    for row in np.flatnonzero((far <= limit).sum(axis=1) > k):
        order[row] = np.sort(np.argsort(far[row], kind="stable")[:k])
    ranks = np.argsort(np.take_along_axis(far, order, axis=1), axis=1, kind="stable")
    return np.take_along_axis(order, ranks, axis=1)


def _unit(rows: Any) -> Any:
    import numpy as np

    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def majority(labels: Any) -> Any:
    """The most frequent label of each row; of equally frequent ones the smallest."""
    import numpy as np

    classes, codes = np.unique(labels, return_inverse=True)
    codes = codes.reshape(labels.shape)
    counts = np.zeros((len(labels), len(classes)), dtype=np.int32)
    np.add.at(counts, (np.arange(len(labels))[:, None], codes), 1)
    return classes[counts.argmax(axis=1)]


def load(directory: Path) -> KNNModel:
    """The model of a directory; k and predictor_type are read from the metadata, as AWS documents."""
    import numpy as np

    try:
        meta = json.loads(model_file(directory, f"{MODEL}.json"))
        labels = np.frombuffer(model_file(directory, f"{MODEL}.labels"), "<f4")
        points = np.frombuffer(model_file(directory, MODEL), "<f4").reshape(len(labels), -1)
        return KNNModel(meta, points, labels)
    except (ValueError, KeyError) as error:
        raise UserError(f"The model archive holds no k-NN model of this image: {error}.") from None

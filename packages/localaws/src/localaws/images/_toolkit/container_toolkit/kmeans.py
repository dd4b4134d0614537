"""k-means as AWS's built-in algorithm has it: mini-batches over more centres than wanted, then Lloyd's method on those.

Sources: "K-Means Hyperparameters", "How K-Means Clustering Works", "K-Means Response Formats" of the developer guide;
the number of trials of `auto` and the log line of the training score were seen in public notebooks.
"""

from pathlib import Path
from typing import Any

from container_toolkit import base, mxnet_file, tabular
from container_toolkit.algorithm import MODEL, AlgorithmTraining, BuiltInAlgorithm, model_file, report
from container_toolkit.base import UserError
from container_toolkit.rules import AUTO, choice, flag, integer, names, number

RULES = {
    "feature_dim": integer(required=True),
    "k": integer(required=True),
    "epochs": integer(default=1),
    "eval_metrics": names("msd", "ssd", default=["msd"]),
    "extra_center_factor": integer(auto=True),
    "half_life_time_size": integer(low=0, default=0),
    "init_method": choice("random", "kmeans++", default="random"),
    "local_lloyd_init_method": choice("random", "kmeans++", default="kmeans++"),
    "local_lloyd_max_iter": integer(default=300),
    "local_lloyd_num_trials": integer(auto=True),
    "local_lloyd_tol": number(0, 0.0001, high=1),
    "mini_batch_size": integer(default=5000),
    "force_dense": flag(True),  # sent by the Python SDK; rows are dense here anyway
}

ALGORITHM = BuiltInAlgorithm("container_toolkit.kmeans", "k-means", RULES, ("train", "test"), labelled=False)

_SEED = 0
_AUTO_TRIALS = 10
_AUTO_FACTOR = 10


def train(training: AlgorithmTraining) -> None:
    """Find the centres, write them, score the train and test channels."""
    import numpy as np

    parameters = training.parameters
    found = training.data("train")
    assert found is not None
    rows, k = found[0], parameters["k"]
    if len(rows) < k:
        raise UserError(f"k is {k}, but the data channel 'train' has {len(rows)} records only.")
    factor = parameters["extra_center_factor"]
    wide = min(k * (_AUTO_FACTOR if factor == AUTO else factor), len(rows))
    rng = np.random.default_rng(_SEED)
    centres, weights = stream(rows, wide, parameters, rng)
    centres = shrink(centres, weights, parameters, rng)
    tabular.write_atomically(base.model_dir() / MODEL, mxnet_file.dump([centres]))
    model = KMeansModel(centres.astype(np.float32))
    training.quality("train", "msd", float(np.mean(model.squared(rows)[1])), kind="loss")
    training.progress(100)
    if (test := training.data("test")) is not None:
        squares = model.squared(test[0])[1]
        for name in parameters["eval_metrics"]:
            value = float(squares.mean() if name == "msd" else squares.sum())
            training.score("test", name, value)
            training.quality("test", name, value, kind="loss")


def nearest(rows: Any, centres: Any) -> tuple[Any, Any]:
    """The nearest centre of each row and the square of its distance."""
    import numpy as np

    squares = (rows**2).sum(axis=1)[:, None] - 2 * rows @ centres.T + (centres**2).sum(axis=1)
    chosen = squares.argmin(axis=1)
    return chosen, np.maximum(squares[np.arange(len(rows)), chosen], 0.0)


def start(rows: Any, weights: Any, count: int, method: str, rng: Any) -> Any:
    """First centres: rows at random, or far from each other (k-means++)."""
    import numpy as np

    if method == "random":
        return rows[rng.choice(len(rows), count, replace=False)].copy()
    chosen = [int(rng.choice(len(rows), p=weights / weights.sum()))]
    squares = nearest(rows, rows[chosen])[1]
    for _ in range(count - 1):
        odds = squares * weights
        total = odds.sum()
        chosen.append(int(rng.choice(len(rows), p=odds / total) if total > 0 else rng.integers(len(rows))))
        squares = np.minimum(squares, nearest(rows, rows[chosen[-1:]])[1])
    return rows[chosen].copy()


def stream(rows: Any, count: int, parameters: dict[str, Any], rng: Any) -> tuple[Any, Any]:
    """Web-scale k-means: each mini-batch moves the centres that are nearest to its rows; centres and their weights."""
    import numpy as np

    step, life = parameters["mini_batch_size"], parameters["half_life_time_size"]
    first = rows[: max(step, count)]
    centres = start(first, np.ones(len(first)), count, parameters["init_method"], rng)
    weights = np.zeros(count)
    for epoch in range(parameters["epochs"]):
        for begin in range(0, len(rows), step):
            batch = rows[begin : begin + step]
            if life:
                weights *= 0.5 ** (len(batch) / life)
            chosen, _squares = nearest(batch, centres)
            sums = np.zeros_like(centres)
            np.add.at(sums, chosen, batch)
            counts = np.bincount(chosen, minlength=count)
            moved = counts > 0
            total = (weights + counts)[moved, None]
            centres[moved] = (centres[moved] * weights[moved, None] + sums[moved]) / total
            weights += counts
        report(f"Epoch {epoch} of {parameters['epochs']} is done")
    return centres, weights


def shrink(centres: Any, weights: Any, parameters: dict[str, Any], rng: Any) -> Any:
    """From the many centres to k of them, by Lloyd's method on the weighted centres; the best of several trials."""
    k = parameters["k"]
    used = weights > 0
    if used.sum() <= k:
        return centres[(-weights).argsort(kind="stable")[:k]]
    points, weights = centres[used], weights[used]
    trials = parameters["local_lloyd_num_trials"]
    best, lowest = None, float("inf")
    for attempt in range(_AUTO_TRIALS if trials == AUTO else trials):
        found, loss = lloyd(points, weights, k, parameters, rng)
        report(f"local kmeans attempt #{attempt}. Current mean square distance {loss:f}")
        if loss < lowest:
            best, lowest = found, loss
    return best


def lloyd(points: Any, weights: Any, k: int, parameters: dict[str, Any], rng: Any) -> tuple[Any, float]:
    """Weighted Lloyd iterations from one start; an empty cluster keeps its centre."""
    import numpy as np

    centres = start(points, weights, k, parameters["local_lloyd_init_method"], rng)
    loss = float("inf")
    for _ in range(parameters["local_lloyd_max_iter"]):
        chosen, squares = nearest(points, centres)
        before, loss = loss, float((squares * weights).sum() / weights.sum())
        if before - loss <= parameters["local_lloyd_tol"] * loss:
            break
        totals = np.bincount(chosen, weights, minlength=k)
        sums = np.zeros_like(centres)
        np.add.at(sums, chosen, points * weights[:, None])
        centres[totals > 0] = sums[totals > 0] / totals[totals > 0, None]
    return centres, loss


class KMeansModel:
    """The centres."""

    def __init__(self, centres: Any) -> None:
        self._centres = centres.astype(float)
        self.width = centres.shape[1]

    def squared(self, rows: Any) -> tuple[Any, Any]:
        """The nearest centre of each row and the square of its distance."""
        return nearest(rows, self._centres)

    def __call__(self, features: Any, *, verbose: bool) -> dict[str, Any]:
        """The nearest centre and the Euclidean distance to it."""
        chosen, squares = self.squared(features)
        return {"closest_cluster": chosen.astype(float), "distance_to_cluster": squares**0.5}


def load(directory: Path) -> KMeansModel:
    """The model of a directory."""
    try:
        arrays = mxnet_file.load(model_file(directory, MODEL))
        assert isinstance(arrays, list)
        return KMeansModel(arrays[0])
    except (ValueError, IndexError, AssertionError) as error:
        raise UserError(f"The model archive holds no k-means model: {error}.") from None

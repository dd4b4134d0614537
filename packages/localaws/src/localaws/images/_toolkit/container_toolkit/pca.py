"""Principal components as AWS's built-in algorithm has them.

Sources: "PCA Hyperparameters", "How PCA Works", "PCA Response Formats" of the developer guide; the model file holds
`mean`, `s` and `v` with the largest component last, as seen in public notebooks.
"""

from pathlib import Path
from typing import Any

from container_toolkit import base, mxnet_file, tabular
from container_toolkit.algorithm import MODEL, AlgorithmTraining, BuiltInAlgorithm, model_file, report
from container_toolkit.base import UserError
from container_toolkit.rules import choice, flag, integer

RULES = {
    "feature_dim": integer(required=True),
    "mini_batch_size": integer(required=True),
    "num_components": integer(required=True),
    "algorithm_mode": choice("regular", "randomized", default="regular"),
    "extra_components": integer(low=-1, default=-1),
    "subtract_mean": flag(True),
}

ALGORITHM = BuiltInAlgorithm(
    "container_toolkit.pca",
    "principal component analysis",
    RULES,
    ("train", "test"),
    labelled=False,
    whole="projections",
    accepts=(tabular.JSON, tabular.JSON_LINES, tabular.RECORDIO),
)

_SEED = 0


def train(training: AlgorithmTraining) -> None:
    """Compute the components and write them."""
    import numpy as np

    parameters = training.parameters
    found = training.data("train")
    assert found is not None
    rows = found[0]
    count = parameters["num_components"]
    if count > min(rows.shape):
        raise UserError(
            f"num_components is {count}, it must not exceed the number of features ({rows.shape[1]}) or records "
            f"({len(rows)})."
        )
    mean = rows.mean(axis=0) if parameters["subtract_mean"] else np.zeros(rows.shape[1])
    values, components = (randomized if parameters["algorithm_mode"] == "randomized" else regular)(
        rows, mean, count, parameters
    )
    arrays = {"s": values, "v": components}
    if parameters["subtract_mean"]:
        arrays = {"mean": mean[None, :], **arrays}
    tabular.write_atomically(base.model_dir() / MODEL, mxnet_file.dump(arrays))
    kept = float((values**2).sum() / max(((rows - mean) ** 2).sum(), np.finfo(float).tiny))
    report(f"{count} components hold {kept:.6f} of the variance")
    if (test := training.data("test")) is not None:
        centred = test[0] - mean
        rest = centred - centred @ components @ components.T
        error = float((rest**2).sum() / max((centred**2).sum(), np.finfo(float).tiny))
        training.score("test", "reconstruction_error", error)


def regular(rows: Any, mean: Any, count: int, _parameters: dict[str, Any]) -> tuple[Any, Any]:
    """Singular values (ascending) and vectors (columns) from the sum of outer products."""
    import numpy as np

    gram = rows.T @ rows - len(rows) * np.outer(mean, mean)
    values, vectors = np.linalg.eigh(gram)
    return np.sqrt(np.maximum(values[-count:], 0)), vectors[:, -count:]


def randomized(rows: Any, mean: Any, count: int, parameters: dict[str, Any]) -> tuple[Any, Any]:
    """The same from random signs times each mini-batch: the sum of H X and of its columns, then one SVD."""
    import numpy as np

    extra = parameters["extra_components"]
    size = count + (max(10, count) if extra == -1 else extra)
    rng, step = np.random.default_rng(_SEED), parameters["mini_batch_size"]
    sketch, columns = np.zeros((size, rows.shape[1])), np.zeros(size)
    for start in range(0, len(rows), step):
        batch = rows[start : start + step]
        signs = rng.choice([-1.0, 1.0], size=(size, len(batch)))
        sketch += signs @ batch
        columns += signs.sum(axis=1)
    _left, values, vectors = np.linalg.svd((sketch - np.outer(columns, mean)) / np.sqrt(size), full_matrices=False)
    return values[:count][::-1], vectors[:count][::-1].T


class PCAModel:
    """The components, and the mean that is taken off first."""

    def __init__(self, mean: Any, components: Any) -> None:
        self._mean, self._components = mean, components
        self.width = len(components)

    def __call__(self, features: Any, *, verbose: bool) -> dict[str, Any]:
        """The projection of each record, the largest component last."""
        return {"projection": (features - self._mean) @ self._components}


def load(directory: Path) -> PCAModel:
    """The model of a directory."""
    try:
        arrays = mxnet_file.load(model_file(directory, MODEL))
        assert isinstance(arrays, dict)
        return PCAModel(arrays["mean"][0] if "mean" in arrays else 0.0, arrays["v"])
    except (ValueError, KeyError, AssertionError) as error:
        raise UserError(f"The model archive holds no PCA model: {error}.") from None

"""What the linear learner reports of a model, and how it chooses a threshold.

Source: "Tune a linear learner model" and "Linear Learner Hyperparameters" of the developer guide.
"""

from typing import Any


def binary(scores: Any, truth: Any, threshold: float, beta: float) -> dict[str, float]:
    """Scores of a binary classifier whose label is 1 where the score exceeds the threshold."""
    found = scores > threshold
    hits = float((found & (truth == 1)).sum())
    precision = hits / max(float(found.sum()), 1.0)
    recall = hits / max(float((truth == 1).sum()), 1.0)
    return {
        "binary_classification_accuracy": float((found == (truth == 1)).mean()),
        f"binary_f_{beta:.3f}": f_score(precision, recall, beta),
        "precision": precision,
        "recall": recall,
        "roc_auc_score": auc(scores, truth),
    }


def f_score(precision: Any, recall: Any, beta: float) -> Any:
    """F-beta, 0 where both are 0."""
    import numpy as np

    below = beta**2 * precision + recall
    value = np.divide((1 + beta**2) * precision * recall, below, out=np.zeros_like(below * 1.0), where=below > 0)
    return float(value) if np.ndim(value) == 0 else value


def auc(scores: Any, truth: Any) -> float:
    """The area under the ROC curve from ranks; 0.5 when only one class occurs."""
    import numpy as np

    _values, codes, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    positive = float((truth == 1).sum())
    negative = len(truth) - positive
    if not positive or not negative:
        return 0.5
    return float((ranks[truth == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def threshold(scores: Any, truth: Any, parameters: dict[str, Any], default: float) -> tuple[float, float]:
    """The threshold that serves the model selection criterion best, and the value of the criterion (more is better).

    Every cut between two neighbouring scores is tried.
    """
    import numpy as np

    criterion = parameters["binary_classifier_model_selection_criteria"]
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order] == 1)
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # a cut cannot part equal scores
    found, hits = ends + 1.0, hits[ends].astype(float)
    positive = max(float((truth == 1).sum()), 1.0)
    precision, recall = hits / found, hits / positive
    accuracy = (hits + (len(truth) - positive) - (found - hits)) / len(truth)
    if criterion == "f_beta" or criterion == "f1":
        value = f_score(precision, recall, 1.0 if criterion == "f1" else parameters["f_beta"])
    elif criterion == "precision_at_target_recall":
        value = np.where(recall >= parameters["target_recall"], precision, -1.0)
    elif criterion == "recall_at_target_precision":
        value = np.where(precision >= parameters["target_precision"], recall, -1.0)
    elif criterion == "accuracy":
        value = accuracy
    else:  # a loss decides on the model, and its own threshold stays
        return default, float("nan")
    best = int(np.argmax(value))
    below = ranked[ends[best] + 1] if ends[best] + 1 < len(ranked) else ranked[-1] - 1.0
    return float((ranked[ends[best]] + below) / 2), float(value[best])


def multiclass(outputs: Any, truth: Any, top: int, beta: float) -> dict[str, float]:
    """Scores of a classifier over several classes."""
    import numpy as np

    truth = truth.astype(int)
    classes, found = outputs.shape[1], outputs.argmax(axis=1)
    matrix = np.bincount(truth * classes + found, minlength=classes**2).reshape(classes, classes)
    hits = matrix.diagonal().astype(float)
    precision = hits / np.maximum(matrix.sum(axis=0), 1)
    recall = hits / np.maximum(matrix.sum(axis=1), 1)
    own = np.take_along_axis(outputs, truth[:, None], axis=1)
    rank = (outputs > own).sum(axis=1)  # classes that are preferred to the true one
    macro = precision.mean(), recall.mean()
    return {
        "multiclass_accuracy": float(hits.sum() / len(truth)),
        f"multiclass_top_k_accuracy_{top}": float((rank < top).mean()),
        "dcg": float((1 / np.log2(rank + 2)).mean()),
        "macro_recall": float(macro[1]),
        "macro_precision": float(macro[0]),
        f"macro_f_{beta:.3f}": float(f_score(precision, recall, beta).mean()),
    }


def regression(outputs: Any, truth: Any) -> dict[str, float]:
    """Losses of a regressor, and r2."""
    rest = outputs - truth
    mse = float((rest**2).mean())
    spread = float(((truth - truth.mean()) ** 2).mean())
    return {
        "mse": mse,
        "absolute_loss": float(abs(rest).mean()),
        "rmse": mse**0.5,
        "r2": 1 - mse / spread if spread else float(mse == 0),
    }


LOSSES = ("mse", "absolute_loss", "rmse")
"""Metrics of which less is better: the log calls them loss."""

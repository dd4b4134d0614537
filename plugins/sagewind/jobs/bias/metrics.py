"""The bias metrics of SageMaker Clarify, computed from counts.

Everywhere `d` is the facet group that is looked at (the sensitive one) and `a` are all other rows; y is the observed
label, y' the predicted one, 1 the positive outcome. n is a number of rows: n_d(1) has y = 1 in group d, n'_d(1) has
y' = 1. P_a and P_d are the shares of the outcomes in each group. Sources: developer guide (one page per metric) and
Clarify's metric library, whose conventions hold where the guide is silent: 0/0 is 0, x/0 is infinite, the difference
of two infinities is 0, and KL, JS, LP, TVD and KS leave out an outcome that one group lacks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

#: Neighbours that FT asks, and the number of rows of group a up to which it asks one only (Clarify's library).
NEIGHBOURS, FEW_ROWS = 5, 9


class Undefined(Exception):
    """A metric that these rows do not define; the text says why."""


@dataclass(frozen=True)
class FacetRows:
    """The rows of one facet: who is in group d, and whatever else is known of them.

    `features` are the numeric model inputs without facet, label and prediction, or None where one is no number.
    """

    facet: Bools
    label: Bools | None = None
    predicted: Bools | None = None
    group: Codes | None = None
    features: Floats | None = None


@dataclass(frozen=True)
class ConfusionMatrix:
    """The confusion matrix of one group, by y and y'."""

    true_pos: int
    false_pos: int
    false_neg: int
    true_neg: int

    @property
    def rows(self) -> int:
        """All rows of the group."""
        return self.true_pos + self.false_pos + self.false_neg + self.true_neg

    @property
    def positives(self) -> int:
        """n(1)."""
        return self.true_pos + self.false_neg

    @property
    def negatives(self) -> int:
        """n(0)."""
        return self.true_neg + self.false_pos

    @property
    def accepted(self) -> int:
        """n'(1)."""
        return self.true_pos + self.false_pos

    @property
    def rejected(self) -> int:
        """n'(0)."""
        return self.true_neg + self.false_neg


@dataclass(frozen=True)
class BiasMetric:
    """A metric's name, the description that analysis.json gives it, and how it is computed."""

    name: str
    description: str
    value: Callable[[FacetRows], float]


def ratio(numerator: float, denominator: float) -> float:
    """A quotient with Clarify's conventions for a denominator of zero."""
    if denominator:
        return float(numerator / denominator)
    return math.copysign(math.inf, numerator) if numerator else 0.0


def difference(left: float, right: float) -> float:
    """left - right, and 0 for two equal infinities."""
    return 0.0 if left == right else left - right


def class_imbalance(rows: FacetRows) -> float:
    """CI = (n_a - n_d) / (n_a + n_d)."""
    in_d, in_a = _sizes(rows)
    return (in_a - in_d) / (in_a + in_d)


def label_proportions(rows: FacetRows) -> float:
    """DPL = n_a(1)/n_a - n_d(1)/n_d."""
    return _proportions(rows, _label(rows))


def kullback_leibler(rows: FacetRows) -> float:
    """KL = sum over y of P_a(y) ln(P_a(y) / P_d(y))."""
    in_a, in_d = _shared_outcomes(rows)
    return float(np.sum(in_a * np.log(in_a / in_d)))


def jensen_shannon(rows: FacetRows) -> float:
    """JS = (KL(P_a, P) + KL(P_d, P)) / 2 with P = (P_a + P_d) / 2."""
    in_a, in_d = _shared_outcomes(rows)
    middle = (in_a + in_d) / 2
    return float(np.sum(in_a * np.log(in_a / middle)) + np.sum(in_d * np.log(in_d / middle))) / 2


def lp_norm(rows: FacetRows) -> float:
    """LP = (sum over y of |P_a(y) - P_d(y)|^2)^(1/2)."""
    return float(np.linalg.norm(_outcome_gaps(rows)))


def total_variation(rows: FacetRows) -> float:
    """TVD = (sum over y of |P_a(y) - P_d(y)|) / 2."""
    return float(np.sum(np.abs(_outcome_gaps(rows)))) / 2


def kolmogorov_smirnov(rows: FacetRows) -> float:
    """KS = max over y of |P_a(y) - P_d(y)|."""
    return float(np.max(np.abs(_outcome_gaps(rows))))


def label_disparity(rows: FacetRows) -> float:
    """CDDL = (1/n) sum over groups i of n_i DD_i, DD = n_d(0)/n(0) - n_d(1)/n(1)."""
    return _disparity(rows, _label(rows))


def predicted_proportions(rows: FacetRows) -> float:
    """DPPL = n'_a(1)/n_a - n'_d(1)/n_d."""
    return _proportions(rows, _predicted(rows))


def disparate_impact(rows: FacetRows) -> float:
    """DI = (n'_d(1)/n_d) / (n'_a(1)/n_a)."""
    in_d, in_a = _sizes(rows)
    predicted = _predicted(rows)
    return ratio(float(np.sum(predicted & rows.facet)) / in_d, float(np.sum(predicted & ~rows.facet)) / in_a)


def conditional_acceptance(rows: FacetRows) -> float:
    """DCA (DCAcc in the guide) = n_a(1)/n'_a(1) - n_d(1)/n'_d(1)."""
    in_a, in_d = _counts(rows)
    return difference(ratio(in_a.positives, in_a.accepted), ratio(in_d.positives, in_d.accepted))


def conditional_rejection(rows: FacetRows) -> float:
    """DCR = n_d(0)/n'_d(0) - n_a(0)/n'_a(0)."""
    in_a, in_d = _counts(rows)
    return difference(ratio(in_d.negatives, in_d.rejected), ratio(in_a.negatives, in_a.rejected))


def specificity(rows: FacetRows) -> float:
    """SD = TN_d/(TN_d + FP_d) - TN_a/(TN_a + FP_a)."""
    in_a, in_d = _counts(rows)
    return difference(ratio(in_d.true_neg, in_d.negatives), ratio(in_a.true_neg, in_a.negatives))


def recall(rows: FacetRows) -> float:
    """RD = TP_a/(TP_a + FN_a) - TP_d/(TP_d + FN_d)."""
    in_a, in_d = _counts(rows)
    return difference(ratio(in_a.true_pos, in_a.positives), ratio(in_d.true_pos, in_d.positives))


def acceptance_rates(rows: FacetRows) -> float:
    """DAR = TP_a/n'_a(1) - TP_d/n'_d(1)."""
    in_a, in_d = _counts(rows)
    return difference(ratio(in_a.true_pos, in_a.accepted), ratio(in_d.true_pos, in_d.accepted))


def rejection_rates(rows: FacetRows) -> float:
    """DRR = TN_d/n'_d(0) - TN_a/n'_a(0)."""
    in_a, in_d = _counts(rows)
    return difference(ratio(in_d.true_neg, in_d.rejected), ratio(in_a.true_neg, in_a.rejected))


def accuracy(rows: FacetRows) -> float:
    """AD = (TP_a + TN_a)/n_a - (TP_d + TN_d)/n_d."""
    in_a, in_d = _counts(rows)
    return (in_a.true_pos + in_a.true_neg) / in_a.rows - (in_d.true_pos + in_d.true_neg) / in_d.rows


def treatment_equality(rows: FacetRows) -> float:
    """TE = FN_d/FP_d - FN_a/FP_a."""
    in_a, in_d = _counts(rows)
    return difference(ratio(in_d.false_neg, in_d.false_pos), ratio(in_a.false_neg, in_a.false_pos))


def predicted_disparity(rows: FacetRows) -> float:
    """CDDPL: as CDDL, of y'."""
    return _disparity(rows, _predicted(rows))


def flip_test(rows: FacetRows) -> float:
    """FT = (F+ - F-)/n_d: F+ are rows of d with y' = 1 whose nearest rows of a mostly have y' = 0, F- the reverse.

    The guide words the signs the other way round; Clarify's library, whose values are published, counts them so.
    Neighbours are the five nearest by Euclidean distance, one where a has at most nine rows.
    """
    in_d, in_a = _sizes(rows)
    predicted = _predicted(rows)
    if rows.features is None or not rows.features.shape[1]:
        raise Undefined("the flip test needs features that are all numbers, without gaps")
    from sklearn.neighbors import KNeighborsClassifier

    neighbours = NEIGHBOURS if in_a > FEW_ROWS else 1
    model = KNeighborsClassifier(n_neighbors=neighbours).fit(rows.features[~rows.facet], predicted[~rows.facet])
    expected = model.predict(rows.features[rows.facet])
    actual = predicted[rows.facet]
    return float(np.sum(actual & ~expected) - np.sum(~actual & expected)) / in_d


def generalized_entropy(rows: FacetRows) -> float:
    """GE = sum over rows of ((b/b')^2 - 1) / (2 n), with the benefit b = y' - y + 1 and b' its mean; no facet in it."""
    benefit = _predicted(rows).astype(np.float64) - _label(rows).astype(np.float64) + 1
    mean = float(benefit.mean())
    if not mean:
        raise Undefined("every prediction is a false negative")
    return float(np.sum((benefit / mean) ** 2 - 1)) / (2 * len(benefit))


# In the order of analysis.json, which is that of the names.
PRE_TRAINING = (
    BiasMetric("CDDL", "Conditional Demographic Disparity in Labels (CDDL)", label_disparity),
    BiasMetric("CI", "Class Imbalance (CI)", class_imbalance),
    BiasMetric("DPL", "Difference in Positive Proportions in Labels (DPL)", label_proportions),
    BiasMetric("JS", "Jensen-Shannon Divergence (JS)", jensen_shannon),
    BiasMetric("KL", "Kullback-Liebler Divergence (KL)", kullback_leibler),
    BiasMetric("KS", "Kolmogorov-Smirnov Distance (KS)", kolmogorov_smirnov),
    BiasMetric("LP", "L-p Norm (LP)", lp_norm),
    BiasMetric("TVD", "Total Variation Distance (TVD)", total_variation),
)
POST_TRAINING = (
    BiasMetric("AD", "Accuracy Difference (AD)", accuracy),
    BiasMetric("CDDPL", "Conditional Demographic Disparity in Predicted Labels (CDDPL)", predicted_disparity),
    BiasMetric("DAR", "Difference in Acceptance Rates (DAR)", acceptance_rates),
    BiasMetric("DCA", "Difference in Conditional Acceptance (DCA)", conditional_acceptance),
    BiasMetric("DCR", "Difference in Conditional Rejection (DCR)", conditional_rejection),
    BiasMetric("DI", "Disparate Impact (DI)", disparate_impact),
    BiasMetric("DPPL", "Difference in Positive Proportions in Predicted Labels (DPPL)", predicted_proportions),
    BiasMetric("DRR", "Difference in Rejection Rates (DRR)", rejection_rates),
    BiasMetric("FT", "Flip Test (FT)", flip_test),
    BiasMetric("GE", "Generalized Entropy (GE)", generalized_entropy),
    BiasMetric("RD", "Recall Difference (RD)", recall),
    BiasMetric("SD", "Specificity Difference (SD)", specificity),
    BiasMetric("TE", "Treatment Equality (TE)", treatment_equality),
)


def compute(metrics: Iterable[BiasMetric], rows: FacetRows) -> list[dict[str, object]]:
    """Entries of analysis.json: name, description, value; an undefined metric has the value null and an `error`.

    An infinite value is the text "Infinity" or "-Infinity", as Clarify writes it.
    """
    return [_entry(metric, rows) for metric in metrics]


def _entry(metric: BiasMetric, rows: FacetRows) -> dict[str, object]:
    entry: dict[str, object] = {"name": metric.name, "description": metric.description, "value": None}
    try:
        value = metric.value(rows)
    except Undefined as error:
        return {**entry, "error": str(error)}
    return {**entry, "value": value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")}


def _sizes(rows: FacetRows) -> tuple[int, int]:
    in_d = int(rows.facet.sum())
    in_a = len(rows.facet) - in_d
    if not in_d:
        raise Undefined("no row belongs to the facet's group")
    if not in_a:
        raise Undefined("every row belongs to the facet's group, there is none to compare it with")
    return in_d, in_a


def _label(rows: FacetRows) -> Bools:
    if rows.label is None:
        raise Undefined("there is no ground truth")
    return rows.label


def _predicted(rows: FacetRows) -> Bools:
    if rows.predicted is None:
        raise Undefined("there are no predictions")
    return rows.predicted


def _proportions(rows: FacetRows, positive: Bools) -> float:
    in_d, in_a = _sizes(rows)
    return float(np.sum(positive & ~rows.facet)) / in_a - float(np.sum(positive & rows.facet)) / in_d


def _counts(rows: FacetRows) -> tuple[ConfusionMatrix, ConfusionMatrix]:
    """The confusion matrices of a and of d."""
    _sizes(rows)
    label, predicted = _label(rows), _predicted(rows)

    def of(members: Bools) -> ConfusionMatrix:
        y, guess = label[members], predicted[members]
        return ConfusionMatrix(
            int(np.sum(y & guess)), int(np.sum(~y & guess)), int(np.sum(y & ~guess)), int(np.sum(~y & ~guess))
        )

    return of(~rows.facet), of(rows.facet)


def _shared_outcomes(rows: FacetRows) -> tuple[Floats, Floats]:
    """P_a and P_d over the outcomes that occur in both groups."""
    in_d, in_a = _sizes(rows)
    label = _label(rows)
    positives = np.array([np.sum(label & ~rows.facet), np.sum(label & rows.facet)], dtype=np.float64)
    sizes = np.array([in_a, in_d], dtype=np.float64)
    shares = np.stack([(sizes - positives) / sizes, positives / sizes])
    kept = shares[(shares > 0).all(axis=1)]
    if not len(kept):
        raise Undefined("the groups have no outcome in common")
    return kept[:, 0], kept[:, 1]


def _outcome_gaps(rows: FacetRows) -> Floats:
    in_a, in_d = _shared_outcomes(rows)
    return in_a - in_d


def _disparity(rows: FacetRows, positive: Bools) -> float:
    if rows.group is None:
        raise Undefined("there is no group variable: name it as group_variable in the analysis configuration")
    if positive.all() or not positive.any():
        raise Undefined(f"there are no {'negative' if positive.all() else 'positive'} outcomes")
    total = 0.0
    for code in np.unique(rows.group):
        members = rows.group == code
        lost, won = members & ~positive, members & positive
        rejected = ratio(float(np.sum(lost & rows.facet)), float(np.sum(lost)))
        accepted = ratio(float(np.sum(won & rows.facet)), float(np.sum(won)))
        total += float(np.sum(members)) * (rejected - accepted)
    return total / len(positive)

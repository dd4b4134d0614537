"""Every metric against its published definition: the guide's worked examples, Clarify's published values, a hand-made
table whose definitions are written out here, and Adult."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagewind.jobs.bias import metrics
from sagewind.jobs.bias.metrics import FacetRows


def values(rows: FacetRows, chosen=(*metrics.PRE_TRAINING, *metrics.POST_TRAINING)) -> dict:
    return {entry["name"]: entry["value"] for entry in metrics.compute(chosen, rows)}


def cells(in_a: dict[tuple[int, int], int], in_d: dict[tuple[int, int], int]) -> FacetRows:
    """Rows from the counts of (label, prediction) in each group."""
    table = [(facet, *pair) for facet, counts in ((0, in_a), (1, in_d)) for pair, n in counts.items() for _ in range(n)]
    facet, label, predicted = np.array(table, dtype=bool).T
    return FacetRows(facet, label, predicted, np.zeros(len(table), dtype=np.int64))


# Hand-made: group a has TP 30, FP 10, FN 20, TN 40; group d has TP 10, FP 15, FN 5, TN 20.
HAND = cells({(1, 1): 30, (0, 1): 10, (1, 0): 20, (0, 0): 40}, {(1, 1): 10, (0, 1): 15, (1, 0): 5, (0, 0): 20})


def test_a_hand_made_table_by_the_published_definitions() -> None:
    n_a, n_d = 100, 50
    p_a, p_d = 50 / 100, 15 / 50  # P(1): observed positives, n_a(1)/n_a and n_d(1)/n_d
    q_a, q_d = 1 - p_a, 1 - p_d  # P(0)
    middle = ((p_a + p_d) / 2, (q_a + q_d) / 2)
    expected = {
        "CI": (n_a - n_d) / (n_a + n_d),
        "DPL": p_a - p_d,
        "KL": p_a * math.log(p_a / p_d) + q_a * math.log(q_a / q_d),
        "JS": (
            p_a * math.log(p_a / middle[0]) + q_a * math.log(q_a / middle[1])
            + p_d * math.log(p_d / middle[0]) + q_d * math.log(q_d / middle[1])
        ) / 2,
        "LP": math.sqrt((p_a - p_d) ** 2 + (q_a - q_d) ** 2),
        "TVD": (abs(p_a - p_d) + abs(q_a - q_d)) / 2,
        "KS": max(abs(p_a - p_d), abs(q_a - q_d)),
        "CDDL": 35 / 85 - 15 / 65,  # one stratum: n_d(0)/n(0) - n_d(1)/n(1)
        "DPPL": 40 / 100 - 25 / 50,
        "DI": (25 / 50) / (40 / 100),
        "DCA": 50 / 40 - 15 / 25,  # n_a(1)/n'_a(1) - n_d(1)/n'_d(1)
        "DCR": 35 / 25 - 50 / 60,  # n_d(0)/n'_d(0) - n_a(0)/n'_a(0)
        "RD": 30 / 50 - 10 / 15,
        "SD": 20 / 35 - 40 / 50,
        "DAR": 30 / 40 - 10 / 25,
        "DRR": 20 / 25 - 40 / 60,
        "AD": 70 / 100 - 30 / 50,
        "CDDPL": 25 / 85 - 25 / 65,
        "TE": 5 / 15 - 20 / 10,
        # 25 false positives of benefit 2, 25 false negatives of benefit 0, 100 right ones of benefit 1: the mean is 1.
        "GE": (25 * (4 - 1) + 25 * (0 - 1)) / (2 * 150),
        "FT": None,  # there are no features
    }  # fmt: skip
    assert {name: value if value is None else pytest.approx(value, abs=1e-12) for name, value in expected.items()} == (
        values(HAND)
    )


EXAMPLES = {
    # developer guide, the page of each metric
    "KL": (cells({(1, 1): 80, (0, 0): 20}, {(1, 1): 30, (0, 0): 70}), 0.53, 0.005),
    "DCA": (cells({(1, 1): 60, (1, 0): 10, (0, 0): 30}, {(1, 1): 20, (0, 1): 10, (0, 0): 20}), 0.5, 1e-9),
    "AD": (
        cells({(1, 1): 60, (0, 1): 10, (1, 0): 20, (0, 0): 10}, {(1, 1): 40, (0, 1): 10, (1, 0): 40, (0, 0): 10}),
        0.2,
        1e-9,
    ),
    "TE": (
        cells({(1, 0): 8, (0, 1): 6, (1, 1): 43, (0, 0): 43}, {(1, 0): 5, (0, 1): 2, (1, 1): 20, (0, 0): 23}),
        5 / 2 - 8 / 6,
        1e-9,
    ),
    "RD": (
        cells({(0, 0): 20, (1, 0): 5, (0, 1): 10, (1, 1): 65}, {(0, 0): 18, (1, 0): 7, (0, 1): 5, (1, 1): 20}),
        65 / 70 - 20 / 27,
        1e-9,
    ),
    "SD": (
        cells({(0, 0): 20, (1, 0): 5, (0, 1): 10, (1, 1): 65}, {(0, 0): 18, (1, 0): 7, (0, 1): 5, (1, 1): 20}),
        18 / 23 - 20 / 30,
        1e-9,
    ),
    # 46 % of the refused and 32 % of the accepted are women
    "CDDL": (cells({(0, 0): 54, (1, 1): 68}, {(0, 0): 46, (1, 1): 32}), 0.14, 1e-9),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_guides_worked_examples(name) -> None:
    rows, expected, tolerance = EXAMPLES[name]
    assert values(rows)[name] == pytest.approx(expected, abs=tolerance)


def test_clarifys_published_values() -> None:
    """Values that Clarify's own unit tests publish for twelve rows of M and F (group F)."""
    facet = np.array(list("MFFMFMFFMMFF")) == "F"
    label = np.array([0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0], dtype=bool)
    predicted = np.array([1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0], dtype=bool)
    expected = {
        "CI": -1 / 6, "DI": 10 / 7, "DCA": 1 / 4, "DCR": 1 / 3, "RD": -2 / 3, "SD": 1 / 6, "DRR": 1 / 3,
        "AD": -13 / 35, "DAR": -1 / 2, "TE": -1 / 2, "GE": 0.24556213017751485,
    }  # fmt: skip
    measured = values(FacetRows(facet, label, predicted))
    assert {name: measured[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    other = values(FacetRows(~facet, label, predicted))
    for name in set(expected) - {"DI", "GE"}:
        assert other[name] == pytest.approx(-expected[name], abs=1e-12)
    assert other["DI"] == pytest.approx(7 / 10)


def test_clarifys_published_conditional_disparity() -> None:
    facet = np.array(list("MMMFFFFMMMMFMMFMFFMMFMMF")) == "F"
    label = np.array([0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0], dtype=bool)
    group = np.array([1, 0, 2, 2, 1, 1, 2, 1, 1, 2, 0, 1, 2, 0, 1, 1, 1, 2, 0, 1, 0, 0, 1, 1])
    assert values(FacetRows(facet, label, group=group))["CDDL"] == pytest.approx(0.3982142857, abs=1e-10)
    assert values(FacetRows(~facet, label, group=group))["CDDL"] == pytest.approx(-0.3982142857, abs=1e-10)


FEATURES = [
    "0000111", "1000101", "1010101", "0000011", "1001101", "0010111", "1000111", "1100111", "0010111", "1011110",
    "1000110", "1010111", "1000011", "0000111", "0010101", "0010111", "0101001", "1000011", "0010011", "1000110",
    "1010011", "0100011", "1010101", "0001110",
]  # fmt: skip


def test_clarifys_published_flip_test() -> None:
    features = np.array([[int(cell) for cell in row] for row in FEATURES], dtype=float)
    predicted = np.array([1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1], dtype=bool)
    rows = FacetRows(features[:, 0] == 1, None, predicted, features=features)
    assert values(rows)["FT"] == pytest.approx(-3 / 13)


def test_infinities_and_undefined_metrics() -> None:
    rows = cells({(1, 0): 3, (0, 0): 3}, {(1, 1): 2, (1, 0): 2})
    measured = values(rows)
    assert measured["DI"] == "Infinity"  # nobody of a is predicted positive
    assert measured["DCA"] == "Infinity"
    assert measured["TE"] == 0.0  # 2/0 - 3/0
    entries = {entry["name"]: entry for entry in metrics.compute(metrics.PRE_TRAINING, rows)}
    assert entries["CI"] == {"name": "CI", "description": "Class Imbalance (CI)", "value": (6 - 4) / 10}
    everybody = FacetRows(np.ones(3, dtype=bool), np.ones(3, dtype=bool), np.zeros(3, dtype=bool))
    reasons = {entry["name"]: entry["error"] for entry in metrics.compute(metrics.PRE_TRAINING, everybody)}
    assert reasons["CI"].startswith("every row belongs to the facet's group")
    assert reasons["CDDL"].startswith("there is no group variable")
    assert values(everybody)["GE"] is None  # every prediction is a false negative
    nobody = FacetRows(np.zeros(3, dtype=bool), np.ones(3, dtype=bool))
    assert {value for name, value in values(nobody).items()} == {None}
    apart = cells({(1, 1): 3}, {(0, 0): 3})
    assert (values(apart)["KL"], values(apart)["DPL"]) == (None, 1.0)


@st.composite
def tables(draw) -> FacetRows:
    size = draw(st.integers(4, 40))
    columns = [np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size))) for _ in range(3)]
    columns[0][:2] = [True, False]
    return FacetRows(*columns, group=np.array(draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))))


ANTISYMMETRIC = ("CI", "DPL", "CDDL", "DPPL", "CDDPL", "DCA", "DCR", "RD", "SD", "DAR", "DRR", "AD")


@settings(max_examples=80, deadline=None)
@given(rows=tables())
def test_swapping_the_groups_turns_the_sign(rows) -> None:
    swapped = values(FacetRows(~rows.facet, rows.label, rows.predicted, rows.group))
    measured = values(rows)
    for name in ANTISYMMETRIC:
        if isinstance(measured[name], float):
            # Within a stratum that lacks an outcome the share is 0 by convention, which has no mirror image.
            if name.startswith("CDD") and _lacks_an_outcome(rows, rows.label if name == "CDDL" else rows.predicted):
                continue
            assert swapped[name] == pytest.approx(-measured[name], abs=1e-12), name
    for name in ("JS", "LP", "TVD", "KS", "GE"):
        assert swapped[name] == (measured[name] if measured[name] is None else pytest.approx(measured[name], abs=1e-12))


def _lacks_an_outcome(rows: FacetRows, outcome) -> bool:
    return any(len(set(outcome[rows.group == code].tolist())) < 2 for code in set(rows.group.tolist()))


@pytest.mark.parametrize(("facet_column", "value"), [("sex", "Female"), ("race", "Black")])
def test_adult_against_an_independent_computation(shared_data, facet_column, value) -> None:
    """The eight pre-training metrics, to 1e-12, from cross tables of pandas and functions of scipy."""
    pandas = pytest.importorskip("pandas")
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import entropy

    names = [
        "age",
        "workclass",
        "fnlwgt",
        "education",
        "education_num",
        "marital",
        "occupation",
        "relationship",
        "race",
        "sex",
        "gain",
        "loss",
        "hours",
        "country",
        "income",
    ]
    path = shared_data / "adult.data"
    if not path.exists():
        pytest.skip(f"no {path}")
    frame = pandas.read_csv(path, names=names, skipinitialspace=True).dropna()
    facet, label = frame[facet_column] == value, frame["income"] == ">50K"
    group = frame["marital"].astype("category").cat.codes
    measured = values(
        FacetRows(facet.to_numpy(), label.to_numpy(), group=group.to_numpy().astype(np.int64)), metrics.PRE_TRAINING
    )
    shares = pandas.crosstab(facet, label, normalize="index").to_numpy()  # rows: rest, group; columns: 0, 1
    gap = np.abs(shares[0] - shares[1])
    strata = frame.assign(d=facet, y=label).groupby("marital")
    weighted = 0.0
    for _, stratum in strata:
        outcomes = stratum.groupby("y")["d"].mean()
        weighted += len(stratum) * (outcomes.get(False, 0.0) - outcomes.get(True, 0.0))
    expected = {
        "CI": float(1 - 2 * facet.mean()),
        "DPL": float(label[~facet].mean() - label[facet].mean()),
        "KL": float(entropy(shares[0], shares[1])),
        "JS": float(jensenshannon(shares[0], shares[1])) ** 2,
        "LP": float(np.sqrt((gap**2).sum())),
        "TVD": float(gap.sum() / 2),
        "KS": float(gap.max()),
        "CDDL": weighted / len(frame),
    }
    assert measured == pytest.approx(expected, abs=1e-12)
    assert len(frame) == 32_561

"""What AWS's container accepts and refuses, in its words."""

from __future__ import annotations

import contextlib

import pytest
from container_toolkit.base import UserError
from container_toolkit.xgb_hyperparameters import SPECS, Interval, validate
from hypothesis import given
from hypothesis import strategies as st


def test_values_are_parsed_and_aliases_resolved() -> None:
    given = {
        "num_round": "10",
        "learning_rate": "0.2",
        "reg_lambda": "1",
        "min_split_loss": "0",
        "eval_metric": "auc, error@0.4",
        "objective": "binary:logistic",
        "tree_method": "hist",
        "monotone_constraints": "(1, 0, -1)",
        "interaction_constraints": "[[1, 2], [3]]",
        "_tuning_objective_metric": "validation:auc",
    }
    assert validate(given) == {
        "num_round": 10,
        "eta": 0.2,
        "lambda": 1.0,
        "gamma": 0.0,
        "eval_metric": ["auc", "error@0.4"],
        "objective": "binary:logistic",
        "tree_method": "hist",
        "monotone_constraints": (1, 0, -1),
        "interaction_constraints": [[1, 2], [3]],
        "_tuning_objective_metric": "validation:auc",
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_round": None}, "Missing required hyperparameter: num_round"),
        ({"max_dept": "3"}, "Extraneous hyperparameter found: max_dept"),
        ({"max_depth": "3.5"}, "Hyperparameter max_depth: could not parse value (caused by ValueError)"),
        ({"eta": "fast"}, "Hyperparameter eta: could not parse value (caused by ValueError)"),
        ({"eta": "1.5"}, "Hyperparameter eta: 1.5 is not in [0, 1]"),
        ({"subsample": "0"}, "Hyperparameter subsample: 0.0 is not in (0, 1]"),
        ({"num_round": "0"}, "Hyperparameter num_round: 0 is not in [1, +inf)"),
        ({"booster": "tree"}, "Hyperparameter booster: tree is not in ['gbtree', 'gblinear', 'dart']"),
        (
            {"eval_metric": "auc,speed", "objective": "binary:hinge"},
            "Hyperparameter eval_metric: value ['auc', 'speed'",
        ),
        ({"eval_metric": "auc"}, "Metric 'auc' can only be applied for classification and ranking problems."),
        ({"eval_metric": "rmse@1"}, "Metric 'rmse@1' is not supported."),
        ({"eval_metric": "error@x"}, "Threshold value 't' in 'error@t' expects float input."),
        ({"objective": "multi:softprob"}, "Require input for parameter 'num_class' for multi-classification"),
        ({"monotone_constraints": "(1,)"}, "monotone_constraints can be used only when the tree_method"),
        (
            {"monotone_constraints": "(2,)", "tree_method": "hist"},
            "Hyperparameter monotone_constraints: value (2,) not",
        ),
        ({"monotone_constraints": "__import__('os')"}, "Hyperparameter monotone_constraints: could not parse value"),
        ({"interaction_constraints": "[[0]]", "tree_method": "hist"}, "Hyperparameter interaction_constraints: value"),
        ({"booster": "gblinear", "updater": "prune"}, "Linear updater should be one of these options"),
        ({"updater": "grow_colmaker,distcol"}, "Only one tree grow plugin can be selected."),
        (
            {"tree_method": "gpu_hist"},
            "Hyperparameter value gpu_hist: the local image does not support training on GPU",
        ),
        ({"seed": str(2**31)}, "Hyperparameter seed: 2147483648 is not in (-2147483648, 2147483647)"),
    ],
)
def test_refusals(given: dict[str, str | None], message: str) -> None:
    every = {"num_round": "5", **given}
    with pytest.raises(UserError) as caught:
        validate({name: value for name, value in every.items() if value is not None})
    assert str(caught.value).startswith(message)


@given(st.sampled_from(sorted(SPECS)), st.text(max_size=8))
def test_any_text_is_accepted_or_refused_in_words(name: str, value: str) -> None:
    # Anything but a UserError would be a crash of the container.
    with contextlib.suppress(UserError):
        assert validate({"num_round": "1", name: value})["num_round"] >= 1


@given(
    st.floats(-5, 5),
    st.floats(-5, 5),
    st.floats(-5, 5),
    st.booleans(),
    st.booleans(),
)
def test_intervals(low: float, high: float, value: float, low_open: bool, high_open: bool) -> None:
    inside = (low < value or (low == value and not low_open)) and (value < high or (value == high and not high_open))
    assert (value in Interval(low, high, low_open=low_open, high_open=high_open)) is inside

"""Reading the algorithm's data formats; pandas and scikit-learn are the oracles."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from container_toolkit import xgb_data, xgb_serve, xgb_train
from container_toolkit.base import UserError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from localaws_tests.images.conftest import MlDir

CELLS = st.one_of(st.floats(allow_nan=False, allow_infinity=False, width=32), st.just(float("nan")))


def csv_of(table: np.ndarray) -> str:
    return "".join(",".join("" if np.isnan(x) else repr(float(x)) for x in row) + "\n" for row in table)


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6), elements=CELLS))
def test_csv_reads_back_exactly(tmp_path_factory: pytest.TempPathFactory, table: np.ndarray) -> None:
    table[:, 0] = np.arange(len(table))
    directory = tmp_path_factory.mktemp("channel")
    (directory / "data.csv").write_text(csv_of(table))
    found = xgb_data.read(directory, xgb_data.CSV)
    assert found is not None
    features, labels, weights = found
    np.testing.assert_array_equal(features, table[:, 1:])
    np.testing.assert_array_equal(labels, table[:, 0])
    assert weights is None
    if not np.isnan(table[-1]).all():
        np.testing.assert_array_equal(xgb_serve.parse_csv(csv_of(table).encode()), table)


@pytest.mark.parametrize("mark", [",", "\t", ";", "|", " "])
def test_delimiters_and_several_files(tmp_path: Path, mark: str) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "b.csv").write_text(f"1{mark}0.5{mark}2\n")
    (tmp_path / "a.csv").write_text(f"0{mark}1e-3{mark}-4\r\n1{mark}3{mark}4")
    (tmp_path / "_SUCCESS").write_text("not data")
    found = xgb_data.read(tmp_path, xgb_data.CSV)
    assert found is not None
    assert found[0].tolist() == [[0.001, -4.0], [3.0, 4.0], [0.5, 2.0]]
    assert found[1].tolist() == [0.0, 1.0, 1.0]


def test_weights(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("1,2.5,7\n0,1,8\n")
    features, labels, weights = xgb_data.read(tmp_path, xgb_data.CSV, weights=True) or (None, None, None)
    assert (features.tolist(), labels.tolist(), weights.tolist()) == ([[7.0], [8.0]], [1.0, 0.0], [2.5, 1.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,income\n1,2\n", "First line 'age,income...' of file 'a.csv' is not 'CSV' format"),
        ("1,2\n1,x\n", "Failed to load csv data of file 'a.csv'"),
        ("1,2\n1,2,3\n", "Failed to load csv data of file 'a.csv'"),
        ("1,2\n,3\n", "the first column of row 2 of channel"),
        ("1\n0\n", "Got 1 column"),
    ],
)
def test_bad_csv_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        xgb_data.read(tmp_path, xgb_data.CSV)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ({}, "Missing required channel: train"),
        ({"train": {"ContentType": "text/csv"}, "test": {}}, "Extraneous channel found: test"),
    ],
)
def test_channels_that_the_algorithm_does_not_have(channels: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        xgb_train.check_channels(channels)


def test_labels_that_the_objective_cannot_learn(ml: MlDir) -> None:
    ml.training({}, {"train": "0,1\n7,2\n"})
    said = r"\[0,1\] for logistic regression, but row 2 of channel train has the label 7"
    with pytest.raises(UserError, match=said):
        xgb_train.load_channel("train", {}, xgb_data.CSV, {"objective": "binary:logistic"}, weights=False)


def test_hidden_files_are_refused_and_empty_channels_are_none(tmp_path: Path) -> None:
    assert xgb_data.read(tmp_path, xgb_data.CSV) is None
    (tmp_path / ".hidden").write_text("1,2\n")
    with pytest.raises(UserError, match="Hidden file found"):
        xgb_data.read(tmp_path, xgb_data.CSV)


@given(hnp.arrays(np.float32, (4, 5), elements=st.sampled_from([0.0, 1.5, -2.0, 1e-3])), st.booleans())
def test_libsvm_like_scikit_learn(
    tmp_path_factory: pytest.TempPathFactory, table: np.ndarray, zero_based: bool
) -> None:
    table[0, -1] = 1.5  # the last column decides the width
    directory = tmp_path_factory.mktemp("channel")
    dump_svmlight_file(table, np.arange(4), str(directory / "data.libsvm"), zero_based=zero_based)
    found = xgb_data.read(directory, xgb_data.LIBSVM)
    assert found is not None
    expected, labels = load_svmlight_file(str(directory / "data.libsvm"), zero_based=True)
    np.testing.assert_array_equal(found[0].toarray(), expected.toarray())
    np.testing.assert_array_equal(found[1], labels)
    body = (directory / "data.libsvm").read_bytes()
    np.testing.assert_array_equal(xgb_serve.parse_libsvm(body, 3).toarray(), expected.toarray())


@pytest.mark.parametrize("text", ["1,2,3\n", "x 1:2\n", "1 1:2 3\n", "1 a:2\n", "1 1:b\n"])
def test_bad_libsvm_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match="is not 'LIBSVM' format"):
        xgb_data.read(tmp_path, xgb_data.LIBSVM)


def test_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": [1, 0], "a": [1.5, None], "b": [3, 4]})
    frame.to_parquet(tmp_path / "data.parquet")
    features, labels, _weights = xgb_data.read(tmp_path, xgb_data.PARQUET) or (None, None, None)
    np.testing.assert_array_equal(features, frame[["a", "b"]].to_numpy())
    assert labels.tolist() == [1.0, 0.0]
    pd.DataFrame({"label": [1], "name": ["x"]}).to_parquet(tmp_path / "data.parquet")
    with pytest.raises(UserError, match=r"Failed to load parquet data of file 'data\.parquet'"):
        xgb_data.read(tmp_path, xgb_data.PARQUET)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (None, "libsvm"),
        ("text/csv", "csv"),
        ("text/csv; label_size=1; charset=utf8", "csv"),
        ("text/libsvm ;charset=utf8", "libsvm"),
        ("application/x-parquet", "parquet"),
    ],
)
def test_content_types(given: str | None, kind: str) -> None:
    assert xgb_data.content_type(given) == kind


@pytest.mark.parametrize("given", ["text/csv;label_size=0", "application/json", ""])
def test_content_types_that_are_refused(given: str) -> None:
    with pytest.raises(UserError, match="is not an accepted"):
        xgb_data.content_type(given)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=5))
def test_scores_read_back_exactly(scores: list[float]) -> None:
    single = np.array(scores, dtype=np.float32)
    text = xgb_serve.encode(single.tolist(), "text/csv")
    np.testing.assert_array_equal(np.loadtxt(io.StringIO(text), dtype=np.float32, ndmin=1), single)


def test_the_formats_of_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[0.25, 0.75], [0.5, 0.5]]
    assert xgb_serve.encode(rows, "text/csv") == "0.25,0.75\n0.5,0.5\n"
    assert xgb_serve.encode([0.5], "application/json") == '{"predictions": [{"score": 0.5}]}'
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    assert xgb_serve.encode(rows, "text/csv") == "[0.25, 0.75]\n[0.5, 0.5]\n"
    assert xgb_serve.encode([0.5, 0.25], "text/csv") == "0.5\n0.25\n"

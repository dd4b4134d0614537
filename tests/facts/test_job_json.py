"""job.json: what is written reads back, and what is wrong is named in one sentence."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagewind.facts import job_json
from sagewind.facts.job_json import DataConfig, EvaluateConfig, JobConfig, JobFileError, SplitShares, WindowConfig
from sagewind.facts.metrics import PROBLEMS

texts = st.text(max_size=5)
zones = st.sampled_from([timezone.utc, timezone(timedelta(hours=5, minutes=30))])  # noqa: UP017
moments = st.none() | st.datetimes(timezones=zones)
shares = st.tuples(st.floats(0.01, 0.5), st.floats(0.01, 0.4)).map(lambda two: SplitShares(*two, 1 - sum(two)))
columns = st.frozensets(texts, max_size=3)
data_configs = st.builds(
    DataConfig,
    target=texts,
    positive=st.none() | texts,
    columns=st.none() | st.lists(texts, max_size=3).map(tuple),
    drop=st.lists(texts, max_size=3).map(tuple),
    na_values=columns,
    numeric=columns,
    categorical=columns,
    encode=st.sampled_from(["ordinal", "onehot"]),
    missing=st.sampled_from(["keep", "impute", "drop"]),
    deduplicate=st.booleans(),
    time_column=st.none() | texts,
    split=shares,
)
configs = st.builds(
    JobConfig,
    model=texts,
    run_key=texts,
    data=data_configs,
    problem=st.sampled_from(PROBLEMS),
    seed=st.integers(0, 2**40),
    window=st.builds(WindowConfig, start=moments, end=moments),
    evaluate=st.builds(
        EvaluateConfig, gates=st.dictionaries(texts, texts, max_size=3), threshold=st.floats(0, 1, exclude_min=True)
    ),
)

SHORT: dict[str, Any] = {"model": "m", "run_key": "r", "data": {"target": "t"}}


@given(configs)
def test_what_is_written_reads_back(config: JobConfig) -> None:
    assert job_json.parse(json.loads(json.dumps(job_json.to_document(config)))) == config


def test_what_is_left_out_has_its_default() -> None:
    assert job_json.parse(SHORT) == JobConfig("m", "r", DataConfig("t"))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("", [1], "job.json: the document is [1]: give an object of keys and values"),
        ("data", "x", "job.json: data is 'x': give an object of keys and values"),
        ("data.target", 5, "job.json: data.target is 5: give a text"),
        ("data.colour", "red", "job.json: data.colour is unknown: use one of target, positive"),
        ("data.encode", "hash", "job.json: data.encode is 'hash': use one of ordinal, onehot"),
        ("data.encode", ["onehot"], "job.json: data.encode is ['onehot']: use one of ordinal, onehot"),
        ("data.drop", "a", "job.json: data.drop is 'a': give a list of texts"),
        ("data.numeric", ["a", None], "job.json: data.numeric is None: give a text"),
        ("data.deduplicate", 1, "job.json: data.deduplicate is 1: give true or false"),
        ("data.split", {"train": 0.5}, "job.json: data.split: train + validation + test is 0.8, it must be 1"),
        ("data.split", {"train": 1.0, "validation": 0.0, "test": 0}, "job.json: data.split: a share is 0: each of"),
        ("seed", True, "job.json: seed is True: give a whole number"),
        ("seed", 1.5, "job.json: seed is 1.5: give a whole number"),
        ("problem", "ranking", "job.json: problem is 'ranking': use one of binary, multiclass, regression"),
        ("evaluate.threshold", float("nan"), "job.json: evaluate.threshold is nan: give a finite number"),
        ("evaluate.gates", {"auc": 0.9}, "job.json: evaluate.gates.auc is 0.9: give a text"),
        ("evaluate.gates", ["auc"], "job.json: evaluate.gates is ['auc']: give an object of keys and values"),
        ("window.end", "soon", "job.json: window.end is 'soon': write an ISO 8601 time"),
        ("window.end", 5, "job.json: window.end is 5: give a text"),
    ],
)
def test_what_is_wrong_is_one_sentence(path: str, value: Any, told: str) -> None:
    document: Any = json.loads(json.dumps(SHORT))
    place, _, key = path.rpartition(".")
    if path:
        (document.setdefault(place, {}) if place else document)[key] = value
    with pytest.raises(JobFileError) as caught:
        job_json.parse(document if path else value)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("missing", "shown"), [("model", "model"), ("data", "data"), ("target", "data.target")])
def test_a_missing_key_is_named(missing: str, shown: str) -> None:
    document = json.loads(json.dumps(SHORT))
    (document["data"] if missing == "target" else document).pop(missing)
    with pytest.raises(JobFileError, match=f"job.json: {shown} is missing"):
        job_json.parse(document)

"""Names are legal for SageMaker, deterministic, and different for different owners."""

from __future__ import annotations

import re

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagewind.facts.calls import NAME_LIMIT, ApiNames
from sagewind.facts.kinds import KINDS
from sagewind.facts.resources import RESOURCES
from sagewind.pipeline import names

MODEL = botocore.session.get_session().get_service_model("sagemaker")
LIMITS: dict[ApiNames, int] = {
    **{kind: kind.name_limit for kind in KINDS.values()},
    **dict.fromkeys(RESOURCES.values(), NAME_LIMIT),
}
text = st.text(min_size=1, max_size=300)
model_names = st.from_regex(r"[a-z][a-z0-9-]{0,12}", fullmatch=True)


def shape(api: ApiNames):
    return MODEL.operation_model(f"Create{api.stem}").input_shape.members[api.name_field]


@given(model_names, text, text, text, st.integers(-1, 10_000), st.integers(1, 99))
def test_job_names_satisfy_the_service_model(model, dag, run, task, index, generation) -> None:
    for api, limit in LIMITS.items():
        name = names.job_name(
            model,
            "step",
            dag_id=dag,
            run_id=run,
            task_id=task,
            map_index=index,
            generation=generation,
            limit=limit,
        )
        assert len(name) <= limit
        assert re.fullmatch(shape(api).metadata["pattern"], name)
        assert names.run_hash(dag, run) in name


@given(
    st.lists(st.tuples(text, text, text, st.integers(-1, 5), st.integers(1, 5)), min_size=2, max_size=20, unique=True)
)
def test_other_owners_have_other_names(owners) -> None:
    made = {
        names.job_name("m", "s", dag_id=d, run_id=r, task_id=t, map_index=i, generation=g) for d, r, t, i, g in owners
    }
    assert len(made) == len(owners)


@given(text, text)
def test_run_keys_are_safe_s3_parts_and_unique_by_hash(dag, run) -> None:
    key = names.run_key(dag, run)
    assert re.fullmatch(r"[A-Za-z0-9-]+", key)
    assert key.endswith(names.run_hash(dag, run))


def test_digest_keeps_parts_apart() -> None:
    assert names.digest("ab", "c", length=16) != names.digest("a", "bc", length=16)


@pytest.mark.parametrize("missing", ["dag_id", "run_id", "task_id"])
def test_an_empty_part_is_an_error(missing: str) -> None:
    parts = {"dag_id": "d", "run_id": "r", "task_id": "t", missing: ""}
    with pytest.raises(ValueError, match=missing):
        names.job_name("m", "s", **parts)

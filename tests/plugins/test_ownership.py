"""Create, attach or next generation: the table, fingerprints, tags and rendered requests."""

from __future__ import annotations

import re

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.localaws.shapes import validate
from sagewind.errors import Refused
from sagewind.kinds import ENDED, KINDS
from sagewind.ownership import Owner, check_rendered, decide, fingerprint

MODEL = botocore.session.get_session().get_service_model("sagemaker")


@pytest.mark.parametrize(
    ("status", "same", "cleared", "action"),
    [
        (None, False, False, "create"),
        (None, False, True, "create"),
        ("InProgress", True, False, "attach"),
        ("InProgress", True, True, "attach"),
        ("Stopping", True, False, "attach"),
        ("Completed", True, False, "attach"),
        ("Completed", True, True, "next"),
        ("Completed", False, True, "next"),
        ("InProgress", False, True, "replace"),
        ("Failed", True, False, "next"),
        ("Failed", False, False, "next"),
        ("Stopped", True, True, "next"),
    ],
)
def test_what_becomes_of_the_job_of_this_generation(status, same, cleared, action) -> None:
    assert decide(status=status, same=same, cleared=cleared, name="job") == action


@pytest.mark.parametrize("status", ["InProgress", "Completed", "Stopping"])
def test_another_request_under_the_same_name_is_an_error_unless_somebody_cleared(status: str) -> None:
    with pytest.raises(Refused, match="started from another request: clear the task"):
        decide(status=status, same=False, cleared=False, name="job")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_table_of_kinds_is_botocores(kind) -> None:
    operations = {re.sub("([A-Z])", r"_\1", name).lower()[1:]: name for name in MODEL.operation_names}
    create = MODEL.operation_model(operations[kind.create])
    describe = MODEL.operation_model(operations[kind.describe])
    assert kind.stop in operations
    assert create.input_shape.members[kind.name_field].metadata["max"] == kind.name_limit
    fields = describe.output_shape.members
    assert {kind.arn_field, kind.started_field, kind.ended_field} <= set(fields)
    assert set(fields[kind.status_field].enum) >= ENDED


requests = st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.lists(st.text())), max_size=5)


@given(requests, requests)
def test_fingerprints_ignore_order_and_tags_and_nothing_else(left, right) -> None:
    left.pop("Tags", None)
    right.pop("Tags", None)
    assert fingerprint({**left, "Tags": [1]}) == fingerprint(dict(reversed(list(left.items()))))
    assert (fingerprint(left) == fingerprint(right)) == (left == right)


@given(st.text(min_size=1), st.text(min_size=1))
def test_tags_satisfy_the_service_model(run_id: str, task_id: str) -> None:
    owner = Owner("tumor", "dag", run_id, task_id, 3, 2, "2026-11-21T00:00:00+00:00")
    validate(
        MODEL.operation_model("AddTags").input_shape,
        {"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m", "Tags": owner.tags()},
    )


def test_tags_name_the_owner() -> None:
    owner = Owner("tumor", "dag", "manual__2026-11-20T21:33:00.123+00:00", "task", 3, 2, "2026-11-21T00:00:00+00:00")
    tags = owner.tags(generation=2, fingerprint="abc")
    found = {tag["Key"]: tag["Value"] for tag in tags}
    assert found["sagewind:task"] == "task/3"
    assert found["sagewind:generation"] == "2"
    assert found["sagewind:expires"].startswith("2026-11-21")


@pytest.mark.parametrize("value", ["", " ", "None", "s3://None/a", "s3://b/None/c", "{{ plan.prefix }}"])
def test_a_request_with_a_hole_is_refused_and_says_where(value: str) -> None:
    with pytest.raises(Refused, match=r"request\.Inputs\[1\]\.S3Uri is "):
        check_rendered({"Inputs": [{"S3Uri": "s3://b/k"}, {"S3Uri": value}]})


def test_a_whole_request_passes() -> None:
    check_rendered({"A": "s3://bucket/Nonesuch/k", "B": [1, 2.0, True, None], "C": {"D": "text"}})

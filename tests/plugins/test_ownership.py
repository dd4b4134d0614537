"""Create, attach or next generation: the table, fingerprints, tags and rendered requests."""

from __future__ import annotations

import re

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localaws.shapes import validate
from sagewind.errors import TaskRefused
from sagewind.facts.kinds import ENDED, KINDS
from sagewind.ownership import FoundJob, Owner, check_rendered, decide, fingerprint

MODEL = botocore.session.get_session().get_service_model("sagemaker")


#: Rows of docs/decisions/0025-who-owns-a-job.md: what a try finds -> what it does.
DECISIONS = {
    "O1": ({"status": None}, "create"),
    "O2": ({"status": None, "cleared": True}, "create"),
    "O3": ({"status": "InProgress"}, "attach"),
    "O4": ({"status": "Completed", "handed": True}, "attach"),
    "O5": ({"status": "Failed"}, "attach"),
    "O5 stopped, older request": ({"status": "Stopped", "same": False}, "attach"),
    "O6": ({"status": "InProgress", "cleared": True}, "attach"),
    "O6 other request": ({"status": "InProgress", "cleared": True, "same": False}, "replace"),
    "O7": ({"status": "Completed", "cleared": True, "handed": True}, "next"),
    "O7 other request": ({"status": "Completed", "cleared": True, "same": False}, "next"),
    "O8": ({"status": "Completed", "cleared": True}, "attach"),
    "O9": ({"status": "Failed", "cleared": True}, "next"),
    "O9 stopped": ({"status": "Stopped", "cleared": True, "same": False}, "next"),
    "O16": ({"status": "Failed", "judged": True}, "next"),
    "O18 while it stops": ({"status": "Stopping"}, "attach"),
    "O30": ({"status": "Stopping", "cleared": True, "stop": "task failed"}, "await_end"),
}


@pytest.mark.parametrize("row", DECISIONS)
def test_what_becomes_of_the_job_of_this_generation(row: str) -> None:
    found, action = DECISIONS[row]
    assert decide(FoundJob(name="job", **found)) == action


@pytest.mark.parametrize("status", ["InProgress", "Completed", "Stopping"])
def test_o28_another_request_under_the_same_name_is_an_error_unless_somebody_cleared(status: str) -> None:
    with pytest.raises(TaskRefused, match="started from another request: clear the task"):
        decide(FoundJob(name="job", status=status, same=False))


statuses = st.sampled_from([None, "InProgress", "Stopping", "Completed", "Failed", "Stopped"])


@given(st.builds(FoundJob, name=st.just("job"), status=statuses, same=st.just(True)))
def test_a_job_that_is_alive_is_never_left_beside_another_one(found: FoundJob) -> None:
    """`next` starts a job without ending the present one: only if that has ended."""
    if decide(found) == "next":
        assert found.status in ENDED


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
    with pytest.raises(TaskRefused, match=r"request\.Inputs\[1\]\.S3Uri is "):
        check_rendered({"Inputs": [{"S3Uri": "s3://b/k"}, {"S3Uri": value}]})


def test_a_whole_request_passes() -> None:
    check_rendered({"A": "s3://bucket/Nonesuch/k", "B": [1, 2.0, True, None], "C": {"D": "text"}})

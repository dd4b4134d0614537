"""The state file: unique names, atomic changes, tags, restart; state tables; lists and their tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localaws.errors import ResourceInUse
from localaws.jobs import training_steps
from localaws.listing import list_page
from localaws.states import JOB_TRANSITIONS, IllegalTransition, Transitions
from localaws.store import Store, StoredResource
from localaws.store_query import Query
from localaws.tuning import tuning_run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "state.sqlite3")
    yield store
    store.close()


def test_insert_get_update_delete(store: Store) -> None:
    store.insert("training-job", "a", "arn:a", "InProgress", {"x": [1, {"y": None}]}, {"k": "v"})
    assert store.get("training-job", "b") is None
    found = store.update("training-job", "a", status="Completed", x=None, z=2)
    assert (found.status, found.body) == ("Completed", {"z": 2})
    assert store.by_arn("arn:a") == store.get("training-job", "a") == found
    assert found.modified >= found.created
    assert store.delete("training-job", "a")
    assert not store.delete("training-job", "a")
    assert store.tags("arn:a") == {}


def test_names_are_unique_within_a_kind(store: Store) -> None:
    store.insert("training-job", "a", "arn:1", "s", {})
    store.insert("model", "a", "arn:2", "s", {})
    with pytest.raises(ResourceInUse, match=r"a training job with this name already exists \(arn:3\)"):
        store.insert("training-job", "a", "arn:3", "s", {}, {"k": "v"})
    assert store.tags("arn:3") == {}


def test_update_of_what_is_gone(store: Store) -> None:
    with pytest.raises(KeyError, match="model m does not exist"):
        store.update("model", "m", x=1)


def test_survives_a_new_start(tmp_path: Path) -> None:
    first = Store(tmp_path / "s")
    first.insert("model", "m", "arn", "s", {"t": 1.5}, {"k": "v"})
    first.close()
    second = Store(tmp_path / "s")
    assert [(r.name, r.body) for r in second.list("model")] == [("m", {"t": 1.5})]
    assert second.tags("arn") == {"k": "v"}
    second.close()


def test_changes_of_many_threads_are_all_kept(store: Store) -> None:
    store.insert("model", "m", "arn", "s", {"n": 0})

    def add() -> None:
        for _ in range(50):
            with store.exclusive():
                found = store.get("model", "m")
                assert found is not None
                store.update("model", "m", n=found.body["n"] + 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.get("model", "m")
    assert found is not None
    assert found.body["n"] == 200


@pytest.mark.parametrize("member", ["FailureReason", "ExitMessage"])
def test_a_transition_is_told_with_what_the_job_has_to_say(
    store: Store, caplog: pytest.LogCaptureFixture, member: str
) -> None:
    store.insert("training-job", "j", "arn", "InProgress", {})
    event = next(e for status, e in JOB_TRANSITIONS.table if status == "InProgress")
    with caplog.at_level("INFO", "localaws.resources"):
        new = store.transition("training-job", "j", JOB_TRANSITIONS, event, **{member: "3 columns drifted"})
    assert caplog.messages == [f"training-job j: {new.status} (3 columns drifted)"]


TABLES = {"jobs": JOB_TRANSITIONS, "steps": training_steps.SECONDARY, "tuning": tuning_run.TRANSITIONS}


@given(table=st.sampled_from(sorted(TABLES)), data=st.data())
def test_state_tables_allow_what_they_list_and_nothing_else(table: str, data: st.DataObject) -> None:
    states = TABLES[table]
    status = data.draw(st.sampled_from(sorted(states.statuses)))
    event = data.draw(st.sampled_from(sorted(states.events)))
    if (status, event) in states.table:
        assert states.allows(status, event)
        assert states.next(status, event) in states.statuses
    else:
        assert not states.allows(status, event)
        with pytest.raises(IllegalTransition, match=status):
            states.next(status, event)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_life_can_end_and_an_end_is_final(table: str) -> None:
    states = TABLES[table]
    for status in states.sources:
        reached, todo = {status}, [status]
        while todo:
            for (source, _), target in states.table.items():
                if source == todo[-1] and target not in reached:
                    reached.add(target)
                    todo.insert(0, target)
            todo.pop()
        assert reached & states.terminal
    assert not any(states.allows(end, event) for end in states.terminal for event in states.events)


def test_transition_changes_status_and_body_together(store: Store) -> None:
    table = Transitions({("InProgress", "finish"): "Completed"})
    store.insert("model", "m", "arn", "InProgress", {})
    assert store.transition("model", "m", table, "finish", End=1).body == {"End": 1}
    with pytest.raises(IllegalTransition):
        store.transition("model", "m", table, "finish", End=2)
    found = store.get("model", "m")
    assert found is not None
    assert found.body == {"End": 1}


def resources(count: int) -> list[StoredResource]:
    return [StoredResource("k", f"n{i:02d}", f"arn{i}", "ab"[i % 2], 100.0 + i // 2, 200.0, {}) for i in range(count)]


@given(
    count=st.integers(0, 12),
    size=st.integers(1, 5),
    sort=st.sampled_from(["Name", "CreationTime", "Status", "LastModifiedTime"]),
    order=st.sampled_from(["Ascending", "Descending"]),
    gone=st.integers(0, 11),
)
def test_pages_give_everything_once_and_in_order(count: int, size: int, sort: str, order: str, gone: int) -> None:
    everything, request = resources(count), {"MaxResults": size, "SortBy": sort, "SortOrder": order}

    def page(items: list[StoredResource], token: str | None) -> dict[str, Any]:
        return list_page(
            items, {**request, **({"NextToken": token} if token else {})}, "Names", lambda r: {"n": r.name}
        )

    seen, token = [], None
    while True:
        answer = page(everything, token)
        seen += [item["n"] for item in answer["Names"]]
        token = answer.get("NextToken")
        if token is None:
            break
        # An item that was already listed may vanish between two pages: nothing is skipped or doubled by it.
        everything = [r for r in everything if not (r.name == f"n{gone:02d}" and r.name in seen)]
    assert sorted(seen) == [r.name for r in resources(count)]


NAMES = st.text("abcAB-9", min_size=1, max_size=4)
MOMENTS = st.integers(0, 6).map(float)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "NameContains": NAMES,
        "StatusEquals": st.sampled_from(["x", "y"]),
        "CreationTimeAfter": MOMENTS,
        "CreationTimeBefore": MOMENTS,
        "LastModifiedTimeAfter": MOMENTS,
        "LastModifiedTimeBefore": MOMENTS,
        "SortBy": st.sampled_from(["Name", "Status", "CreationTime", "LastModifiedTime", "None", "Member"]),
        "SortOrder": st.sampled_from(["Ascending", "Descending"]),
        "MaxResults": st.integers(1, 4),
    },
)


@settings(max_examples=150)
@given(
    rows=st.dictionaries(NAMES, st.tuples(st.sampled_from("xy"), MOMENTS, MOMENTS, st.sampled_from([None, "b", "c"]))),
    request=REQUESTS,
)
def test_pages_in_sql_are_those_of_plain_python(rows: dict[str, Any], request: dict[str, Any]) -> None:
    moments = [0.0]
    store = Store(Path(":memory:"), clock=lambda: moments[0])
    for name, (status, created, modified, member) in rows.items():
        moments[0] = created
        store.insert("k", name, f"arn:{name}", "new", {"Member": member} if member else {})
        moments[0] = modified
        store.update("k", name, status=status)
        store.insert("other", name, f"arn:other:{name}", status, {})
    while True:
        ours, plain = (
            list_page(source, request, "N", lambda r: {"n": r.name})
            for source in (store.list("k"), list(store.list("k")))
        )
        assert ours == plain
        if "NextToken" not in ours:
            break
        request = request | {"NextToken": ours["NextToken"]}
    store.close()


def test_find_by_members_of_the_body(store: Store) -> None:
    for number, body in enumerate([{"owner": "a"}, {"owner": "b"}, {}, {"owner": "a", "on": True}]):
        store.insert("k", str(number), f"arn:{number}", "s", body)

    def names(**where: Any) -> list[str]:
        return [r.name for r in store.find("k", Query(where=where, sort="name"))]

    assert (names(owner="a"), names(owner=None), names(owner="a", on=True)) == (["0", "3"], ["2"], ["3"])
    assert len(store.list("k")) == 4


@pytest.mark.parametrize("sort", ["created", "modified", "name"])
@pytest.mark.parametrize("descending", [False, True])
def test_pages_are_read_in_the_order_of_an_index(store: Store, sort: str, descending: bool) -> None:
    query = Query(contains="a", status="s", created_after=1.0, sort=sort, descending=descending, limit=11)
    text, values = query.sql("k")
    plan = [row[3] for row in store._db.execute(f"EXPLAIN QUERY PLAN SELECT body FROM resources {text}", values)]
    assert len(plan) == 1, plan  # no sorting step
    assert "INDEX" in plan[0], plan

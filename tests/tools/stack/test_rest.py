"""Reading Airflow's answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from tests.tools.stack.recorded import task
from tools.stack.errors import StackError, Unanswered
from tools.stack.rest import AirflowApi, failure_reason, one_line, seconds_of


def api(handler: Callable[[httpx.Request], httpx.Response]) -> AirflowApi:
    return AirflowApi("http://airflow", httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(handler)))


def test_token_is_sent_after_login() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "abc"})
        return httpx.Response(200, json={"state": "running"})

    client = api(handle)
    client.login("me", "word")
    assert client.run_state("d", "r") == "running"
    assert json.loads(seen[0].content) == {"username": "me", "password": "word"}
    assert seen[1].headers["Authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    ("date", "sent"), [(None, None), (datetime(2026, 3, 4, 10, 30, tzinfo=UTC), "2026-03-04T10:30:00+00:00")]
)
def test_run_is_triggered_with_or_without_a_logical_date(date: datetime | None, sent: str | None) -> None:
    bodies: list[object] = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={})

    api(handle).trigger("d", "r", {"keep": True}, date)
    assert bodies == [{"dag_run_id": "r", "logical_date": sent, "conf": {"keep": True}}]


def test_a_change_that_sqlite_refuses_is_asked_for_again() -> None:
    answers = [httpx.Response(500, json={"detail": {"message": "Database error"}}), httpx.Response(200, json={"a": 1})]
    client = api(lambda _: answers.pop(0))
    assert client.change("PATCH", "/x", {}) == {"a": 1}
    answers += [httpx.Response(500, text="another fault"), httpx.Response(200, json={})]
    with pytest.raises(StackError, match="another fault"):
        client.change("PATCH", "/x", {})


def test_pages_of_task_instances_are_joined() -> None:
    everything = [task(f"t{number}", "success", 0, 1) for number in range(150)]

    def handle(request: httpx.Request) -> httpx.Response:
        first, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        return httpx.Response(200, json={"task_instances": everything[first : first + limit], "total_entries": 150})

    assert len(api(handle).task_instances("d", "r")) == 150


@pytest.mark.parametrize("value", [{"a": 1}, '{"a": 1}'])
def test_xcom_is_read_as_value_or_text(value: object) -> None:
    assert api(lambda _: httpx.Response(200, json={"value": value})).xcom("d", "r", "t") == {"a": 1}


def test_missing_is_none_and_refused_is_a_sentence() -> None:
    assert api(lambda _: httpx.Response(404)).xcom("d", "r", "t") is None
    with pytest.raises(StackError, match="refused GET /api/v2/dags/d/dagRuns/r with 403: no"):
        api(lambda _: httpx.Response(403, text="no")).run_state("d", "r")

    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(Unanswered, match="did not answer GET"):
        api(broken).run_state("d", "r")
    with pytest.raises(Unanswered, match="with 502: starting"):
        api(lambda _: httpx.Response(502, text="starting")).run_state("d", "r")
    assert api(broken).answers() is False


def test_nothing_depends_on_the_warm_up() -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("busy", request=request)

    api(slow).warm_up()


def test_seconds_include_the_wait_of_a_deferred_task() -> None:
    assert seconds_of(task("t", "success", 1, 8.5)) == 7.5
    assert seconds_of(task("t", "running", 1)) is None


def test_reason_of_a_failure_is_the_exception_then_the_last_error() -> None:
    events: list[dict[str, object]] = [
        {"event": "start", "level": "info"},
        {"event": "Task failed", "level": "error", "error_detail": [{"exc_type": "E", "exc_value": "no\n  label"}]},
        {"event": "end", "level": "info"},
    ]
    assert failure_reason(events) == "no label"
    assert failure_reason([{"event": "The job stopped.", "level": "error"}, {"event": "x"}]) == "The job stopped."
    assert failure_reason([]) is None
    assert len(one_line("a b " * 400)) == 400

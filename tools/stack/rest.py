"""The part of Airflow's REST API that the stack uses, as plain dictionaries."""

from __future__ import annotations

import contextlib
import json
import time
from datetime import datetime
from typing import Any

import httpx

from tools.stack.errors import StackError, Unanswered

WRITE_SECONDS = 120.0
"""How long a change is asked for that the database refuses because others write."""
TERMINAL_RUN_STATES = frozenset({"success", "failed"})


class AirflowApi:
    """One logged-in user of one Airflow. Unexpected answers raise `StackError` with Airflow's words, none at all or a
    fault of the server `Unanswered`."""

    def __init__(self, url: str, client: httpx.Client | None = None) -> None:
        self.url = url
        # No proxies from the environment: this is the loopback interface. A machine with other work takes its time: the
        # first answers of an api-server have taken half a minute there (seen), and nothing is won by giving up sooner.
        self._http = client or httpx.Client(base_url=url, trust_env=False, timeout=90)

    def answers(self) -> bool:
        """Whether the api-server takes requests yet."""
        try:
            return self._http.get("/api/v2/monitor/health", timeout=10).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def warm_up(self) -> None:
        """Have the api-server build its task API (measured: 2 s, else spent inside the first task). Nobody waits for
        the answer and nothing depends on it."""
        with contextlib.suppress(httpx.HTTPError):
            self._http.get("/execution/health", timeout=httpx.Timeout(10, read=0.01))

    def login(self, user: str, password: str) -> None:
        """Get a token; every later request carries it."""
        answer = self._call("POST", "/auth/token", json={"username": user, "password": password})
        self._http.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def health(self) -> dict[str, str]:
        """State of each component by name (`healthy`, `unhealthy`), as Airflow itself sees it."""
        found = self._call("GET", "/api/v2/monitor/health")
        return {name: str(part.get("status")) for name, part in found.items() if isinstance(part, dict)}

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """The DAG if it has been parsed."""
        return self._maybe(f"/api/v2/dags/{dag_id}")

    def import_errors(self) -> list[dict[str, Any]]:
        """DAG files that cannot be imported: `filename`, `stack_trace`."""
        errors: list[dict[str, Any]] = self._call("GET", "/api/v2/importErrors")["import_errors"]
        return errors

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run this DAG."""
        self.change("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any], logical_date: datetime | None = None) -> None:
        """Start a run, of a logical date or of none; `conf` sets the DAG's params."""
        date = logical_date.isoformat() if logical_date else None
        body = {"dag_run_id": run_id, "logical_date": date, "conf": conf}
        self.change("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of a DAG (a stack has few)."""
        found: list[dict[str, Any]] = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
        return found

    def run_state(self, dag_id: str, run_id: str) -> str:
        """`queued`, `running`, `success` or `failed`."""
        return str(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run, mapped ones too."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._call(
                "GET",
                f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances",
                params={"limit": 100, "offset": len(found)},
            )
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task has returned, None if nothing."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        found = self._maybe(path)
        if found is None:
            return None
        value = found["value"]
        if isinstance(value, str):
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value

    def task_log(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> list[dict[str, Any]]:
        """The log of one try as events (`event`, `level`, `error_detail`)."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        found = self._maybe(path, params={"full_content": "true"}, headers={"Accept": "application/json"})
        content = (found or {}).get("content", [])
        return [line for line in content if isinstance(line, dict)]

    def change(self, method: str, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """Ask for a change until it is taken.

        SQLite refuses a writer at once if another process wrote since he read (SQLITE_BUSY_SNAPSHOT, see `savepoints`),
        and Airflow answers that with 500: nothing was changed, and a moment later it is taken.
        """
        deadline = time.monotonic() + WRITE_SECONDS
        while True:
            answer = self._request(method, path, json=content)
            refused = answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and "Database error" in answer.text
            if not refused or time.monotonic() > deadline:
                return self._body(method, path, answer)
            time.sleep(0.2)

    def _maybe(self, path: str, **options: Any) -> dict[str, Any] | None:
        answer = self._request("GET", path, **options)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return self._body("GET", path, answer)

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        return self._body(method, path, self._request(method, path, **options))

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unanswered(
                f"Airflow's API at {self.url} did not answer {method} {path} ({type(error).__name__})."
            ) from error

    def _body(self, method: str, path: str, answer: httpx.Response) -> dict[str, Any]:
        if answer.is_success:
            body: dict[str, Any] = answer.json()
            return body
        error = Unanswered if answer.is_server_error else StackError
        raise error(f"Airflow's API refused {method} {path} with {answer.status_code}: {answer.text[:300]}")


def seconds_of(task: dict[str, Any]) -> float | None:
    """How long a task instance has taken from its start to its end, waiting included; None before it ends.

    Not `duration`: that counts only the last stretch of a task that was deferred.
    """
    if not task.get("start_date") or not task.get("end_date"):
        return None
    spent = _when(task["end_date"]) - _when(task["start_date"])
    return round(max(0.0, spent.total_seconds()), 2)


def elapsed(task: dict[str, Any], now: datetime) -> float:
    """Seconds since the start of a task that still runs."""
    return max(0.0, (now - _when(task["start_date"])).total_seconds()) if task.get("start_date") else 0.0


def _when(text: str) -> datetime:
    return datetime.fromisoformat(text)


def failure_reason(events: list[dict[str, Any]]) -> str | None:
    """The last thing a task's log gives as an error: the exception's message, else the last error line."""
    for event in reversed(events):
        for detail in event.get("error_detail") or []:
            if detail.get("exc_value"):
                return one_line(f"{detail['exc_value']}")
        if event.get("level") in ("error", "critical"):
            return one_line(str(event.get("event", "")))
    return None


def one_line(text: str, limit: int = 400) -> str:
    """The text on one line, cut to `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"

"""Operators and triggers against the real local endpoint, with the connection's clients replaced by its own."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from localaws_tests.conftest import (  # noqa: F401 - fixtures
    client_of,
    endpoint,
    images_dir,
    s3,
    sagemaker,
    start_endpoint,
)
from sagewind import aws


class StateStore(dict):
    """Airflow's task state store: survives the tries of one task instance."""

    def set(self, key: str, value: Any) -> None:
        self[key] = value


class Task:
    """One task instance: its tries share the state store, a clear raises max_tries as Airflow does."""

    def __init__(self, run_id: str) -> None:
        self.store = StateStore()
        self.run_type = "manual"
        self.xcoms: dict[str, Any] = {}
        self.states: dict[str, str] = {"complete": "success"}
        self.ti = SimpleNamespace(
            dag_id="dag",
            run_id=run_id,
            task_id="task",
            map_index=-1,
            try_number=1,
            max_tries=3,
            xcom_pull=lambda task_ids, **_: self.xcoms.get(task_ids),
            xcom_push=lambda key, value: self.xcoms.__setitem__(key, value),
            get_task_states=lambda run_ids, **_: {run_ids[0]: self.states},
        )

    @property
    def context(self) -> Any:
        run = SimpleNamespace(run_after=datetime(2026, 1, 1, tzinfo=UTC), run_type=self.run_type, conf={})
        return {"ti": self.ti, "task_state_store": self.store, "dag_run": run}

    def retry(self) -> None:
        self.ti.try_number += 1

    def clear(self) -> None:
        self.ti.try_number += 1
        self.ti.max_tries += 3


@pytest.fixture
def task(request: pytest.FixtureRequest) -> Task:
    return Task(request.node.name)


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch, endpoint) -> None:  # noqa: F811
    """Every connection leads to the endpoint under test."""
    clients: dict[str, Any] = {}

    def client(connection: str, region: str | None, service: str) -> Any:
        if service not in clients:
            clients[service] = client_of(endpoint, service)
        return clients[service]

    monkeypatch.setattr(aws, "_client", client)

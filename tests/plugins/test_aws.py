"""Clients of a connection."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import pytest

from sagewind import aws


@pytest.fixture
def connection() -> None:
    """No endpoint: nothing is called."""


def test_waits_that_ask_at_once_share_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    together, made = threading.Barrier(8), []

    @lru_cache
    def make(*key: Any) -> object:
        made.append(key)
        threading.Event().wait(0.05)  # as long as another one could begin too
        return object()

    monkeypatch.setattr(aws, "_made", make)
    monkeypatch.setattr(aws.time, "time", lambda: 0.0)

    def ask(_: int) -> object:
        together.wait()
        return aws.AwsClients("c", None).client("sagemaker")

    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(ask, range(8)))
    assert len(clients) == len(made) == 1

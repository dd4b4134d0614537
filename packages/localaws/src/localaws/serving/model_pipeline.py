"""An inference pipeline: several containers of one instance, of which each gets what the one before has answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from localaws.coverage import Behaviour
from localaws.serving.http_pool import Answer, Body, NoAnswer
from localaws.serving.model_server import ModelServer

DEFAULT_CONTENT_TYPE = "application/octet-stream"
BEHAVIOURS = (
    Behaviour("pipelines: 2 to 15 containers, each gets the answer of the one before", "documented",
              "SageMaker developer guide, Inference pipelines in Amazon SageMaker AI"),
    Behaviour("pipelines: the content type goes from answer to request, only the last container gets the caller's "
              "Accept, an answer of 300 or above ends the chain", "assumed"),
    Behaviour("pipelines: log streams end in the container's name, or in container-1, container-2, ...", "documented",
              "SageMaker developer guide, Log groups and streams that Amazon SageMaker AI sends to CloudWatch Logs"),
)  # fmt: skip


class InstanceServer(Protocol):
    """What a variant asks of the model server of an instance, or of all its containers together."""

    @property
    def healthy(self) -> bool:
        """Whether it takes requests."""

    def start(self) -> None:
        """See ModelServer."""

    def wait_healthy(self, cancelled: Callable[[], bool] = ...) -> None:
        """See ModelServer."""

    def invoke(self, body: Body, headers: Mapping[str, str], timeout: float, max_bytes: int | None) -> Answer:
        """See ModelServer."""

    def suspect(self) -> None:
        """See ModelServer."""

    def keep_running(self) -> None:
        """See ModelServer."""

    def stop(self, grace: float = ...) -> None:
        """See ModelServer."""


class Pipeline:
    """The containers of one instance, in order; thread safe as its servers are."""

    def __init__(self, servers: Sequence[ModelServer]) -> None:
        self._servers = list(servers)

    @property
    def healthy(self) -> bool:
        """Whether all containers take requests."""
        return all(server.healthy for server in self._servers)

    def start(self) -> None:
        """Start all containers; see ModelServer."""
        for server in self._servers:
            server.start()

    def wait_healthy(self, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Wait for all containers; see ModelServer."""
        for server in self._servers:
            server.wait_healthy(cancelled)

    def invoke(self, body: Body, headers: Mapping[str, str], timeout: float, max_bytes: int | None) -> Answer:
        """The last container's answer, or the first that is no good one; the time is for all of them."""
        deadline = time.monotonic() + timeout
        passed = {key: value for key, value in headers.items() if key != "Accept"}
        for server in self._servers:
            last = server is self._servers[-1]
            given = {**passed, "Accept": headers["Accept"]} if last and "Accept" in headers else passed
            try:
                answer = server.invoke(body, given, max(0.001, deadline - time.monotonic()), max_bytes)
            except NoAnswer as error:  # the containers before this one have had the request already
                raise NoAnswer(str(error), sent=error.sent or server is not self._servers[0]) from error
            if last or answer.status >= 300:
                return replace(answer, origin=server.spec.model.name)
            body = answer.body
            passed["Content-Type"] = answer.header("Content-Type") or DEFAULT_CONTENT_TYPE
        raise AssertionError("a pipeline has containers")

    def suspect(self) -> None:
        """See ModelServer; which of them it was is found by asking all."""
        for server in self._servers:
            server.suspect()

    def keep_running(self) -> None:
        """See ModelServer."""
        for server in self._servers:
            server.keep_running()

    def stop(self, grace: float = 30.0) -> None:
        """End all containers, the first first; see ModelServer."""
        for server in self._servers:
            server.stop(grace)

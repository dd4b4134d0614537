"""Production variants of an endpoint: on instances, one model server for each, or serverless, started when called."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from localaws.coverage import Behaviour
from localaws.logs import LogStream
from localaws.profile import FAST, Profile
from localaws.serving.http_pool import Answer, Body, NoAnswer
from localaws.serving.model_pipeline import InstanceServer
from localaws.serving.model_server import STOP_GRACE_SECONDS

COLD_START_SECONDS = 60.0
LEAST = "LEAST_OUTSTANDING_REQUESTS"
ROUTING = ("RANDOM", LEAST)

BEHAVIOURS = (
    Behaviour("an instance is chosen at random, or the one with the fewest requests under way (RoutingConfig); here "
              "they take turns when nothing is said", "documented",
              "CreateEndpointConfig, ProductionVariantRoutingConfig"),
    Behaviour("a request that has not reached a model server goes to another instance, or waits up to 20 s for one",
              "assumed"),
    Behaviour("serverless: more requests at once than MaxConcurrency are throttled", "documented",
              "CreateEndpointConfig, ProductionVariantServerlessConfig"),
    Behaviour("serverless: started by the first request, ended after five minutes without one, kept warm with "
              "ProvisionedConcurrency; one server answers all requests at once", "assumed"),
)  # fmt: skip


class VariantThrottled(Exception):
    """A serverless variant has as many requests under way as it may."""


class VariantNotReady(Exception):
    """A serverless variant is still starting."""


@dataclass
class VariantInstance:
    """One model server (or pipeline of them) with its log; `busy` counts the requests under way."""

    server: InstanceServer
    stream: LogStream
    busy: int = 0
    more_streams: Sequence[LogStream] = ()


@dataclass(frozen=True)
class Served:
    """An answer, who gave it, and how long its server took to start for it (seconds, 0 when it was there)."""

    answer: Answer
    instance: VariantInstance
    setup_seconds: float = 0.0


MakeInstance = Callable[[Callable[[], None]], VariantInstance]


def end_all(instances: Sequence[VariantInstance], grace: float) -> None:
    """End servers at the same time; `grace` in seconds between SIGTERM and SIGKILL."""
    enders = [threading.Thread(target=i.server.stop, args=(grace,)) for i in instances]
    for thread in enders:
        thread.start()
    for thread in enders:
        thread.join()
    for instance in instances:
        for stream in (instance.stream, *instance.more_streams):
            stream.close()


def start_all(instances: Sequence[VariantInstance], cancelled: Callable[[], bool]) -> None:
    """Start servers and wait until all are healthy; ModelServerError or Cancelled when one is not."""
    launch_all(instances)
    for instance in instances:
        instance.server.wait_healthy(cancelled)


def launch_all(instances: Sequence[VariantInstance]) -> None:
    """Start servers without waiting for them; ModelServerError when one cannot be started."""
    for instance in instances:
        instance.server.start()


class Variant:
    """A variant on instances; thread safe."""

    def __init__(
        self,
        name: str,
        weight: float,
        make: MakeInstance,
        count: int,
        routing: str | None = None,
        profile: Profile = FAST,
    ) -> None:
        self.name = name
        self.weight = weight
        self.profile = profile
        self._make = make
        self._routing = routing
        self._turn = 0
        self._changed = threading.Condition()
        self._instances = [make(self._notify) for _ in range(count)]

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    @property
    def instances(self) -> list[VariantInstance]:
        """Those that get requests now."""
        with self._changed:
            return list(self._instances)

    @property
    def last_stream(self) -> str:
        """A log stream to look at when no instance has taken a request."""
        with self._changed:
            return self._instances[-1].stream.name if self._instances else f"{self.name}/none"

    def launch(self) -> None:
        """Start the servers without waiting for them; ModelServerError when one cannot be started."""
        launch_all(self.instances)

    def wait_healthy(self, cancelled: Callable[[], bool]) -> None:
        """Wait until all servers are healthy; ModelServerError or Cancelled when one is not."""
        for instance in self.instances:
            instance.server.wait_healthy(cancelled)

    def keep_running(self) -> None:
        """From now on ended and hung servers are started again."""
        for instance in self.instances:
            instance.server.keep_running()

    def invoke(self, body: Body, headers: Mapping[str, str], timeout: float, max_bytes: int | None) -> Served:
        """The answer of one instance within `timeout` seconds.

        NoAnswer when there is none to ask or it hung up; AnswerTimeout, AnswerTooLarge.
        """
        deadline = time.monotonic() + timeout
        recovered = min(deadline, time.monotonic() + self.profile.recovery)
        while True:
            with self._taken(recovered) as instance:
                try:
                    left = max(0.001, deadline - time.monotonic())
                    return Served(instance.server.invoke(body, headers, left, max_bytes), instance)
                except NoAnswer as error:
                    if error.sent or time.monotonic() >= recovered:
                        raise
                    instance.server.suspect()

    @contextmanager
    def _taken(self, deadline: float) -> Iterator[VariantInstance]:
        with self._changed:
            while not (ready := [i for i in self._instances if i.server.healthy]):
                left = deadline - time.monotonic()
                if left <= 0 or not self._instances:
                    raise NoAnswer("no instance is healthy", sent=False)
                self._changed.wait(left)
            instance = self._pick(ready)
            instance.busy += 1
        try:
            yield instance
        finally:
            with self._changed:
                instance.busy -= 1
                self._changed.notify_all()

    def _pick(self, ready: list[VariantInstance]) -> VariantInstance:
        if self._routing == "RANDOM":
            return random.choice(ready)  # noqa: S311 - no secret
        self._turn += 1
        turned = [ready[(self._turn + n) % len(ready)] for n in range(len(ready))]
        return min(turned, key=lambda i: i.busy) if self._routing == LEAST else turned[0]

    def grow(self, count: int, cancelled: Callable[[], bool]) -> list[VariantInstance]:
        """Start as many further instances as `count` asks for; they get no request yet.

        ModelServerError or Cancelled when one is not healthy; then none is left.
        """
        new = [self._make(self._notify) for _ in range(count - len(self.instances))]
        try:
            start_all(new, cancelled)
        except BaseException:
            end_all(new, 0.0)
            raise
        for instance in new:
            instance.server.keep_running()
        return new

    def resize(self, count: int, new: Sequence[VariantInstance]) -> list[VariantInstance]:
        """Take in new instances and let go of those above `count`, which are returned and get no more requests."""
        with self._changed:
            everything = [*self._instances, *new]
            self._instances, gone = everything[:count], everything[count:]
            self._changed.notify_all()
        return gone

    def drain(self, instances: Sequence[VariantInstance], timeout: float) -> bool:
        """Wait until the given instances have answered; False when the timeout (seconds) passed first."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(i.busy for i in instances), timeout)

    def tick(self) -> None:
        """Called every second or so; nothing to do for instances."""

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End all servers; no request is answered any more."""
        with self._changed:
            gone, self._instances = self._instances, []
            self._changed.notify_all()
        end_all(gone, grace)


class ServerlessVariant(Variant):
    """A variant without instances of its own: the first request starts a server, idle time ends it."""

    def __init__(
        self, name: str, weight: float, make: MakeInstance, config: Mapping[str, Any], profile: Profile
    ) -> None:
        super().__init__(name, weight, make, 0, profile=profile)
        self.configure(config)
        self._under_way = 0
        self._last = time.monotonic()
        self._starting = threading.Lock()
        self._stopped = threading.Event()

    def configure(self, config: Mapping[str, Any]) -> None:
        """Take a ServerlessConfig's limits."""
        self._limit = int(config["MaxConcurrency"])
        self._warm = "ProvisionedConcurrency" in config

    def wait_healthy(self, cancelled: Callable[[], bool]) -> None:
        """See that the container can become healthy; without provisioned concurrency its server is ended again."""
        with self._starting:
            self._begin(cancelled)
        if not self._warm:
            self._end()

    def keep_running(self) -> None:
        """Servers look after themselves from their start."""

    def _begin(self, cancelled: Callable[[], bool]) -> VariantInstance:
        instance = self._make(self._notify)
        try:
            start_all([instance], lambda: cancelled() or self._stopped.is_set())
        except BaseException:
            end_all([instance], 0.0)
            raise
        instance.server.keep_running()
        self.resize(1, [instance])
        return instance

    def _end(self) -> None:
        end_all(self.resize(0, []), STOP_GRACE_SECONDS)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        with self._changed:
            if self._under_way >= self._limit:
                raise VariantThrottled(f"{self._limit} requests are under way, which is MaxConcurrency")
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._last = time.monotonic()

    def invoke(self, body: Body, headers: Mapping[str, str], timeout: float, max_bytes: int | None) -> Served:
        """See Variant. Throttled above MaxConcurrency, NotReady when the start takes too long, ModelServerError."""
        with self._slot():
            setup = self._wake()
            served = super().invoke(body, headers, timeout, max_bytes)
            return Served(served.answer, served.instance, setup)

    def _wake(self) -> float:
        """Start the server if there is none; how long this request waited for it, in seconds."""
        if self.instances:
            return 0.0
        began = time.monotonic()
        if not self._starting.acquire(timeout=COLD_START_SECONDS):
            raise VariantNotReady(f"the variant {self.name} is still starting")
        try:
            if not self.instances:
                self._begin(lambda: False)
        finally:
            self._starting.release()
        return time.monotonic() - began

    def adjust(self, config: Mapping[str, Any], cancelled: Callable[[], bool]) -> None:
        """Take new limits; a server that is to be kept warm is started. ModelServerError or Cancelled."""
        self.configure(config)
        if self._warm and not self.instances:
            with self._starting:
                self._begin(cancelled)

    def tick(self) -> None:
        """End the server when nobody has called for long enough, unless it is kept warm."""
        with self._changed:
            unused = time.monotonic() - self._last >= self.profile.serverless_idle
            idle = self._under_way == 0 and unused and not self._warm
            gone, self._instances = (self._instances, []) if idle else ([], self._instances)
        end_all(gone, STOP_GRACE_SECONDS)

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """See Variant; a start under way is given up."""
        self._stopped.set()
        with self._starting:
            super().stop(grace)

"""What is behind endpoints while the server runs: fleets of model servers, and who gets which request.

The store knows what an endpoint should serve; this module knows what does serve it now. A request holds on to the
fleet it was given until it is answered, so that a fleet that was replaced ends only when nobody uses it any more.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from include.localaws import s3data
from include.localaws.capture import CaptureBuffer, CaptureConfig
from include.localaws.context import Context
from include.localaws.execution import base_environment
from include.localaws.invocation_metrics import InvocationMetrics
from include.localaws.logs import LogStream
from include.localaws.model_data import ServedModel
from include.localaws.model_server import STARTUP_SECONDS, STOP_GRACE_SECONDS, ModelServer, ServerSpec
from include.localaws.scheduler import SHUTDOWN_GRACE, Ticket
from include.localaws.store import Store

INVOCATION_SECONDS = 60.0  # how long a container may take to answer
LAST_ANSWERS_SECONDS = 3.0  # for requests that are under way when the server is told to end


@dataclass(frozen=True)
class Variant:
    """One running production variant. One model server stands for all its instances."""

    name: str
    weight: float
    server: ModelServer
    stream: LogStream


class Fleet:
    """All variants of an endpoint under one configuration."""

    def __init__(self, endpoint: str, variants: list[Variant], capture: CaptureConfig | None) -> None:
        self.endpoint = endpoint
        self.variants = variants
        self.capture = capture
        self._users = 0
        self._changed = threading.Condition()

    def enter(self) -> None:
        """One request more."""
        with self._changed:
            self._users += 1

    def leave(self) -> None:
        """One request less."""
        with self._changed:
            self._users -= 1
            self._changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """Wait until no request uses the fleet; False when the timeout (seconds) passed first."""
        with self._changed:
            return self._changed.wait_for(lambda: self._users == 0, timeout)

    def choose(self, target: str | None, draw: Callable[[], float] = random.random) -> Variant | None:
        """The named variant (None: there is none), else one drawn by weight."""
        if target is not None:
            return next((v for v in self.variants if v.name == target), None)
        total = sum(v.weight for v in self.variants)
        if total <= 0:
            return self.variants[int(draw() * len(self.variants))]
        rest = draw() * total
        for variant in self.variants:
            rest -= variant.weight
            if rest < 0:
                return variant
        return self.variants[-1]

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End all servers, at the same time; `grace` in seconds between SIGTERM and SIGKILL."""
        enders = [threading.Thread(target=v.server.stop, args=(grace,)) for v in self.variants]
        for thread in enders:
            thread.start()
        for thread in enders:
            thread.join()
        for variant in self.variants:
            variant.stream.close()


class Hosting:
    """The fleets of one server."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._fleets: dict[str, Fleet] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.capture = CaptureBuffer(self._put_capture)
        self.metrics = InvocationMetrics(ctx.metrics)

    def _put_capture(self, uri: str, body: bytes) -> None:
        bucket, key = s3data.split(uri)
        self._ctx.s3.put_bytes(bucket, key, body, content_type="application/jsonlines")

    def build(self, endpoint: str, plan: Mapping[str, Any], cancelled: Callable[[], bool]) -> Fleet:
        """Start the servers of a plan and wait until all are healthy.

        ModelServerError when one is not, Cancelled when the caller's question says so; then none is left.
        """
        variants = [self._variant(endpoint, variant) for variant in plan["variants"]]
        fleet = Fleet(endpoint, variants, CaptureConfig.of(plan.get("capture")))
        try:
            for variant in variants:
                variant.server.start()
            for variant in variants:
                variant.server.wait_healthy(cancelled)
        except BaseException:
            fleet.stop(SHUTDOWN_GRACE)
            raise
        for variant in variants:
            variant.server.keep_running()
        return fleet

    def _variant(self, endpoint: str, plan: Mapping[str, Any]) -> Variant:
        instance = f"i-{uuid.uuid4().hex[:17]}"
        stream = self._ctx.logs.open(log_group(endpoint), f"{plan['name']}/{instance}")
        spec = ServerSpec(
            label=f"production variant {plan['name']}",
            model=ServedModel.from_document(plan["served"]),
            home=self._ctx.config.state / "endpoints" / endpoint / instance,
            on_line=stream.write,
            environment=base_environment(self._ctx),
            startup_seconds=plan.get("startup_seconds") or STARTUP_SECONDS,
        )
        return Variant(plan["name"], plan["weight"], ModelServer(self._ctx, spec), stream)

    def install(self, fleet: Fleet) -> Fleet | None:
        """Send the endpoint's requests to this fleet from now on; gives the one it replaces."""
        with self._lock:
            old = self._fleets.get(fleet.endpoint)
            if not self._closed:
                self._fleets[fleet.endpoint] = fleet
                return old
        fleet.stop(SHUTDOWN_GRACE)
        return None

    def remove(self, endpoint: str) -> Fleet | None:
        """Take the endpoint's requests away from its fleet, which is returned."""
        with self._lock:
            return self._fleets.pop(endpoint, None)

    def retire(self, fleet: Fleet) -> None:
        """End a fleet that gets no more requests: answers first, then the servers, then its captured data."""
        fleet.drain(INVOCATION_SECONDS)
        fleet.stop()
        self.capture.flush(fleet.endpoint)

    @contextmanager
    def serving(self, endpoint: str) -> Iterator[Fleet | None]:
        """The endpoint's fleet, held for one request; None when nothing serves it now."""
        with self._lock:
            fleet = self._fleets.get(endpoint)
            if fleet is not None:
                fleet.enter()
        try:
            yield fleet
        finally:
            if fleet is not None:
                fleet.leave()

    def run(self, ticket: Ticket) -> None:
        """Live as long as the server does, then end in order."""
        ticket.wait_stop(threading.TIMEOUT_MAX)
        self.close()

    def close(self) -> None:
        """Take no more requests, answer those under way, write captured data and metrics, end the servers."""
        with self._lock:
            self._closed = True
            fleets = list(self._fleets.values())
            self._fleets.clear()
        for fleet in fleets:
            fleet.drain(LAST_ANSWERS_SECONDS)
        self.capture.close()
        self.metrics.close()
        for fleet in fleets:
            fleet.stop(SHUTDOWN_GRACE)


def log_group(endpoint: str) -> str:
    """The CloudWatch log group of an endpoint's containers."""
    return f"/aws/sagemaker/Endpoints/{endpoint}"


_registry: dict[Store, Hosting] = {}
_registry_lock = threading.Lock()


def hosting(ctx: Context) -> Hosting:
    """The one Hosting of a context; made when first asked for, ended by the scheduler's shutdown."""
    with _registry_lock:
        found = _registry.get(ctx.store)
        if found is None:
            found = Hosting(ctx)
            ctx.jobs.spawn("hosting", "all endpoints", found.run)
            _registry[ctx.store] = found
        return found

"""What is behind endpoints while the server runs: fleets of model servers, and who gets which request.

The store knows what an endpoint should serve; this module knows what does serve it now. A request holds on to the
fleet it was given until it is answered, so that a fleet that was replaced ends only when nobody uses it any more.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from localaws.context import Context
from localaws.engine.scheduler import Ticket
from localaws.jobs import s3data
from localaws.jobs.execution import base_environment
from localaws.serving.async_invocations import AsyncWorker
from localaws.serving.async_queue import AsyncQueues
from localaws.serving.capture import CaptureBuffer, CaptureConfig, Payload, record_line
from localaws.serving.invocation_metrics import InvocationMetrics
from localaws.serving.model_data import ServedModel
from localaws.serving.model_pipeline import Pipeline
from localaws.serving.model_server import STARTUP_SECONDS, STOP_GRACE_SECONDS, ModelServer, ServerSpec
from localaws.serving.variants import Instance, MakeInstance, ServerlessVariant, Variant, end_all
from localaws.store import Store

LOG = logging.getLogger("localaws.hosting")
INVOCATION_SECONDS = 60.0  # how long a container may take to answer
QUEUED_SECONDS = 3600.0  # the same for asynchronous invocations, whose requests say how long: the most they may say
LAST_ANSWERS_SECONDS = 3.0  # for requests that are under way when the server is told to end
UNUSED_GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL of servers that have never got a request
TICK_SECONDS = 1.0
START_TRIES = 3  # of a program that ends before it is healthy, unless times are AWS-like


Busy = tuple[Variant, list[Instance]]  # instances that get no more requests, but have some under way


def _patiently(drain: Callable[[float], bool], unwanted: Callable[[], bool]) -> None:
    """Wait by `drain` for asynchronous requests, each of which has a limit of its own, or until `unwanted` says so."""
    deadline = time.monotonic() + QUEUED_SECONDS
    while not drain(TICK_SECONDS) and time.monotonic() < deadline:
        if unwanted():
            drain(LAST_ANSWERS_SECONDS)
            return


class Fleet:
    """All variants of an endpoint under one configuration; `queued` is its AsyncInferenceConfig, if it has one."""

    def __init__(
        self,
        endpoint: str,
        variants: list[Variant],
        capture: CaptureConfig | None,
        queued: Mapping[str, Any] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.variants = variants
        self.capture = capture
        self.queued = queued
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

    def start(self, cancelled: Callable[[], bool]) -> None:
        """Start all servers; ModelServerError when one is not healthy, Cancelled; then none is left."""
        try:
            for variant in self.variants:
                variant.launch()
            for variant in self.variants:
                variant.wait_healthy(cancelled)
        except BaseException:
            self.stop(UNUSED_GRACE_SECONDS)
            raise
        for variant in self.variants:
            variant.keep_running()

    def scale(self, changes: Mapping[str, Mapping[str, Any]], cancelled: Callable[[], bool]) -> list[Busy]:
        """Change weights, instance counts and serverless limits of variants, all of them or none.

        New servers are healthy before anything changes; ModelServerError or Cancelled when one is not. Those that are
        let go have answered their requests before they are ended; those that have an asynchronous one which takes
        longer than others may are returned, for `release`.
        """
        new: dict[str, list[Instance]] = {}
        try:
            for variant in self.variants:
                change = changes.get(variant.name, {})
                if isinstance(variant, ServerlessVariant) and "serverless" in change:
                    variant.adjust(change["serverless"], cancelled)
                elif "instances" in change:
                    new[variant.name] = variant.grow(change["instances"], cancelled)
        except BaseException:
            end_all([instance for started in new.values() for instance in started], UNUSED_GRACE_SECONDS)
            raise
        for variant in self.variants:
            variant.weight = changes.get(variant.name, {}).get("weight", variant.weight)
        busy: list[Busy] = []
        for variant in self.variants:
            if variant.name in new:
                gone = variant.resize(changes[variant.name]["instances"], new[variant.name])
                if variant.drain(gone, INVOCATION_SECONDS) or self.queued is None:
                    end_all(gone, STOP_GRACE_SECONDS)
                else:
                    busy.append((variant, gone))
        return busy

    def release(self, busy: list[Busy], unwanted: Callable[[], bool]) -> None:
        """End servers that were let go when their asynchronous requests are answered, or `unwanted` says so."""
        for variant, gone in busy:
            _patiently(partial(variant.drain, gone), unwanted)
            end_all(gone, STOP_GRACE_SECONDS)

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End all servers, at the same time; `grace` in seconds between SIGTERM and SIGKILL."""
        enders = [threading.Thread(target=v.stop, args=(grace,)) for v in self.variants]
        for thread in enders:
            thread.start()
        for thread in enders:
            thread.join()


class Hosting:
    """The fleets of one server."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._fleets: dict[str, Fleet] = {}
        self._lock = threading.Lock()
        self._closed = False
        self.capture = CaptureBuffer(self._put_capture, ctx.profile.capture_flush)
        self.metrics = InvocationMetrics(ctx.metrics)
        self.queues = AsyncQueues(ctx.config.state / "async", ctx.clock, AsyncWorker(ctx, self))

    def _put_capture(self, uri: str, body: bytes) -> None:
        bucket, key = s3data.split(uri)
        self._ctx.s3.put_bytes(bucket, key, body, content_type="application/jsonlines")

    def keep(
        self,
        fleet: Fleet,
        variant: str,
        request: Callable[[], Payload],
        response: Payload,
        *,
        inference_id: str | None,
        custom_attributes: str | None,
    ) -> None:
        """Capture an invocation that was answered well, if the endpoint's configuration and its percentage say so."""
        if fleet.capture is None or not fleet.capture.sampled():
            return
        at = datetime.fromtimestamp(self._ctx.clock(), UTC)
        line = record_line(
            fleet.capture,
            request(),
            response,
            at,
            event_id=str(uuid.uuid4()),
            inference_id=inference_id,
            custom_attributes=custom_attributes,
        )
        self.capture.add(fleet.capture.destination, fleet.endpoint, variant, at, line)

    def build(self, endpoint: str, plan: Mapping[str, Any], cancelled: Callable[[], bool]) -> Fleet:
        """Start the servers of a plan and wait until all are healthy.

        ModelServerError when one is not, Cancelled when the caller's question says so; then none is left.
        """
        variants = [self._variant(endpoint, variant) for variant in plan["variants"]]
        fleet = Fleet(endpoint, variants, CaptureConfig.of(plan.get("capture")), plan.get("async"))
        fleet.start(cancelled)
        return fleet

    def _variant(self, endpoint: str, plan: Mapping[str, Any]) -> Variant:
        make, profile = self._maker(endpoint, plan), self._ctx.profile
        if serverless := plan.get("serverless"):
            return ServerlessVariant(plan["name"], plan["weight"], make, serverless, profile)
        return Variant(plan["name"], plan["weight"], make, plan["instances"], plan.get("routing"), profile)

    def _maker(self, endpoint: str, plan: Mapping[str, Any]) -> MakeInstance:
        served = ServedModel.from_document(plan["served"])

        def make(on_change: Callable[[], None]) -> Instance:
            instance = f"i-{uuid.uuid4().hex[:17]}"
            servers, streams = [], []
            for container in (served, *served.then):
                suffix = f"/{container.name}" if served.then else ""
                stream = self._ctx.logs.open(log_group(endpoint), f"{plan['name']}/{instance}{suffix}")
                spec = ServerSpec(
                    label=f"production variant {plan['name']}",
                    model=container,
                    home=self._ctx.config.state / "endpoints" / endpoint / f"{instance}{suffix}".replace("/", "-"),
                    on_line=stream.write,
                    environment=base_environment(self._ctx),
                    startup_seconds=plan.get("startup_seconds") or STARTUP_SECONDS,
                    tries=None if self._ctx.profile.endpoint_start else START_TRIES,
                )
                servers.append(ModelServer(self._ctx, spec, on_change))
                streams.append(stream)
            server = Pipeline(servers) if served.then else servers[0]
            return Instance(server, streams[0], more_streams=streams[1:])

        return make

    def install(self, fleet: Fleet) -> Fleet | None:
        """Send the endpoint's requests to this fleet from now on; gives the one it replaces."""
        with self._lock:
            old = self._fleets.get(fleet.endpoint)
            if not self._closed:
                self._fleets[fleet.endpoint] = fleet
                return old
        fleet.stop(UNUSED_GRACE_SECONDS)
        return None

    def remove(self, endpoint: str) -> Fleet | None:
        """Take the endpoint's requests away from its fleet, which is returned."""
        with self._lock:
            return self._fleets.pop(endpoint, None)

    def retire(self, fleet: Fleet, unwanted: Callable[[], bool] = lambda: True) -> None:
        """End a fleet that gets no more requests: answers first, then the servers, then its captured data.

        Asynchronous requests may take longer than others; they are waited for until `unwanted` says so.
        """
        if not fleet.drain(INVOCATION_SECONDS) and fleet.queued is not None:
            _patiently(fleet.drain, unwanted)
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
        while not ticket.wait_stop(TICK_SECONDS):
            self.tick()
        self.close()

    def tick(self) -> None:
        """What is due from time to time: idle serverless servers end, expired asynchronous requests fail."""
        with self._lock:
            fleets = list(self._fleets.values())
        try:
            for fleet in fleets:
                for variant in fleet.variants:
                    variant.tick()
            self.queues.tick()
        except Exception:
            LOG.exception("a regular look at the endpoints failed")

    def close(self) -> None:
        """Take no more requests, answer those under way, write captured data and metrics, end the servers."""
        with self._lock:
            self._closed = True
            fleets = list(self._fleets.values())
            self._fleets.clear()
        self.queues.close()
        for fleet in fleets:
            fleet.drain(LAST_ANSWERS_SECONDS)
        self.capture.close()
        self.metrics.close()
        for fleet in fleets:
            fleet.stop(self._ctx.profile.shutdown_grace)


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

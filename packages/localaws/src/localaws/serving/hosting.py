"""What is behind endpoints while the server runs: the fleet of each, and which requests go to it.

The store knows what an endpoint should serve; this module knows what does serve it now. A request holds on to the
fleet it was given until it is answered, so that a fleet that was replaced ends only when nobody uses it any more.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from localaws.context import Context
from localaws.engine.scheduler import Ticket
from localaws.jobs import s3data
from localaws.jobs.execution import base_environment
from localaws.kinds import ENDPOINT
from localaws.serving.async_invocations import AsyncWorker
from localaws.serving.async_queue import AsyncQueues
from localaws.serving.capture import CaptureBuffer, CaptureConfig, CapturedPayload, record_line
from localaws.serving.fleet import LAST_ANSWERS_SECONDS, TICK_SECONDS, UNUSED_GRACE_SECONDS, Fleet
from localaws.serving.invocation_metrics import InvocationMetrics
from localaws.serving.model_data import ServedModel
from localaws.serving.model_pipeline import Pipeline
from localaws.serving.model_server import STARTUP_SECONDS, ModelServer, ServerSpec
from localaws.serving.variants import MakeInstance, ServerlessVariant, Variant, VariantInstance

LOG = logging.getLogger("localaws.hosting")
START_TRIES = 3  # of a program that ends before it is healthy, unless times are AWS-like


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
        request: Callable[[], CapturedPayload],
        response: CapturedPayload,
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

        def make(on_change: Callable[[], None]) -> VariantInstance:
            instance = f"i-{uuid.uuid4().hex[:17]}"
            servers, streams = [], []
            for container in (served, *served.then):
                suffix = f"/{container.name}" if served.then else ""
                stream = self._ctx.logs.open(ENDPOINT.group_of(endpoint), f"{plan['name']}/{instance}{suffix}")
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
            return VariantInstance(server, streams[0], more_streams=streams[1:])

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
        """End a fleet that gets no more requests: answers first, then the servers, then its captured data."""
        fleet.finish(unwanted)
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


_making = threading.Lock()


def hosting(ctx: Context) -> Hosting:
    """The one Hosting of a context; made when first asked for, ended by the scheduler's shutdown."""
    with _making:
        found: Hosting | None = ctx.parts.get("hosting")
        if found is None:
            found = Hosting(ctx)
            ctx.jobs.spawn("hosting", "all endpoints", found.run)
            ctx.parts["hosting"] = found
        return found

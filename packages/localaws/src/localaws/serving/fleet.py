"""A fleet: the model servers of an endpoint under one configuration, and which of its variants gets a request."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from localaws.serving.capture import CaptureConfig
from localaws.serving.model_server import STOP_GRACE_SECONDS
from localaws.serving.variants import ServerlessVariant, Variant, VariantInstance, end_all

INVOCATION_SECONDS = 60.0  # how long a container may take to answer
QUEUED_SECONDS = 3600.0  # the same for asynchronous invocations, whose requests say how long: the most they may say
LAST_ANSWERS_SECONDS = 3.0  # for requests that are under way when the server is told to end
UNUSED_GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL of servers that have never got a request
TICK_SECONDS = 1.0

Busy = tuple[Variant, list[VariantInstance]]  # instances that get no more requests, but have some under way


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
        new: dict[str, list[VariantInstance]] = {}
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

    def finish(self, unwanted: Callable[[], bool]) -> None:
        """End all servers when the requests under way are answered.

        Asynchronous requests may take longer than others; they are waited for until `unwanted` says so.
        """
        if not self.drain(INVOCATION_SECONDS) and self.queued is not None:
            _patiently(self.drain, unwanted)
        self.stop()

    def stop(self, grace: float = STOP_GRACE_SECONDS) -> None:
        """End all servers, at the same time; `grace` in seconds between SIGTERM and SIGKILL."""
        enders = [threading.Thread(target=v.stop, args=(grace,)) for v in self.variants]
        for thread in enders:
            thread.start()
        for thread in enders:
            thread.join()

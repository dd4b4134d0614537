"""The endings of the status matrix, played to the stock operators and sensors and to ours: what came of each.

    python -m tests.provider.comparison FILE        JSON; `make provider-page` keeps it and renders it

Everything is left at its defaults. Pauses pass at once, so that half an hour of waiting takes no time here: what counts
is how often somebody asks before he gives up.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks import sagemaker as sagemaker_hook
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators import sagemaker as operators
from airflow.providers.amazon.aws.sensors import sagemaker as sensors
from airflow.providers.amazon.aws.utils import waiter_with_logging
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from sagewind import aws
from sagewind.facts.kinds import KINDS
from sagewind.retrying import MOST_RETRIES
from sagewind.watches import endpoint as look_at_endpoint
from tests.plugins.matrix import ENDINGS, WAYS, Ending, Outcome, Stage, hurry, set_stage
from tests.plugins.requests import REQUESTS
from tests.plugins.scripted import ACCOUNT, BEGIN, World
from tests.provider.conftest import packages_of

OPERATORS = {
    "processing": operators.SageMakerProcessingOperator,
    "training": operators.SageMakerTrainingOperator,
    "tuning": operators.SageMakerTuningOperator,
    "transform": operators.SageMakerTransformOperator,
}
SENSORS = {
    "processing": sensors.SageMakerProcessingSensor,
    "training": sensors.SageMakerTrainingSensor,
    "tuning": sensors.SageMakerTuningSensor,
    "transform": sensors.SageMakerTransformSensor,
}
#: How often something may pause before it counts as endless.
MOST_PAUSES = 1000
NEVER_ENDS = "never ends"
GREEN = "success"
#: (what, EndpointStatus, the config that serves, whether there is a reason); `wanted` is what should serve.
ENDPOINTS = (
    ("in service with the new config", "InService", "wanted", False),
    ("rolled back to the old config", "InService", "old", True),
    ("out of service", "OutOfService", "wanted", False),
    ("roll-back failed", "UpdateRollbackFailed", "wanted", True),
    ("failed, with a reason", "Failed", "wanted", True),
    ("failed, without one", "Failed", "wanted", False),
)


class Endless(BaseException):
    """It has paused so often that it would do so for ever; nothing catches this on the way."""


class AsyncClient:
    """The scripted client as aiobotocore's would be."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.meta = client.meta
        self._endpoint = SimpleNamespace(http_session=None)  # whose class tells a waiter which loop it sleeps in

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._client, method)

        async def asked(**request: Any) -> Any:
            return call(**request)

        return asked

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


def provide(world: Any, patch: pytest.MonkeyPatch) -> None:
    """Make every hook of the provider talk to the world, and let its pauses pass at once."""
    pauses = iter(range(MOST_PAUSES))

    def pause(_: float) -> None:
        if next(pauses, None) is None:
            raise Endless

    async def pause_there(seconds: float) -> None:
        pause(seconds)

    async def async_connection(hook: Any) -> AsyncClient:
        return AsyncClient(world.client(hook.client_type))

    clock = iter(range(0, 10**9, 31))  # a job that is logged is described every 30 seconds only
    hurried = SimpleNamespace(sleep=pause, monotonic=lambda: next(clock), time=lambda: next(clock))
    patch.setattr(sagemaker_hook, "time", hurried)
    patch.setattr(waiter_with_logging, "asyncio", SimpleNamespace(sleep=pause_there))
    for name in ("conn", "_client"):
        patch.setattr(AwsGenericHook, name, property(lambda hook: world.client(hook.client_type)))
    patch.setattr(AwsGenericHook, "get_async_conn", async_connection)
    patch.setattr(SageMakerHook, "check_s3_url", lambda *_: True)


def stock_operator(kind: str, world: World, *, deferrable: bool) -> Any:
    """The provider's operator with the request of the matrix, run as scheduler and triggerer do."""
    name = KINDS[kind].name_field  # type: ignore[index]
    operator = OPERATORS[kind](
        task_id="step", config={**REQUESTS[kind], name: "job"}, deferrable=deferrable, aws_conn_id=None
    )
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda **_: None)}
    try:
        return operator.execute(context)
    except TaskDeferred as deferred:
        path, arguments = deferred.trigger.serialize()
        trigger = pkgutil.resolve_name(path)(**json.loads(json.dumps(arguments)))

        async def event() -> Any:
            return (await anext(aiter(trigger.run()))).payload

        return getattr(operator, deferred.method_name)(context, event=asyncio.run(event()))


def stock_sensor(kind: str, world: World) -> None:
    """The provider's sensor, on a job that somebody else has started."""
    world.start(kind, REQUESTS[kind], "job")
    sensor: Any = SENSORS[kind](task_id="wait", job_name="job", aws_conn_id=None)
    for _ in range(MOST_PAUSES):
        if sensor.poke({}):
            return
    raise Endless


def told(world: World, play: Callable[[], Any]) -> str:
    """What came of it, in a few words."""
    try:
        play()
    except Endless:
        return NEVER_ENDS
    except (AttributeError, TypeError, AssertionError):
        raise  # the fake is not good enough: that is nothing of the provider's
    except Exception as error:
        cause = f" {error}" if isinstance(error, KeyError) else ""
        alive = ", the job runs on" if any(job.alive for job in world.jobs.values()) else ""
        return f"failed ({type(error).__name__}{cause}){alive}"
    return GREEN


def ours(ending: Ending, outcome: Outcome, stage: Stage) -> str:
    """What came of one of the matrix's ways."""
    if not outcome.failed:
        return GREEN
    error = outcome.raised
    if error is None or isinstance(error, AirflowFailException):
        return f"failed: {ending.cause}" if error is None else f"failed: {ending.cause}, not tried again"
    decision = stage.operator().retry_policy.evaluate(error, 1, MOST_RETRIES, stage.task.context)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay is not None
    return f"{ending.cause}: tried again after {decision.retry_delay.total_seconds():.0f} s"


@contextmanager
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        yield patch


def row(ending: Ending, kind: str) -> dict[str, str]:
    """One ending of one kind of job."""
    found = {"ending": ending.name, "kind": kind}
    players: dict[str, Callable[[World], Any]] = {
        "stock operator": lambda world: stock_operator(kind, world, deferrable=False),
        "stock operator, deferrable": lambda world: stock_operator(kind, world, deferrable=True),
        "stock sensor": lambda world: stock_sensor(kind, world),
    }
    for name, play in players.items():
        with patched() as patch:
            world = World(ending.script)
            provide(world, patch)
            found[name] = told(world, partial(play, world))
    for name, way in (("Sagewind operator", "operator"), ("Sagewind sensor", "sensor")):
        with patched() as patch:
            stage = set_stage(ending, kind, way, patch)
            found[name] = ours(ending, WAYS[way](stage), stage)
    return found


class EndpointWorld(World):
    """One endpoint, which does not change any more."""

    def __init__(self, status: str, config: str, reason: bool) -> None:
        super().__init__(ENDINGS[0].script)
        self.status, self.config, self.reason = status, config, reason

    def _answer(self, operation: str, request: dict[str, Any], shape: Any) -> dict[str, Any]:
        found = {
            "EndpointName": request["EndpointName"],
            "EndpointArn": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/e",
            "EndpointConfigName": self.config,
            "EndpointStatus": self.status,
            "CreationTime": BEGIN,
            "LastModifiedTime": BEGIN,
        }
        return found | ({"FailureReason": "the alarm went off"} if self.reason else {})


def endpoint_row(what: str, status: str, config: str, reason: bool) -> dict[str, str]:
    """One state of an endpoint, to the stock sensor and to ours."""
    world = EndpointWorld(status, config, reason)
    with patched() as patch:
        provide(world, patch)
        patch.setattr(aws, "_client", lambda connection, region, service: world.client(service))
        sensor = sensors.SageMakerEndpointSensor(task_id="wait", endpoint_name="e", aws_conn_id=None)
        stock = told(world, partial(sensor.poke, {}))
        seen = look_at_endpoint(aws.AwsClients("c", None), endpoint="e", config="wanted")
    verdict = GREEN if seen.verdict == "good" else f"failed: {seen.line}"
    return {"endpoint": f"{what} (`{status}`)", "stock sensor": stock, "Sagewind sensor": verdict}


def main(argument: str) -> int:
    """Play everything and write what came of it."""
    logging.disable(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(packages_of("aiobotocore")))
        found = {
            "provider": importlib.metadata.version("apache-airflow-providers-amazon"),
            "airflow": importlib.metadata.version("apache-airflow"),
            "measured": datetime.now(UTC).date().isoformat(),
            "jobs": [row(ending, kind) for ending in ENDINGS for kind in ending.kinds],
            "endpoints": [endpoint_row(*each) for each in ENDPOINTS],
        }
    # A stock operator that cannot do the plain case here would be compared with a broken fake.
    plain = [each for each in found["jobs"] if each["ending"] == ENDINGS[0].name]
    assert all(set(each.values()) == {each["ending"], each["kind"], GREEN} for each in plain), plain
    Path(argument).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

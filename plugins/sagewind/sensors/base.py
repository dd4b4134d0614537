"""Sensors that start and end in the triggerer. They observe and never create or stop anything."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.sdk.exceptions import TaskDeferralError
from airflow.triggers.base import StartTriggerArgs

from sagewind import settings
from sagewind.aws import AwsClients, is_passing
from sagewind.errors import TaskRefused, break_of

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from sagewind.watches import Seen

_TRIGGERS = "sagewind.triggers.watch"


class WatchSensor(BaseSensorOperator):
    """Base of the sensors: no worker is used where the scheduler can start the trigger itself.

    Mapped tasks and `dag.test()` call `execute()` on a worker, which defers with the same trigger. Where there is no
    triggerer (a setting says so) a worker looks every `poke_interval` and is free in between. The
    limit is the same in all three: `limit_hours`.

    `watch` names a look of `sagewind.watches` and `arguments` are its arguments. Templates in them are rendered in the
    triggerer, where only Airflow's own variables are known; an `xcom_pull` must say `map_indexes`, or the triggerer
    cannot decode the answer. `about` is the task's `doc_md`, unless it is given another one.
    """

    template_fields = ("arguments",)
    watch: ClassVar[str]
    #: For the people who look at the task: what it waits for, what makes it red, what to look at then.
    about: ClassVar[str | None] = None
    trigger: ClassVar[str] = "WatchTrigger"

    def __init__(
        self,
        *,
        connection: str,
        arguments: dict[str, Any],
        region: str | None = None,
        limit_hours: float = 24,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("poke_interval", settings.SENSOR_LOOK_AGAIN.read())
        super().__init__(**{"mode": "reschedule", "timeout": limit_hours * 3600, "doc_md": self.about, **kwargs})
        self.connection = connection
        self.region = region
        self.limit_hours = limit_hours
        self.arguments = arguments
        # Per instance: the scheduler starts the trigger by itself where both are set.
        self.start_from_trigger = settings.TRIGGERER.read()
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=f"{_TRIGGERS}.{self.trigger}", trigger_kwargs=self._trigger_arguments(), next_method="ended"
        )

    def _trigger_arguments(self) -> dict[str, Any]:
        return {
            "watch": self.watch,
            "arguments": self.arguments,
            "connection": self.connection,
            "region": self.region,
            "limit_seconds": self.limit_hours * 3600,
        }

    def execute(self, context: Context) -> Any:
        """On a worker: defer with the same trigger, or look and come back where there is no triggerer."""
        if not settings.TRIGGERER.read():
            return super().execute(context)
        trigger = getattr(import_module(_TRIGGERS), self.trigger)
        self.defer(trigger=trigger(**self._trigger_arguments()), method_name="ended")
        raise AssertionError("defer() raises")

    def poke(self, context: Context) -> PokeReturnValue:
        """One look from a worker; faults of AWS that pass by themselves are waited out, as in the triggerer."""
        try:
            seen = self._look(context)
        except Exception as error:
            if not is_passing(error):
                raise
            self.log.warning("AWS did not answer (%s), asking again in %.0f s", error, self.poke_interval)
            return PokeReturnValue(is_done=False)
        self.log.info(seen.line)
        return PokeReturnValue(is_done=seen.verdict == "good", xcom_value=seen.record)

    def ended(self, context: Context, event: Any = None) -> dict[str, Any] | None:
        """Only `dag.test()` comes here, after the trigger has run: the triggerer ends the task itself."""
        seen = self._look(context)
        if seen.verdict == "waiting":
            raise TaskRefused(f"not within this sensor's limit: {seen.line}")
        return seen.record

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """A trigger that broke says why; a limit that is over stays Airflow's."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralError as error:
            raise TaskRefused(f"the watch broke off ({break_of(error, next_kwargs)}): clear this task") from error

    def _look(self, context: Context) -> Seen:
        from sagewind.watches import WATCHES

        seen = WATCHES[self.watch](AwsClients(self.connection, self.region), **self.arguments)
        if seen.verdict == "bad":
            if seen.record:
                context["ti"].xcom_push(key="return_value", value=seen.record)
            raise TaskRefused(seen.line)
        return seen

"""Sensors that start and end in the triggerer. They observe and never create or stop anything."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator
from airflow.triggers.base import StartTriggerArgs

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class TriggeredSensor(BaseSensorOperator):
    """Base of the sensors: no worker is used where the scheduler can start the trigger itself.

    `dag.test()` and mapped tasks call `execute()` on a worker, which defers with the same trigger. `trigger_fields`
    are names of attributes that the trigger takes as arguments; those that are template fields are rendered in the
    triggerer (an `xcom_pull` in them must say `map_indexes`, or the triggerer cannot decode the answer).
    """

    start_from_trigger = True
    trigger_path: ClassVar[str]
    trigger_fields: ClassVar[tuple[str, ...]]

    def __init__(self, *, connection: str, region: str | None, limit_hours: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connection = connection
        self.region = region
        self.limit_hours = limit_hours

    def arm(self) -> None:
        """Tell the scheduler which trigger to start; called by a subclass once its fields are set."""
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=self.trigger_path,
            trigger_kwargs=self.trigger_arguments(),
            next_method="ended",
        )

    def trigger_arguments(self) -> dict[str, Any]:
        """Arguments of the trigger."""
        return {
            **{name: getattr(self, name) for name in self.trigger_fields},
            "connection": self.connection,
            "region": self.region,
            "limit_seconds": self.limit_hours * 3600,
        }

    def execute(self, context: Context) -> None:
        """Fall-back on a worker: defer with the same trigger."""
        module, _, name = self.trigger_path.rpartition(".")
        trigger = getattr(import_module(module), name)
        self.defer(trigger=trigger(**self.trigger_arguments()), method_name="ended")

    def ended(self, context: Context, event: dict[str, Any] | None = None) -> None:
        """Never reached by a trigger of ours, which ends the task itself."""
        raise RuntimeError(f"task {self.task_id} was resumed although its trigger ends it: {event}")

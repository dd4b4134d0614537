"""Base of all operators: the run's plan as a template variable, the connection, the owner of what a task creates."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import jinja2
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from sagewind.aws import AwsClients
from sagewind.errors import TaskRefused
from sagewind.ownership import Owner
from sagewind.pipeline.errors import did_you_mean

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


#: A call that brings something into being: the boto3 method of SageMaker and its arguments.
Creation = tuple[str, dict[str, Any]]


class SagewindOperator(BaseOperator):
    """An operator of one model.

    Templates may use `plan`, the record that the run's first task returned (pulled once per task; `plan_task=None`
    where there is none), and `results.<task>.<field>`. `about` is the task's `doc_md`, unless it is given another one.
    """

    #: For the people who look at the task: what it does, what makes it red, what to look at then.
    about: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        model: str,
        connection: str,
        region: str | None = None,
        plan_task: str | None = "ingest",
        expires_hours: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"doc_md": self.about, **kwargs})
        self.model = model
        self.connection = connection
        self.region = region
        self.plan_task = plan_task
        self.expires_hours = expires_hours

    @property
    def aws(self) -> AwsClients:
        """Clients of the task's connection."""
        return AwsClients(self.connection, self.region)

    def creates(self, context: Context) -> list[Creation]:
        """What this task, once it is rendered, sends to SageMaker to create what is not there yet, in order.

        `execute()` sends these requests and no others, so what a dry run prints is what a run sends.
        """
        return []

    def send(self, creation: Creation) -> dict[str, Any]:
        """Send a request of `creates()`; returns the answer."""
        call, request = creation
        answer: dict[str, Any] = getattr(self.aws.client("sagemaker"), call)(**request)
        return answer

    def skipped(self, reason: str) -> AirflowSkipException:
        """To raise when what follows shall be skipped; logged too, as Airflow's pages fold an exception's text away."""
        self.log.info("skipped: %s", reason)
        return AirflowSkipException(reason)

    def refuse_unknown_conf(self, context: Context) -> None:
        """TaskRefused if the run's conf has a key that is no param of the DAG: Airflow ignores it without a word."""
        # The OpenLineage provider adds a key of its own to the conf of a run that another DAG triggers.
        given = {*(context["dag_run"].conf or {})} - {"openlineage"}
        if given and (unknown := sorted(given - {*self.dag.params})):
            hints = ((key, did_you_mean(key, self.dag.params)) for key in unknown)
            named = ", ".join(f"{key!r} ({hint})" if hint else repr(key) for key, hint in hints)
            raise TaskRefused(f"{self.dag_id} takes no conf key {named}: it takes {', '.join(self.dag.params)}")

    def plan(self, context: Context) -> dict[str, Any]:
        """What the run's first task returned; TaskRefused if it returned nothing."""
        found = context["ti"].xcom_pull(task_ids=self.plan_task) if self.plan_task else None
        if not isinstance(found, dict):
            raise TaskRefused(
                f"task {self.task_id} needs the plan of task {self.plan_task!r}, found {found!r}: run it first"
            )
        return found

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        """Render as Airflow does, with `plan` and `results` among the variables."""
        context = {**context, "results": Results(context)}  # type: ignore[typeddict-unknown-key]
        if self.plan_task:
            context = {**context, "plan": self.plan(context)}  # type: ignore[typeddict-unknown-key]
        try:
            super().render_template_fields(context, jinja_env)
        except jinja2.UndefinedError as error:
            raise TaskRefused(f"task {self.task_id} needs a value that is not there: {error}") from None

    def owned_by(self, context: Context) -> Owner:
        """The owner of what this task instance creates."""
        ti = context["ti"]
        expires = ""
        if self.expires_hours is not None:
            # From now, not from the run's date: a cleared task of an old run makes new things.
            expires = (datetime.now(UTC) + timedelta(hours=self.expires_hours)).isoformat()
        return Owner(
            model=self.model,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=-1 if ti.map_index is None else ti.map_index,
            try_number=ti.try_number,
            expires=expires,
        )


class Results:
    """Template variable: `results.<task>.<field>` is a field of the record that an earlier task returned."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __getitem__(self, task_id: str) -> dict[str, Any]:
        return pulled(self._context, task_id)


def pulled(context: Context, task_id: str) -> dict[str, Any]:
    """The record that an earlier task returned; TaskRefused if it returned none."""
    found = record_of(context, task_id)
    if found is None:
        raise TaskRefused(
            f"task {task_id} left no record, as it did not run or was marked successful by hand: clear it"
        )
    return found


def record_of(context: Context, task_id: str) -> dict[str, Any] | None:
    """The record that an earlier task returned, or None if it returned nothing.

    A record that a trigger pushed (TaskSuccessEvent) arrives as JSON text: Airflow 3.3.2 encodes it once more than a
    record that a worker pushed (seen; XComModel.set against the task SDK's BaseXCom).
    """
    found = context["ti"].xcom_pull(task_ids=task_id)
    if isinstance(found, str):
        found = json.loads(found)
    if found is None:
        return None
    if not isinstance(found, dict):
        raise TaskRefused(f"task {task_id} returned {found!r}, expected its record: run it first")
    return found

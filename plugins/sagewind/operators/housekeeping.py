"""Account hygiene: what is expired, idle or without an owner, told by default and removed on request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError

from sagewind import job_records, settings, taskstate
from sagewind.aws import look
from sagewind.facts.kinds import KINDS, JobApi
from sagewind.facts.resources import RESOURCES, ResourceName
from sagewind.facts.tags import DAG, ENVIRONMENT, EXPIRES, HANDED, MODEL, RUN, TASK
from sagewind.operators.base import SagewindOperator
from sagewind.pipeline.names import environment
from sagewind.sweeping import Sweep

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

#: What expires, in the order in which it may be deleted.
_EXPIRING: tuple[ResourceName, ...] = ("endpoint", "endpoint_config", "model")


class HousekeepingOperator(SagewindOperator):
    """Looks at everything that carries our owner tags; whatever has none of them is never touched.

    Finds resources past their `sagewind:expires`, endpoints without a request for `idle_hours`, and jobs without an
    owner: their task is over (or, if they were only started by it, their run), or they run for longer than both their
    own limit and `orphan_hours` (left out: the settings). `dry` (a template, default True) only tells. Returns
    {findings, deleted, dry_run}.
    """

    about = (
        "Looks for resources past their expiry, idle endpoints and jobs without an owner, among what carries our tags. "
        "Tells them in the log, and removes them if this is no dry run. Red: something could not be removed; the log "
        "lists it."
    )
    template_fields = ("dry",)
    ui_color = "#d7dbdd"

    def __init__(
        self, *, dry: str, idle_hours: int | None = None, orphan_hours: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(model="housekeeping", plan_task=None, **kwargs)
        self.dry = dry
        self.idle_hours = settings.ENDPOINT_IDLE.count() if idle_hours is None else idle_hours
        self.orphan_hours = settings.JOB_ORPHAN.count() if orphan_hours is None else orphan_hours

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, tell, and remove unless it is a dry run."""
        self.refuse_unknown_conf(context)
        dry = self.dry != "False"
        sweep, now = Sweep(self.aws), datetime.now(UTC)
        findings = [*self._resources(sweep, now), *self._jobs(sweep, now)]
        for finding in findings:
            self.log.warning("%(kind)s %(name)s of %(dag)s, run %(run)s: %(why)s", finding)
            if not dry and finding["remove"]:
                self._remove(sweep, finding)
        self.log.info("%d findings, %s", len(findings), "dry run: nothing removed" if dry else "removed what may go")
        if sweep.failed:
            raise RuntimeError(f"not everything could be removed, it may go on billing: {'; '.join(sweep.failed)}")
        return {"findings": findings, "deleted": sweep.deleted, "dry_run": dry}

    def _remove(self, sweep: Sweep, finding: dict[str, Any]) -> None:
        kind, name = finding["kind"], finding["name"]
        if kind in KINDS:
            sweep.attempt(
                f"{kind} job (stopped)", name, lambda: job_records.stop(self.aws, KINDS[kind], name, "housekeeping")
            )
        else:
            sweep.delete(RESOURCES[kind], name)

    def _resources(self, sweep: Sweep, now: datetime) -> Iterator[dict[str, Any]]:
        for kind in _EXPIRING:
            api = RESOURCES[kind]
            for item in list(sweep.listing(api)):
                tags = sweep.tags(item[api.arn_field])
                if not _ours(tags):
                    continue
                finding = _finding(kind, item[api.name_field], tags)
                expires = tags.get(EXPIRES)
                if expires and datetime.fromisoformat(expires) < now:
                    yield {**finding, "why": f"expired at {expires}", "remove": True}
                elif kind == "endpoint" and self._idle(item, now):
                    why = f"no request for {self.idle_hours} hours, and it bills by the hour"
                    yield {**finding, "why": why, "remove": False}

    def _jobs(self, sweep: Sweep, now: datetime) -> Iterator[dict[str, Any]]:
        """Jobs that nobody owns any more: what no hook could tell (O29)."""
        for kind in KINDS.values():
            for item in list(sweep.listing(kind, StatusEquals="InProgress")):
                marks = sweep.tags(item[kind.arn_field])
                if not _ours(marks):
                    continue
                name = item[kind.name_field]
                unowned = self._unowned(marks) or self._overdue(kind, name, item["CreationTime"], now)
                if unowned:
                    yield {**_finding(kind.name, name, marks), "why": unowned, "remove": True}

    def _unowned(self, marks: dict[str, str]) -> str | None:
        """Why a running job has no owner: its task has ended, or its run has if the task only started it."""
        if not {DAG, RUN, TASK} <= set(marks):
            return None
        try:
            if HANDED in marks:
                state = taskstate.run_state(marks[DAG], marks[RUN])
                return f"its run is {state}" if state in ("success", "failed") else None
            task = taskstate.task_state(taskstate.owner_of(marks))
        except AirflowRuntimeError:
            return None  # the API server does not know the run: it was started elsewhere, only its limit counts
        return f"its task is {task}" if task in taskstate.OVER else None

    def _overdue(self, kind: JobApi, name: str, created: datetime, now: datetime) -> str | None:
        if created > now - timedelta(hours=self.orphan_hours):
            return None
        found = look(self.aws, kind, name)
        if found is None:
            return None
        limit = kind.limit_seconds(found, self.orphan_hours * 60, settings.JOB_START.read())
        if created > now - timedelta(seconds=limit):
            return None
        return f"runs since {created.isoformat()}, longer than it may"

    def _idle(self, item: dict[str, Any], now: datetime) -> bool:
        if item["CreationTime"] > now - timedelta(hours=self.idle_hours):
            return False
        points = self.aws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            Dimensions=[
                {"Name": "EndpointName", "Value": item["EndpointName"]},
                {"Name": "VariantName", "Value": "main"},
            ],
            StartTime=now - timedelta(hours=self.idle_hours),
            EndTime=now,
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return not sum(point["Sum"] for point in points)


def _ours(marks: dict[str, str]) -> bool:
    """Whether it was made by this Airflow: another one's runs have ids like ours, and states that we do not know."""
    return MODEL in marks and marks.get(ENVIRONMENT, "") == environment()


def _finding(kind: str, name: str, tags: dict[str, str]) -> dict[str, Any]:
    return {"kind": kind, "name": name, "dag": tags.get(DAG, "?"), "run": tags.get(RUN, "?")}

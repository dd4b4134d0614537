"""Account hygiene: what is expired, idle or without an owner, told by default and removed on request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sagewind import endpoints, jobs
from sagewind.kinds import KINDS
from sagewind.operators.base import SagewindOperator
from sagewind.ownership import TAG
from sagewind.sweeping import Sweep

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

_ARNS = {"endpoint": "EndpointArn", "endpoint_config": "EndpointConfigArn", "model": "ModelArn"}
_NAMES = {"endpoint": "EndpointName", "endpoint_config": "EndpointConfigName", "model": "ModelName"}


class HousekeepingOperator(SagewindOperator):
    """Looks at everything that carries our owner tags; whatever has none of them is never touched.

    Finds resources past their `sagewind:expires`, endpoints without a request for `idle_hours`, and jobs that run for
    longer than both their own limit and `orphan_hours`. `dry` (a template, default True) only tells. Returns
    {findings, deleted, dry_run}.
    """

    template_fields = ("dry",)
    ui_color = "#d7dbdd"

    def __init__(self, *, dry: str, idle_hours: int = 24, orphan_hours: int = 24, **kwargs: Any) -> None:
        super().__init__(model="housekeeping", plan_task=None, **kwargs)
        self.dry = dry
        self.idle_hours = idle_hours
        self.orphan_hours = orphan_hours

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, tell, and remove unless it is a dry run."""
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
            sweep.attempt(f"{kind} job (stopped)", name, lambda: jobs.stop(self.aws, KINDS[kind], name))
        elif kind == "endpoint":
            sweep.attempt("endpoint", name, lambda: endpoints.delete(self.aws, name))
        elif kind == "endpoint_config":
            sweep.delete_config(name)
        else:
            sweep.delete_model(name)

    def _resources(self, sweep: Sweep, now: datetime) -> Iterator[dict[str, Any]]:
        """Expired endpoints before configs before models: the order in which they may be deleted."""
        for kind, arn_field in _ARNS.items():
            for item in list(sweep.listing(kind)):
                tags = sweep.tags(item[arn_field])
                if TAG + "model" not in tags:
                    continue
                finding = _finding(kind, item[_NAMES[kind]], tags)
                expires = tags.get(TAG + "expires")
                if expires and datetime.fromisoformat(expires) < now:
                    yield {**finding, "why": f"expired at {expires}", "remove": True}
                elif kind == "endpoint" and self._idle(item, now):
                    why = f"no request for {self.idle_hours} hours, and it bills by the hour"
                    yield {**finding, "why": why, "remove": False}

    def _jobs(self, sweep: Sweep, now: datetime) -> Iterator[dict[str, Any]]:
        """Jobs that run for longer than they may: their own time limit, or `orphan_hours` if that is more."""
        for kind in KINDS.values():
            for item in list(sweep.listing(kind.name, StatusEquals="InProgress")):
                if item["CreationTime"] > now - timedelta(hours=self.orphan_hours):
                    continue
                name = item[kind.name_field]
                found, tags = jobs.look(self.aws, kind, name), sweep.tags(item[kind.arn_field])
                if found is None or TAG + "model" not in tags:
                    continue
                limit = kind.limit_seconds(found, self.orphan_hours * 60)
                if item["CreationTime"] < now - timedelta(seconds=limit):
                    why = f"runs since {item['CreationTime'].isoformat()}, longer than it may"
                    yield {**_finding(kind.name, name, tags), "why": why, "remove": True}

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


def _finding(kind: str, name: str, tags: dict[str, str]) -> dict[str, Any]:
    return {"kind": kind, "name": name, "dag": tags.get(TAG + "dag", "?"), "run": tags.get(TAG + "run", "?")}

"""Decisions about where a run goes: is there traffic, shall it deploy, was there drift; and publishing scores."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sagewind import capture, s3
from sagewind.operators.base import SagewindOperator, record_of

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class TrafficOperator(SagewindOperator):
    """Lists the captured traffic of the run's window in a manifest; skips what follows if there was none.

    No traffic is no verdict: it is neither ok nor a violation. Objects that hold nothing but the requests of our own
    verification are left out. Returns {manifest, objects}.
    """

    about = (
        "Lists the requests that the endpoint captured in the run's window. Skipped, with all that follows: nobody "
        "sent any. Red: S3 could not be read; the error is in the log."
    )
    template_fields = ("folder", "manifest")

    def __init__(self, *, folder: str, manifest: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.manifest = manifest

    def execute(self, context: Context) -> dict[str, Any]:
        """List and write down."""
        window = self.plan(context)["window"]
        start = datetime.fromisoformat(window["start"]) if window["start"] else None
        listed = list(capture.in_window(self.aws, self.folder, start, datetime.fromisoformat(window["end"])))
        uris = capture.of_users(self.aws, listed)
        if not uris:
            raise self.skipped(f"no traffic of users was captured below {self.folder} before {window['end']}")
        return {
            "manifest": capture.write_manifest(self.aws, self.folder, uris, self.manifest),
            "objects": len(uris),
        }


class ShallDeployOperator(SagewindOperator):
    """Skips the deployment of a backfilled run: a model of the past shall not replace the one that serves.

    `wish` (a template) is auto, always or never.
    """

    about = (
        "Decides whether this run deploys: the param `deploy`, and no backfill unless it says always. Skipped, with "
        "all that follows: the version is registered only."
    )
    template_fields = ("wish",)

    def __init__(self, *, wish: str, **kwargs: Any) -> None:
        super().__init__(plan_task=None, **kwargs)
        self.wish = wish

    def execute(self, context: Context) -> str:
        """Go on or skip."""
        if reason := self.reason_to_skip(context):
            raise self.skipped(reason)
        return self.wish

    def reason_to_skip(self, context: Context) -> str | None:
        """Why this run does not deploy; None if it does."""
        run_type = str(getattr(context["dag_run"].run_type, "value", context["dag_run"].run_type))
        if self.wish == "never" or (self.wish == "auto" and run_type == "backfill"):
            return f"registered, not deployed: a {run_type} run, and deploy is {self.wish!r}"
        return None


class DriftOperator(SagewindOperator):
    """Publishes the drift event (its outlet), once, if any verdict is a violation; skips otherwise.

    A check that was skipped or failed left no verdict and stops no event of another one. Returns the columns and
    metrics that the violations name.
    """

    about = (
        "Publishes one drift event if any verdict is a violation. Skipped: there was none. Red: a verdict cannot be "
        "read; look at the verdict's task."
    )

    def __init__(self, *, verdict_tasks: Sequence[str], **kwargs: Any) -> None:
        super().__init__(plan_task=None, **kwargs)
        self.verdict_tasks = tuple(verdict_tasks)

    def execute(self, context: Context) -> list[str]:
        """Publish or skip."""
        verdicts = [found for task_id in self.verdict_tasks if (found := record_of(context, task_id)) is not None]
        violations = [violation for verdict in verdicts for violation in verdict["violations"]]
        if not violations:
            said = "no check found a violation" if verdicts else "no check came to a verdict"
            raise self.skipped(f"{said}: no drift event")
        named = {
            kind: sorted({violation[key] for violation in violations if key in violation})
            for kind, key in (("columns", "feature_name"), ("metrics", "metric_name"))
        }
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {**named}
        for kind, names in named.items():
            if names:
                self.log.warning("drift in the %s %s", kind, ", ".join(names))
        return [*named["columns"], *named["metrics"]]


class PublishOperator(SagewindOperator):
    """Copies a checked result to its stable place. Returns {uri, files}."""

    about = (
        "Copies the checked result to the place where others read it. Red: S3 refused a copy; its answer is in the log."
    )
    template_fields = ("source", "target")

    def __init__(self, *, source: str, target: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target

    def execute(self, context: Context) -> dict[str, Any]:
        """Copy every object."""
        bucket, prefix = s3.split(self.source)
        files = 0
        for item in list(s3.listing(self.aws, self.source)):
            name = item["Key"].removeprefix(prefix.rstrip("/") + "/")
            s3.copy(self.aws, f"s3://{bucket}/{item['Key']}", f"{self.target}/{name}")
            files += 1
        return {"uri": self.target, "files": files}

"""The end of a run: nothing billable stays, whatever happened before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagewind.errors import ResourceBusy, TaskRefused
from sagewind.operators.base import SagewindOperator
from sagewind.pipeline.names import run_hash
from sagewind.sweeping import Sweep

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class TeardownOperator(SagewindOperator):
    """Stops and deletes everything whose name holds this run's hash, unless an endpoint of another owner uses it.

    Names are deterministic, so this needs no answer of an earlier task: what a task made before it died is found too.
    `everything` also deletes the run's own endpoint and package group (a rehearsal's); else only what no endpoint uses
    any more is deleted: after a verified deployment the superseded config and model, after another one the run's own.
    `keep` (a template) skips it. Returns {deleted, kept}.
    """

    about = (
        "Stops the run's jobs that still run and deletes what the run made and nobody needs any more, whatever "
        "happened. Red: something could not be deleted and may go on billing; the log lists it."
    )
    template_fields = ("keep", "endpoint")
    ui_color = "#d7dbdd"

    def __init__(
        self, *, endpoint: str, everything: bool, keep: str = "", verify_task: str = "verify", **kwargs: Any
    ) -> None:
        super().__init__(plan_task=None, **kwargs)
        self.verify_task = verify_task
        self.endpoint = endpoint
        self.everything = everything
        self.keep = keep

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete, then fail with a list if something could not be deleted."""
        ti = context["ti"]
        if self.keep == "True":
            self.log.warning("kept on request: delete the endpoint when you have seen enough, it bills by the hour")
            self._check_not_ended_by_hand(ti)
            return {"deleted": [], "kept": True}
        sweep = Sweep(self.aws)
        digest = run_hash(ti.dag_id, ti.run_id)
        sweep.stop_jobs(digest)
        if self.everything:
            sweep.delete_endpoints(digest)
            sweep.delete_package_groups(digest)
        sweep.delete_unused_configs_and_models(digest)
        if not self.everything and ti.xcom_pull(task_ids=self.verify_task) is not None:
            sweep.delete_superseded(self.endpoint, self.model, digest)
        for item in sweep.deleted:
            self.log.info("cleaned up: %s %s", item["kind"], item["name"])
        if sweep.failed:
            raise ResourceBusy(f"not everything could be deleted, it may go on billing: {'; '.join(sweep.failed)}")
        self._check_not_ended_by_hand(ti)
        return {"deleted": sweep.deleted, "kept": False}

    def _check_not_ended_by_hand(self, ti: Any) -> None:
        """Refuse to be the green end of a run that somebody marked as failed.

        Airflow then skips what is pending, the task `complete` too, and would judge the run by this task alone.
        """
        states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id], task_ids=["complete"])
        state = states.get(ti.run_id, {}).get("complete")
        if str(getattr(state, "value", state)) == "skipped":
            raise TaskRefused(
                "the run was ended before it was complete: it is no success, although its teardown is done"
            )

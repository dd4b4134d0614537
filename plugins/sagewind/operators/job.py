"""The operator that owns one SageMaker job: creates it or attaches to it, waits in the triggerer, says how it ended."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from include.pipeline.names import JOB_NAME_LIMIT
from sagewind import jobs
from sagewind.aws import error_code
from sagewind.errors import JobFailed, JobLost, NotReady, Refused
from sagewind.kinds import KINDS, KindName
from sagewind.operators.base import SagewindOperator
from sagewind.ownership import TAG, Owner, check_rendered, decide, fingerprint
from sagewind.patience import until

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

_STATE_KEY = "sagewind_job"
#: FailureReason texts of ends that another try may not meet (AWS developer guide, "Troubleshoot").
_INFRASTRUCTURE = ("CapacityError", "InternalServerError", "Internal Error", "ResourceLimitExceeded", "Throttling")


class JobOperator(SagewindOperator):
    """Starts a processing, training, tuning or transform job exactly once and waits for it without a worker.

    Corrects the provider's operators: a retry attaches to the running job instead of paying for a second one, a kill
    stops the job, the wait ends with the job's own time limit instead of 30 minutes, `Stopped` is a failure, and the
    end names the reason with the job's last log lines. `wait=False` starts only; a `JobSensor` waits later.

    `request` is the Create request without name and tags; `step` is the readable part of the name. Returns the typed
    record of `sagewind.jobs.record`.
    """

    template_fields = ("request",)
    template_fields_renderers = {"request": "json"}  # noqa: RUF012 - Airflow reads the class attribute
    ui_color = "#d6eaf8"

    def __init__(
        self,
        *,
        kind: KindName,
        step: str,
        request: dict[str, Any],
        wait: bool = True,
        transform_minutes: int = 60,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"unknown kind of job {kind!r}: use one of {', '.join(KINDS)}")
        self.kind = kind
        self.step = step
        self.request = request
        self.wait = wait
        self.transform_minutes = transform_minutes

    def execute(self, context: Context) -> dict[str, Any]:
        """Create or attach, then wait in the triggerer; a record at once if the job had ended or `wait` is False."""
        from sagewind.triggers.job import JobTrigger

        check_rendered(self.request)
        kind, owner = KINDS[self.kind], self.owned_by(context)
        name, generation = self._own(context, owner)
        found = jobs.look(self.aws, kind, name)
        if found is None:
            raise JobLost(f"{self.kind} job {name} was started but cannot be found: a retry starts it anew")
        if not self.wait or jobs.ended(kind, found):
            return self._finish(jobs.record(self.aws, kind, found, generation), starting=not self.wait)
        limit = kind.limit_seconds(self.request, self.transform_minutes)
        self.defer(
            trigger=JobTrigger(
                kind=self.kind,
                name=name,
                generation=generation,
                connection=self.connection,
                region=self.region,
                limit_at=time.time() + limit,
                task={
                    "dag_id": owner.dag_id,
                    "run_id": owner.run_id,
                    "task_id": owner.task_id,
                    "map_index": owner.map_index,
                },
            ),
            method_name="resume",
        )
        raise AssertionError("defer() raises")

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Back on a worker because the job ended badly: say why, in the way Airflow's retries understand."""
        return self._finish(event, starting=False)

    def on_kill(self) -> None:
        """The worker's half of a kill: stop the job if the task is really over (a clear keeps it, see JobTrigger)."""
        from sagewind.triggers.job import OVER, task_state

        held = getattr(self, "_held", None)
        if held is None:
            return
        name, owner = held
        state = task_state(owner)
        if state in OVER and jobs.stop(self.aws, KINDS[self.kind], name):
            self.log.info("%s job %s is being stopped: its task was ended as %s", self.kind, name, state)

    def _own(self, context: Context, owner: Owner) -> tuple[str, int]:
        """Bring the job of this task into being, or find it; returns its name and generation."""
        kind, digest, ti = KINDS[self.kind], fingerprint(self.request), context["ti"]
        store = context["task_state_store"]
        known = cast("dict[str, Any]", store.get(_STATE_KEY) or {})
        generation = int(known.get("generation", 1))
        cleared = bool(known) and known["max_tries"] != ti.max_tries
        while True:
            name = owner.job_name(kind, self.step, generation)
            found = jobs.look(self.aws, kind, name)
            action = decide(
                status=found[kind.status_field] if found else None,
                same=found is not None and self._fingerprint_of(found) == digest,
                cleared=cleared,
                name=name,
            )
            if action == "replace":
                self.log.info("%s job %s runs an older request: stopping it", self.kind, name)
                jobs.stop(self.aws, kind, name)
                if not until(partial(self._has_ended, name), minutes=20):
                    raise NotReady(f"{self.kind} job {name} runs an older request and does not stop: stop it in AWS")
            if action in ("next", "replace"):
                generation, cleared = generation + 1, False
                continue
            # Stored before the job exists: a crash in between finds nothing under this name and creates it.
            store.set(_STATE_KEY, {"generation": generation, "max_tries": ti.max_tries})
            self._held = (
                name,
                {key: getattr(owner, key) for key in ("dag_id", "run_id", "task_id", "map_index")},
            )
            if action == "create":
                self._create(owner, name, generation, digest)
            else:
                self.log.info("attached to %s job %s (generation %d)", self.kind, name, generation)
            return name, generation

    def _has_ended(self, name: str) -> bool:
        found = jobs.look(self.aws, KINDS[self.kind], name)
        return found is None or jobs.ended(KINDS[self.kind], found)

    def _create(self, owner: Owner, name: str, generation: int, digest: str) -> None:
        from botocore.exceptions import ClientError

        kind = KINDS[self.kind]
        if len(name) > min(kind.name_limit, JOB_NAME_LIMIT):
            raise Refused(f"job name {name!r} is longer than {kind.name_limit} characters: shorten the model's name")
        tags = owner.tags(generation=generation, fingerprint=digest)
        try:
            getattr(self.aws.client("sagemaker"), kind.create)(**{kind.name_field: name, "Tags": tags, **self.request})
        except ClientError as error:
            if error_code(error) != "ResourceInUse":
                raise
            self.log.info("%s job %s was started by another try of this task", self.kind, name)
        else:
            self.log.info("started %s job %s (generation %d)", self.kind, name, generation)

    def _fingerprint_of(self, found: dict[str, Any]) -> str | None:
        arn = found[KINDS[self.kind].arn_field]
        pages = self.aws.client("sagemaker").get_paginator("list_tags").paginate(ResourceArn=arn)
        tags = {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
        return tags.get(TAG + "fingerprint")

    def _finish(self, record: dict[str, Any], *, starting: bool) -> dict[str, Any]:
        status, name = record["status"], record["name"]
        if status == "Completed" or (starting and status not in ("Failed", "Stopped")):
            return record
        for line in jobs.log_tail(self.aws, KINDS[self.kind], name):
            self.log.info("[%s] %s", name, line)
        reason = record.get("reason") or "no reason given"
        if status == "Disappeared":
            raise JobLost(f"{self.kind} job {name} has disappeared: somebody deleted it")
        if status == "TimedOut":
            raise JobFailed(f"{self.kind} job {name} passed its time limit and was stopped: raise max_minutes")
        if status == "Stopped":
            raise JobFailed(f"{self.kind} job {name} was stopped ({reason}): its result is not there")
        if any(word in reason for word in _INFRASTRUCTURE):
            raise JobLost(f"{self.kind} job {name} failed outside its code: {reason}")
        raise JobFailed(f"{self.kind} job {name} failed: {reason}")

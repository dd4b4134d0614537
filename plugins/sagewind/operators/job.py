"""The operator that owns one SageMaker job: creates it or attaches to it, waits in the triggerer, says how it ended.

What happens at which event is the table of docs/decisions/0025-who-owns-a-job.md; its rows are named here.
"""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout

from sagewind import endings, job_records, joblogs, jobwords, settings, tags
from sagewind.aws import error_code, look
from sagewind.endings import Ending, EndingCause
from sagewind.errors import JobFailed, JobLost, NoCapacity, ResourceBusy, TaskRefused, break_of
from sagewind.facts.kinds import KINDS, KindName
from sagewind.facts.tags import FINGERPRINT, HANDED, STOP, TRY
from sagewind.links import JobLink
from sagewind.operators.base import Creation, SagewindOperator
from sagewind.ownership import FoundJob, Owner, check_rendered, decide, fingerprint
from sagewind.patience import until
from sagewind.retrying import STATE_KEY, JobRetryPolicy

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

#: Seconds after a kill in which a job may appear whose Create was under way; Airflow leaves a process some seconds.
_IN_FLIGHT = 30.0
#: Seconds after the job's limit at which Airflow itself gives up waiting: the trigger stops the job before that.
_BACKSTOP = 300
#: Codes with which Create refuses a job for want of machines or quota.
_NO_CAPACITY = ("ResourceLimitExceeded", "CapacityError")
#: What makes a job's task red, by whether the task waits for the job's end.
_RED = {
    True: "Red: the job ended badly; the reason and the last lines of its log are in this task's log, all of its log "
    "behind the button SageMaker job.",
    False: "Red: the job could not be started; AWS's answer is in the log.",
}


class JobOperator(SagewindOperator):
    """Starts a processing, training, tuning or transform job exactly once and waits for it without a worker.

    Corrects the provider's operators: a retry attaches to the running job instead of paying for a second one, a kill
    stops the job, the wait ends with the job's own time limit instead of 30 minutes, `Stopped` is a failure, and the
    end names the reason with the job's last log lines. `wait=False` starts only; a `JobSensor` waits later.

    `request` is the Create request without name and tags; `step` is the readable part of the name; `logs` is `end` (the
    last lines) or `live`. For want of machines or quota it tries for `capacity_hours`, if `retries` allow (give
    `sagewind.retrying.MOST_RETRIES`). Returns the typed record of `sagewind.job_records.record`; a failed task
    pushes it under the key `job`. The task's `doc_md` tells what the job runs, after the one that is given.
    """

    template_fields = ("request",)
    template_fields_renderers = {"request": "json"}  # noqa: RUF012 - Airflow reads the class attribute
    operator_extra_links = (JobLink(),)
    ui_color = "#d6eaf8"
    #: Of mapped tasks, whose kind Airflow does not see; an instance is named by its kind.
    custom_operator_name = "SageMaker job"
    #: The job that this task holds, once it is known.
    job_name: str | None = None
    _creating = False

    def __init__(
        self,
        *,
        kind: KindName,
        step: str,
        request: dict[str, Any],
        wait: bool = True,
        logs: Literal["end", "live"] = "end",
        transform_minutes: int = 60,
        capacity_hours: float = 12,
        **kwargs: Any,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown kind of job {kind!r}: use one of {', '.join(KINDS)}")
        if logs not in ("end", "live"):
            raise ValueError(f"logs is {logs!r}: use end or live")
        kwargs.setdefault("retry_policy", JobRetryPolicy(capacity_hours=capacity_hours))
        said = (kwargs.get("doc_md"), jobwords.sentence(kind, request, transform_minutes), _RED[wait])
        super().__init__(**{**kwargs, "doc_md": "\n\n".join(text for text in said if text)})
        self.custom_operator_name = KINDS[kind].shown
        self.kind = kind
        self.step = step
        self.request = request
        self.wait = wait
        self.logs = logs
        self.transform_minutes = transform_minutes
        self.capacity_hours = capacity_hours

    def execute(self, context: Context) -> dict[str, Any]:
        """Create or attach, then wait in the triggerer; a record at once if the job had ended or `wait` is False."""
        check_rendered(self.request)
        owner = self.owned_by(context)
        try:
            name, generation = self._own(context, owner)
            found = look(self.aws, KINDS[self.kind], name)
            if found is None or job_records.ended(KINDS[self.kind], found):
                return self._end(context, name, generation, found)
            if not self.wait:
                return self._hand_over(job_records.record(self.aws, KINDS[self.kind], found, generation))
            self._wait_in_triggerer(owner, name, generation, found)
        except AirflowTaskTimeout:
            self._stop_on_last_try(context)
            raise
        raise AssertionError("defer() raises")

    def resume(self, context: Context, event: Any) -> dict[str, Any]:
        """Back on a worker because the job ended badly: say why, in the way Airflow's retries understand.

        `dag.test()` comes here after a good end too, with the state as the event: the job is looked at again.
        """
        name, generation = self._current(context)
        timed_out = isinstance(event, dict) and event.get("status") == "TimedOut"
        return self._end(context, name, generation, look(self.aws, KINDS[self.kind], name), timed_out=timed_out)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow's own backstop (no triggerer lived until the job's limit, O14), or a trigger that broke."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            name, generation = self._current(context)
            timed_out = job_records.stop(self.aws, KINDS[self.kind], name, "limit")
            found = look(self.aws, KINDS[self.kind], name)
            return self._end(context, name, generation, found, timed_out=timed_out)
        except TaskDeferralError as error:
            why = break_of(error, next_kwargs)
            raise ResourceBusy(
                f"the wait for the {self.kind} job broke off ({why}): the next try attaches to it"
            ) from error

    def _current(self, context: Context) -> tuple[str, int]:
        """Name and generation of the job that this task holds."""
        generation = int(self._known(context).get("generation", 1))
        self.job_name = self.owned_by(context).job_name(KINDS[self.kind], self.step, generation)
        return self.job_name, generation

    def get_openlineage_facets_on_start(self) -> Any:
        """The data sets of the job, for OpenLineage."""
        from sagewind import lineage

        return lineage.facets(self.kind, self.request)

    def on_kill(self) -> None:
        """The worker's half of a kill: stop the job if the task is really over (a clear keeps it, see JobTrigger)."""
        from sagewind.taskstate import stop_and_tell

        held = getattr(self, "_held", None)
        if held is None:
            return
        name, owner = held
        kind = KINDS[self.kind]
        if self._creating:  # the request is on its way: nobody else would know of the job that appears in a moment
            until(lambda: look(self.aws, kind, name) is not None, _IN_FLIGHT)
        stop_and_tell(self.log, self.aws, kind, name, owner)

    def _known(self, context: Context) -> dict[str, Any]:
        return dict(cast("dict[str, Any]", context["task_state_store"].get(STATE_KEY) or {}))

    def _own(self, context: Context, owner: Owner) -> tuple[str, int]:
        """Bring the job of this task into being, or find it; returns its name and generation."""
        kind, digest, ti = KINDS[self.kind], fingerprint(self.request), context["ti"]
        known = self._known(context)
        generation = int(known.get("generation", 1))
        # A job without a record of ours is that of an earlier run of the same id: as if cleared.
        cleared = known["max_tries"] != ti.max_tries if known else True
        if cleared:  # a clear is a new beginning: deadlines and counts of the time before it do not go on
            known = {key: value for key, value in known.items() if key not in ("no_capacity", "since", "lost")}
        while True:
            name = owner.job_name(kind, self.step, generation)
            found = look(self.aws, kind, name)
            marks = tags.read(self.aws, found[kind.arn_field]) if found else {}
            action = decide(
                FoundJob(
                    name=name,
                    status=found[kind.status_field] if found else None,
                    same=marks.get(FINGERPRINT) == digest,
                    cleared=cleared,
                    handed=HANDED in marks,
                    judged=bool(known.get("judged")),
                    stop=marks.get(STOP, ""),
                )
            )
            if action in ("next", "replace", "await_end"):
                if action != "next":
                    self._make_it_end(name, action)
                generation, cleared = generation + 1, False
                known = {**known, "judged": False}
                continue
            # Stored before the job exists: a crash in between finds nothing under this name and creates it.
            known = {**known, "generation": generation, "max_tries": ti.max_tries, "judged": False}
            context["task_state_store"].set(STATE_KEY, known)
            self.job_name, self._held = name, (name, owner.task)
            if action == "create":
                self._create(context, owner, name, generation)
            elif found is not None:
                # What a kill of an older try asks before it stops the job.
                tags.write(self.aws, found[kind.arn_field], {TRY: str(owner.try_number)})
                self.log.info("attached to %s job %s (generation %d)", self.kind, name, generation)
            return name, generation

    def _make_it_end(self, name: str, action: str) -> None:
        kind = KINDS[self.kind]
        if action == "replace":
            self.log.info("%s job %s runs an older request: stopping it", self.kind, name)
            job_records.stop(self.aws, kind, name, "replaced")
        else:
            self.log.info("%s job %s is stopping: waiting for its end", self.kind, name)
        if not until(partial(self._has_ended, name), settings.JOB_STOP.read()):
            raise ResourceBusy(f"{self.kind} job {name} was asked to stop and does not: stop it in AWS")

    def _has_ended(self, name: str) -> bool:
        found = look(self.aws, KINDS[self.kind], name)
        return found is None or job_records.ended(KINDS[self.kind], found)

    def creates(self, context: Context) -> list[Creation]:
        """The job of the task's present generation."""
        return [self._creation(self.owned_by(context), *self._current(context))]

    def _creation(self, owner: Owner, name: str, generation: int) -> Creation:
        kind, marks = KINDS[self.kind], owner.tags(generation=generation, fingerprint=fingerprint(self.request))
        return kind.create, {**self.request, kind.name_field: name, "Tags": [*marks, *self.request.get("Tags", ())]}

    def _create(self, context: Context, owner: Owner, name: str, generation: int) -> None:
        from botocore.exceptions import ClientError

        kind = KINDS[self.kind]
        if self.plan_task and "version" not in self.plan(context):
            raise TaskRefused(
                "the run was planned by sagewind 0.1, whose uploaded job programs this version does not start: clear "
                f"it from the task {self.plan_task} on"
            )
        if len(name) > kind.name_limit:
            raise TaskRefused(
                f"job name {name!r} is longer than {kind.name_limit} characters: shorten the model's name"
            )
        self._creating = True
        try:
            self.send(self._creation(owner, name, generation))
        except ClientError as error:
            if error_code(error) in _NO_CAPACITY:
                self._no_capacity(context, f"{self.kind} job {name} could not be started: {error}", judged=False)
            if error_code(error) != "ResourceInUse":
                raise
            self.log.info("%s job %s was started by another try of this task", self.kind, name)
        else:
            self.log.info("started %s job %s (generation %d)", self.kind, name, generation)
        finally:
            self._creating = False

    def _wait_in_triggerer(self, owner: Owner, name: str, generation: int, found: dict[str, Any]) -> None:
        from sagewind.triggers.job import JobTrigger

        limit = KINDS[self.kind].limit_seconds(self.request, self.transform_minutes, settings.JOB_START.read())
        self.defer(
            trigger=JobTrigger(
                kind=self.kind,
                name=name,
                generation=generation,
                since=found["CreationTime"].timestamp(),
                connection=self.connection,
                region=self.region,
                logs=self.logs,
                limit_at=time.time() + limit,
                task=owner.task,
            ),
            method_name="resume",
            timeout=timedelta(seconds=limit + _BACKSTOP),
        )

    def _stop_on_last_try(self, context: Context) -> None:
        """O13: a timed-out last try leaves a job that nobody would wait for; an earlier one is attached to (O12)."""
        ti, held = context["ti"], getattr(self, "_held", None)
        if (
            held
            and ti.try_number > ti.max_tries
            and job_records.stop(self.aws, KINDS[self.kind], held[0], "execution timeout")
        ):
            self.log.info("%s job %s is being stopped: its task's last try timed out", self.kind, held[0])

    def _end(
        self, context: Context, name: str, generation: int, found: dict[str, Any] | None, *, timed_out: bool = False
    ) -> dict[str, Any]:
        """The record of a completed job; of any other end, an error of the kind that the ending asks for."""
        kind = KINDS[self.kind]
        if found is None:
            self._again(context, endings.disappeared(kind, name))
        found = job_records.with_cause(self.aws, kind, cast("dict[str, Any]", found))
        record = job_records.record(self.aws, kind, found, generation)
        if record["status"] == "Completed":
            for line in joblogs.last_words(self.aws, kind, record):
                self.log.info(line)
            return self._hand_over(record)
        if timed_out or not job_records.ended(kind, found):
            ending = endings.at_our_limit(kind, name)
        else:
            stopped_by = tags.read(self.aws, record["arn"]).get(STOP)
            ending = endings.classify(kind, found, stopped_by)
        for line in joblogs.tail(self.aws, kind, name):
            self.log.info("[%s] %s", name, line)
        context["ti"].xcom_push(key="job", value={**record, "cause": ending.cause.value})
        if ending.cause in endings.WAITS_FOR_CAPACITY:
            self._no_capacity(context, ending.sentence, judged=True)
        if ending.cause in endings.TRIED_AGAIN:
            self._again(context, ending)
        raise JobFailed(ending.sentence)

    def _hand_over(self, record: dict[str, Any]) -> dict[str, Any]:
        job_records.hand_over(self.aws, record)
        return record

    def _no_capacity(self, context: Context, sentence: str, *, judged: bool) -> None:
        """O16, O21: note it and let the retry policy choose the pause. `judged`: the job of this generation is dead."""
        known = self._known(context)
        known["no_capacity"] = int(known.get("no_capacity", 0)) + 1
        known["since"] = float(known.get("since") or time.time())
        known["judged"] = judged
        context["task_state_store"].set(STATE_KEY, known)
        raise NoCapacity(sentence, known["no_capacity"], known["since"])

    def _again(self, context: Context, ending: Ending) -> None:
        """O17, O22: note it and try another generation, a few times."""
        known = self._known(context)
        known["lost"] = int(known.get("lost", 0)) + 1
        known["judged"] = ending.cause is not EndingCause.DISAPPEARED
        context["task_state_store"].set(STATE_KEY, known)
        raise JobLost(ending.sentence, known["lost"])

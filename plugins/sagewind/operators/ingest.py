"""The first task of a run: plan it, snapshot the source to S3, upload the code that its jobs run."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sagewind import s3
from sagewind.errors import TaskRefused
from sagewind.facts import contract
from sagewind.operators.base import SagewindOperator
from sagewind.pipeline import bundle, plan, source
from sagewind.pipeline.errors import ModelFileError, SourceError
from sagewind.pipeline.spec import ModelSpec
from sagewind.sources import snapshot

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


_PLAN = "Plans the run (its names and places) and uploads the job programs to S3"
#: A time as a window param has it. Airflow checks the format `date-time` only where the package rfc3339-validator is
#: installed, which it does not ask for; and then it wants the time zone.
MOMENT = source.field(
    r"(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
#: What a param that was left empty renders to.
_NOTHING = ("", "None")


class Planned(NamedTuple):
    """A run's plan, the URI of its source, and the files by name that its jobs run."""

    plan: dict[str, Any]
    source: str
    job_files: dict[str, bytes]
    script_files: dict[str, bytes]


class IngestOperator(SagewindOperator):
    """Returns the plan (see `sagewind.pipeline.plan`), with `snapshot` = {files, bytes, uri} if it took one.

    `project` is the folder below which the model file's scripts lie; None: the run needs neither scripts nor data.
    The source is the DAG param `source`, else the environment variable SAGEWIND_SOURCE_<MODEL>, else the model file's.
    """

    template_fields = ("source_override", "window_start", "window_end")

    def __init__(
        self,
        *,
        spec: ModelSpec,
        rehearsal: bool,
        project: Path | None,
        source_override: str = "",
        window_start: str = "",
        window_end: str = "",
        **kwargs: Any,
    ) -> None:
        about = f"{_PLAN}{', with a copy of the data source' if project else ''}. Red: the log names what is wrong."
        super().__init__(model=spec.name, plan_task=None, **{"doc_md": about, **kwargs})
        self.spec = spec
        self.rehearsal = rehearsal
        self.project = project
        self.source_override = source_override
        self.window_start = window_start
        self.window_end = window_end

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, snapshot, upload."""
        self.refuse_unknown_conf(context)
        try:
            return self._ingest(context)
        except (SourceError, ModelFileError) as error:
            raise TaskRefused(str(error)) from None

    def planned(self, context: Context, *, account: str, region: str) -> Planned:
        """The run's plan without a snapshot, and what it was made from; asks neither AWS nor the source."""
        spec, ti = self.spec, context["ti"]
        override = None if self.source_override in _NOTHING else self.source_override
        start, end = self._window(context["dag_run"])
        uri = source.choose(spec.name, spec.data.source, override, os.environ)
        if self.project:
            uri = source.fill_window(uri, start, end)
        job_files = bundle.job_files()
        script_files = bundle.script_files(spec.train, self.project) if self.project else {}
        made = plan.make(
            spec,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            account=account,
            region=region,
            source=source.parse(uri).shown,
            window_start=start,
            window_end=end,
            code_hash=bundle.digest(job_files, script_files),
            rehearsal=self.rehearsal,
        )
        return Planned(made, uri, job_files, script_files)

    def _ingest(self, context: Context) -> dict[str, Any]:
        spec, account = self.spec, str(self.aws.client("sts").get_caller_identity()["Account"])
        made, uri, job_files, script_files = self.planned(context, account=account, region=self.aws.region_name)
        s3.ensure_bucket(self.aws, made["bucket"], made=spec.aws.bucket is None)
        s3.put_all(self.aws, made["code"], job_files)
        if script_files:
            s3.put_all(self.aws, made["sourcedir"], {"sourcedir.tar.gz": bundle.tarball(script_files)})
        s3.put_json(self.aws, f"{made['config']}/{contract.JOB_JSON}", plan.job_config(spec, made))
        if self.project:
            made["snapshot"] = snapshot(self.aws, source.parse(uri), f"{made['prefix']}/{contract.RAW}")
            self.log.info(
                "took %d files, %d bytes from %s", made["snapshot"]["files"], made["snapshot"]["bytes"], made["source"]
            )
        return made

    def _window(self, run: Any) -> tuple[datetime | None, datetime]:
        """The run's interval, or what its params say instead; a run without an interval begins nowhere and ends now.

        A DAG without cron whose run was given a date, as Airflow's trigger form does, has an interval without length
        at that date: that is none.
        """
        since, until = run.data_interval_start, run.data_interval_end
        asked_start, asked_end = _moment("window_start", self.window_start), _moment("window_end", self.window_end)
        start = asked_start or (since if since != until else None)
        end = asked_end or until or run.run_after
        if start is not None and start >= end:
            raise TaskRefused(
                f"the window is empty, as {_said('window_start', start, asked_start)} and "
                f"{_said('window_end', end, asked_end)}: give a window_start that lies before window_end"
            )
        return start, end


def _said(name: str, value: datetime, asked: datetime | None) -> str:
    return f"{name} is {value.isoformat()}{'' if asked else ' (not given: the run has it)'}"


def _moment(name: str, text: str) -> datetime | None:
    if text in _NOTHING:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise TaskRefused(f"{name} is {text!r}: write an ISO time such as 2026-01-31T06:00:00+00:00") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)

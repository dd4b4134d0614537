"""`run`: one lifecycle of a model from data to teardown on a stack that is there for it alone."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sagewind.pipeline import source
from sagewind.pipeline.errors import ModelFileError, SourceError
from sagewind.pipeline.load import load_model, model_names
from sagewind.pipeline.project import MODELS
from tools.stack import summary as summaries
from tools.stack.endpoint_client import Job, StackAws
from tools.stack.errors import Interrupted, StackError
from tools.stack.launch import LaunchPlan, Stack
from tools.stack.links import reach
from tools.stack.ports import wait_free
from tools.stack.progress import Printer, TaskProgress
from tools.stack.rest import TERMINAL_RUN_STATES, failure_reason, one_line
from tools.stack.summary import Facts
from tools.stack.supervision import PROJECT, Signals

PARSE_SECONDS = 300.0
RUN_SECONDS = 3600.0
"""A lifecycle that takes an hour on a laptop hangs."""
POLL_SECONDS = 0.5
IDLE_GRACE = 1.5
"""Seconds for components to end after a run: nothing runs any more, and Airflow's triggerer would take ten."""
LOOKUP_SECONDS = 2.0
"""How often the endpoint is asked which jobs there are now."""


@dataclass(frozen=True)
class RehearsalOrder:
    """What the user asked for."""

    model: str
    keep: bool = False
    source: str | None = None
    project: Path = PROJECT
    reports: Path = PROJECT / "reports"

    @property
    def dag_id(self) -> str:
        """The DAG to run."""
        return f"{self.model}_lifecycle"

    def check(self) -> None:
        """Raise for a model that has no file, naming those that have one."""
        known = model_names(self.project / MODELS)
        if self.model not in known:
            listed = ", ".join(known) or f"none in {self.project / MODELS}"
            raise StackError(f"There is no model named {self.model!r}; the models are: {listed}.")

    def validate(self) -> None:
        """Raise for a model file or a source that cannot be used, before anything is started."""
        try:
            load_model(self.model, self.project / MODELS)
            if self.source is not None:
                source.parse(self.source)
        except (ModelFileError, SourceError) as error:
            raise StackError(str(error)) from None


class Rehearsal:
    """One run, from the start of the stack to its summary."""

    def __init__(self, order: RehearsalOrder, plan: LaunchPlan, printer: Printer, signals: Signals) -> None:
        self.order = order
        self.plan = plan
        self.printer = printer
        self.signals = signals
        run_id = f"run-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        self.facts = Facts(order.model, run_id, keep=order.keep)
        self.folder = order.reports / order.model / summaries.file_safe(run_id)
        self.aws: StackAws | None = None
        self._jobs: dict[str, Job] = {}
        self._looked = -LOOKUP_SECONDS

    @property
    def report(self) -> Path | None:
        """The evaluation's page, once it has been fetched."""
        path = self.folder / "report.html"
        return path if path.exists() else None

    def run(self) -> int:
        """Do it all; 0 only if everything succeeded and nothing is left that should not be."""
        with Stack(self.plan, self.signals, self.printer) as stack:
            try:
                self._execute(stack)
            except StackError as error:
                self.facts.error = str(error)
            except BaseException as error:
                self.facts.state = "interrupted"
                cause = str(error) if isinstance(error, Interrupted) else repr(error)
                self.facts.error = f"The run was ended early ({one_line(cause)})."
                self._write(stack)
                raise
            self._collect(stack)
            good = self._write(stack)["error"] is None
            kept = good and self.order.keep
            if kept:
                stack.detach(self.report)
            else:
                self.printer.status("ending the stack")
                stack.close(IDLE_GRACE)
        return self._conclude(stack, kept)

    def _execute(self, stack: Stack) -> None:
        """Start the stack, trigger the run and follow it to its end."""
        self.aws = StackAws(stack.start())
        self.printer.line(f"Airflow ready at {self.plan.url}")
        api, dag_id, run_id = stack.api, self.order.dag_id, self.facts.run_id
        stack.supervision.wait(f"the DAG {dag_id}", lambda: self._parsed(stack), PARSE_SECONDS)
        stack.supervision.ask("Airflow's API", lambda: api.unpause(dag_id))
        # What Airflow's trigger form sends: every field, and the moment as the logical date.
        conf = {"source": self.order.source, "keep": self.order.keep}
        api.trigger(dag_id, run_id, conf, datetime.now(UTC))
        self.printer.line(f"started {dag_id} {run_id}")
        progress = TaskProgress(self.printer, self._log_line)
        self.facts.state = "running"
        self.facts.state = stack.supervision.wait(
            f"the run {run_id}", lambda: self._poll(stack, progress), RUN_SECONDS, poll=POLL_SECONDS, shown=False
        )

    def _parsed(self, stack: Stack) -> bool | None:
        if stack.api.dag(self.order.dag_id) is not None:
            return True
        for error in stack.api.import_errors():
            trace = str(error.get("stack_trace", ""))
            name = Path(str(error.get("filename", ""))).name
            if name == f"{self.order.model}.py" or f"{self.order.model}.yaml" in trace:
                said = one_line(trace.strip().splitlines()[-1] if trace.strip() else "no reason given", 600)
                raise StackError(f"Airflow cannot import the DAGs of {self.order.model} ({name}): {said}")
        return None

    def _poll(self, stack: Stack, progress: TaskProgress) -> str | None:
        """Show what has changed; the run's state once it has ended."""
        state = stack.api.run_state(self.order.dag_id, self.facts.run_id)
        self.facts.tasks = stack.api.task_instances(self.order.dag_id, self.facts.run_id)
        progress.update(self.facts.tasks)
        return state if state in TERMINAL_RUN_STATES else None

    def _log_line(self, task_id: str) -> str | None:
        """The last log line of the job that a task waits for."""
        if self.aws is None:
            return None
        try:
            return self._job_says(self.aws, task_id)
        except StackError as error:
            return str(error)

    def _job_says(self, aws: StackAws, task_id: str) -> str | None:
        if task_id not in self._jobs and self.printer.seconds - self._looked >= LOOKUP_SECONDS:
            self._looked = self.printer.seconds
            self._jobs.update((job.task, job) for job in aws.jobs(self.facts.run_id))
        job = self._jobs.get(task_id)
        return aws.last_log_line(job) if job else None

    def _collect(self, stack: Stack) -> None:
        """Ask Airflow and AWS how it went; what cannot be asked (a component has died) stays unknown."""
        try:
            stack.supervision.ask("Airflow's API", lambda: self._collect_airflow(stack))
            stack.supervision.ask("the local AWS endpoint", self._collect_aws)
        except Exception as error:
            if self.facts.error is None:
                raise
            self.printer.line(f"not everything could be asked: {one_line(str(error))}")

    def _collect_airflow(self, stack: Stack) -> None:
        facts, dag_id = self.facts, self.order.dag_id
        if facts.state == "not started":
            return
        facts.tasks = stack.api.task_instances(dag_id, facts.run_id)
        for task_id in summaries.XCOM_TASKS:
            value = stack.api.xcom(dag_id, facts.run_id, task_id)
            if value is None and (key := summaries.XCOM_OF_FAILED.get(task_id)):
                value = stack.api.xcom(dag_id, facts.run_id, task_id, key)
            if value is not None:
                facts.xcoms[task_id] = value
        for task in facts.tasks:
            if task.get("state") == "failed":
                events = stack.api.task_log(dag_id, facts.run_id, task["task_id"], int(task.get("try_number") or 1))
                if reason := failure_reason(events):
                    facts.reasons[task["task_id"]] = reason

    def _collect_aws(self) -> None:
        facts, aws = self.facts, self.aws
        if aws is None or facts.state == "not started":
            return
        facts.jobs = sorted(
            (aws.record(job) for job in aws.jobs(facts.run_id)),
            key=lambda record: (record.started is None, str(record.started)),
        )
        if name := summaries.endpoint_name(facts):
            facts.endpoint_status = aws.endpoint_status(name)
        facts.endpoints_left = aws.endpoints_of(facts.run_id)
        facts.undeleted = [
            f"{item.get('kind')} {item.get('name')}"
            for item in facts.part("teardown").get("deleted") or []
            if aws.exists(str(item.get("kind")), str(item.get("name")))
        ]
        facts.aws_asked = True
        self._save_report(aws)

    def _save_report(self, aws: StackAws) -> None:
        uri = summaries.report_uri(self.facts)
        if uri is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "report.html").write_bytes(aws.object(uri))

    def _write(self, stack: Stack) -> dict[str, Any]:
        self.facts.seconds_total = self.printer.seconds
        self.facts.seconds_setup = stack.setup_seconds
        summary = summaries.build(self.facts)
        summaries.write(summary, self.folder)
        return summary

    def _conclude(self, stack: Stack, kept: bool) -> int:
        """With the stack ended (or kept), write the final summary and print it."""
        if not kept and (taken := wait_free([self.plan.port, self.plan.aws_port])):
            said = f"The ports {', '.join(map(str, taken))} are still taken after the end."
            self.facts.error = f"{self.facts.error} {said}" if self.facts.error else said
        summary = self._write(stack)
        for line in summaries.table(summary, self.facts.part("teardown").get("deleted") or []):
            self.printer.plain(line)
        self.printer.plain(f"  report  {self.report or 'none was made'}")
        self.printer.plain(f"  summary {self.folder / 'summary.json'}")
        if kept:
            self.printer.plain(f"\n{reach(self.plan.home)}")
        if summary["error"]:
            self.printer.plain(f"\nFAILED: {summary['error']}")
            self.printer.plain(f"Logs: {self.plan.home.logs}")
        return 1 if summary["error"] else 0

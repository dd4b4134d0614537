"""`drift`: a model is deployed, watched over normal traffic, then over shifted traffic; the drift must be named."""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.stack.drift_rows import shift
from tools.stack.endpoint_client import StackAws
from tools.stack.errors import StackError
from tools.stack.launch import LaunchPlan, Stack
from tools.stack.progress import Printer
from tools.stack.rehearsal import IDLE_GRACE, PARSE_SECONDS, RUN_SECONDS, RehearsalOrder
from tools.stack.rest import TERMINAL_RUN_STATES
from tools.stack.supervision import Signals

#: Rows that one request holds, and rows that are sent at most of each kind of traffic.
BATCH, MOST_ROWS = 20, 4000
CAPTURE_SECONDS = 300.0
EVENT_SECONDS = 300.0
TRAINING, NORMAL, SHIFTED = "demo-training", "demo-normal", "demo-shifted"


class DriftDemo:
    """One demonstration on a stack of its own, which is ended with everything in it."""

    def __init__(self, order: RehearsalOrder, plan: LaunchPlan, printer: Printer, signals: Signals) -> None:
        self.order = order
        # A DAG that is unpaused runs its last interval first: a training that nobody asked for.
        self.plan = replace(plan, scheduled=False)
        self.printer = printer
        self.signals = signals
        self.training = f"{order.model}_training"
        self.monitoring = f"{order.model}_monitoring"

    def run(self) -> int:
        """Do it all; 0 only if normal traffic is found ok, and exactly the shifted columns are named."""
        with Stack(self.plan, self.signals, self.printer) as stack:
            aws = StackAws(stack.start())
            self.printer.line(f"Airflow ready at {self.plan.url}")
            self._finish(stack, self.training, TRAINING, {"source": self.order.source} if self.order.source else {})
            plan = stack.api.xcom(self.training, TRAINING, "ingest")
            rows = _rows(aws, f"{plan['prefix']}/prepare/batch/batch.csv")[:MOST_ROWS]
            features = json.loads(aws.object(f"{plan['prefix']}/prepare/schema/schema.json"))["features"]

            normal = self._watch(stack, aws, plan, NORMAL, rows)
            done = shift(rows, features)
            shifted = self._watch(stack, aws, plan, SHIFTED, rows)
            event = self._event(stack)
            report = self._report(stack, aws)
            stack.close(IDLE_GRACE)
        return self._conclude(normal, shifted, done, event, report)

    def _watch(
        self, stack: Stack, aws: StackAws, plan: dict[str, Any], run_id: str, rows: list[list[str]]
    ) -> dict[str, Any]:
        """Send the rows to the endpoint and let the monitoring DAG judge what it captured of them."""
        # Captured times are whole seconds: the window begins with a second in which nothing was sent yet.
        begin = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
        while datetime.now(UTC) < begin:
            time.sleep(0.05)
        before = aws.lines(plan["capture"])
        requests = 0
        for start in range(0, len(rows), BATCH):
            aws.invoke(self.order.model, "\n".join(",".join(row) for row in rows[start : start + BATCH]))
            requests += 1
        stack.supervision.wait(
            "the captured traffic", lambda: aws.lines(plan["capture"]) >= before + requests or None, CAPTURE_SECONDS
        )
        self.printer.line(f"{run_id}: {len(rows)} rows sent in {requests} requests, all captured")
        self._finish(stack, self.monitoring, run_id, {"window_start": begin.isoformat()})
        verdict: dict[str, Any] | None = stack.api.xcom(self.monitoring, run_id, "verdict")
        if verdict is None:
            raise StackError(f"{self.monitoring} {run_id} ended without a verdict: it found no traffic.")
        return verdict

    def _finish(self, stack: Stack, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Trigger a run and follow it to its good end."""
        stack.supervision.wait(f"the DAG {dag_id}", lambda: self._parsed(stack, dag_id), PARSE_SECONDS)
        stack.api.unpause(dag_id)
        stack.api.trigger(dag_id, run_id, conf)
        self.printer.line(f"started {dag_id} {run_id}")

        def ended() -> str | None:
            state = stack.api.run_state(dag_id, run_id)
            return state if state in TERMINAL_RUN_STATES else None

        state = stack.supervision.wait(f"the run {run_id} of {dag_id}", ended, RUN_SECONDS, poll=0.5)
        self.printer.line(f"{dag_id} {run_id}: {state}")
        if state != "success":
            failed = [task["task_id"] for task in stack.api.task_instances(dag_id, run_id) if task["state"] == "failed"]
            raise StackError(f"{dag_id} {run_id} failed in {', '.join(failed)}; logs: {self.plan.home.logs}.")

    def _parsed(self, stack: Stack, dag_id: str) -> bool | None:
        if errors := stack.api.import_errors():
            trace = str(errors[0].get("stack_trace", "")).strip().splitlines()
            raise StackError(f"Airflow cannot import {errors[0].get('filename')}: {trace[-1] if trace else 'unknown'}")
        return True if stack.api.dag(dag_id) is not None else None

    def _event(self, stack: Stack) -> str | None:
        """The run that the drift event started, if the model asks for one."""
        state = {task["task_id"]: task["state"] for task in stack.api.task_instances(self.monitoring, SHIFTED)}
        if state.get("drift") != "success":
            return None

        def started() -> str | None:
            runs = [run for run in stack.api.runs(self.training) if run["run_type"] == "asset_triggered"]
            return str(runs[0]["dag_run_id"]) if runs else None

        return stack.supervision.wait("the training that the drift event starts", started, EVENT_SECONDS)

    def _report(self, stack: Stack, aws: StackAws) -> str:
        plan = stack.api.xcom(self.monitoring, SHIFTED, "ingest")
        folder = self.order.reports / self.order.model
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "drift.html"
        path.write_bytes(aws.object(f"{plan['prefix']}/monitor/report.html"))
        return str(path)

    def _conclude(
        self,
        normal: dict[str, Any],
        shifted: dict[str, Any],
        done: dict[str, str],
        event: str | None,
        report: str,
    ) -> int:
        say = self.printer.plain
        named = {item["feature_name"] for item in shifted["violations"]}
        say(f"\nnormal traffic:  {normal['verdict']}, {normal['rows']} rows, {len(normal['violations'])} violations")
        say(f"shifted traffic: {shifted['verdict']}, {shifted['rows']} rows")
        for column, what in done.items():
            say(f"  {column:<16} {what:<52} {'named' if column in named else 'NOT NAMED'}")
        for item in shifted["violations"]:
            say(f"    {item['feature_name']}: {item['constraint_check_type']}: {item['description']}")
        say(f"drift event:     {'published; it started ' + event if event else 'not published'}")
        say(f"report:          {report}")
        wrong = []
        if normal["violations"]:
            wrong.append(f"normal traffic violates {sorted({item['feature_name'] for item in normal['violations']})}")
        if named != set(done):
            wrong.append(f"shifted were {sorted(done)}, named were {sorted(named)}")
        if event is None:
            wrong.append("no drift event (monitor.on_violation must be retrain)")
        if wrong:
            say(f"\nFAILED: {'; '.join(wrong)}")
        return 1 if wrong else 0


def _rows(aws: StackAws, uri: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(aws.object(uri).decode())))

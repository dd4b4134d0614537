"""Gathers what is counted: jobs and leftovers from localaws, states and reasons from Airflow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from sagewind.facts.kinds import KINDS
from sagewind.facts.resources import RESOURCES, ResourceName
from sagewind.facts.tags import PREFIX
from tests.faults.calls import CallFile
from tests.faults.counting import UNLOGGED, Facts, Job, Run, Task
from tests.faults.stack import Stack
from tools.stack.rest import failure_reason, one_line

_LEFT: tuple[ResourceName, ...] = ("endpoint", "endpoint_config", "model", "package_group")


class Witness:
    """Asks the two sides of a running stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sagemaker = stack.client("sagemaker")
        self._known_tags: dict[str, dict[str, str]] = {}

    def facts(self, runs: list[Run]) -> Facts:
        """Everything, once all is quiet."""
        return Facts(CallFile(self.stack.calls).more(), list(self.jobs()), runs, list(self.leftovers()))

    def jobs(self) -> Iterator[Job]:
        """Every job that has owner tags."""
        for kind in KINDS.values():
            for page in self.sagemaker.get_paginator(kind.list).paginate():
                for item in page[kind.summaries]:
                    tags = self._tags(item[kind.arn_field])
                    if PREFIX + "generation" in tags:
                        yield _job(kind.name, item[kind.name_field], item[kind.status_field], tags)

    def _tags(self, arn: str) -> dict[str, str]:
        if arn not in self._known_tags:  # owner tags never change
            found = self.sagemaker.list_tags(ResourceArn=arn)["Tags"]
            self._known_tags[arn] = {tag["Key"]: tag["Value"] for tag in found}
        return self._known_tags[arn]

    def alive(self, run: str) -> tuple[str, ...]:
        """Jobs of a run that nobody has even asked to stop."""
        return tuple(job.name for job in self.jobs() if job.run == run and job.status == "InProgress")

    def leftovers(self) -> Iterator[str]:
        """What bills or clutters and belongs to an ended run."""
        for job in self.jobs():
            if job.status in ("InProgress", "Stopping"):
                yield f"{job.kind} job {job.name} is {job.status}"
        for kind in (RESOURCES[name] for name in _LEFT):
            for page in self.sagemaker.get_paginator(kind.list).paginate():
                yield from (f"{kind.shown} {item[kind.name_field]}" for item in page[kind.summaries])

    def run(self, dag_id: str, run_id: str) -> Run:
        """A run as it is now, and what of it still runs."""
        state = self.stack.ask(lambda api: api.run_state(dag_id, run_id))
        items = self.stack.ask(lambda api: api.task_instances(dag_id, run_id))
        tasks = {item["task_id"]: self._task(dag_id, run_id, item) for item in items}
        return Run(run_id, state, tasks, self.alive(run_id) if state in ("success", "failed") else ())

    def _task(self, dag_id: str, run_id: str, item: dict[str, Any]) -> Task:
        reason = self._reason(dag_id, run_id, item) if item["state"] == "failed" else ""
        return Task(str(item["state"]), _epoch(item["start_date"]), _epoch(item["end_date"]), reason)

    def _reason(self, dag_id: str, run_id: str, item: dict[str, Any]) -> str:
        """What the log of the last try says, or an earlier one if that try was killed before it could."""
        for attempt in range(item["try_number"], 0, -1):
            events = self._log(dag_id, run_id, item["task_id"], attempt)
            if found := failure_reason(events):
                return found
        return self._told_by_airflow(dag_id, run_id, item["task_id"])

    def _log(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> list[dict[str, Any]]:
        """The lines of one try, from all processes that wrote some, in order."""
        folder = self.stack.home.airflow / f"logs/dag_id={dag_id}/run_id={run_id}/task_id={task_id}"
        lines = [line for path in folder.glob(f"attempt={attempt}.log*") for line in _lines(path)]
        return sorted(lines, key=lambda line: str(line.get("timestamp", "")))

    def _told_by_airflow(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Of a task whose processes were all killed only Airflow's own event log can tell."""
        query = "SELECT event, extra FROM log WHERE dag_id = %s AND run_id = %s AND task_id = %s ORDER BY id DESC"
        for event, extra in self.stack.database.rows(query, dag_id, run_id, task_id):
            if re.search("heartbeat|timeout|state mismatch|stuck|fail", str(event), re.IGNORECASE) and extra:
                return f"{UNLOGGED} {one_line(str(extra))}"
        return ""


def _job(kind: str, name: str, status: str, tags: dict[str, str]) -> Job:
    owner = {key: tags.get(PREFIX + key, "") for key in ("dag", "run", "task", "fingerprint")}
    return Job(kind=kind, name=name, status=status, generation=int(tags[PREFIX + "generation"]), **owner)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(errors="replace").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _epoch(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None

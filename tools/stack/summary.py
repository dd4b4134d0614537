"""What a run amounted to: collected from Airflow and the local AWS endpoint, checked, written as summary.json.

`Facts` is what both said, in plain values; `build` turns it into the summary and `problems` into sentences. Both are
pure, so that recorded answers test them. A run counts as good only if `problems` finds nothing: Airflow's green alone
is not enough.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.stack.endpoint_client import JobRecord, busy_seconds
from tools.stack.rest import one_line, seconds_of

XCOM_TASKS = (
    "ingest",
    "gate",
    "deploy",
    "endpoint_ready",
    "verify",
    "batch_check",
    "verdict_normal",
    "verdict_shifted",
    "teardown",
)
"""Tasks whose return value the summary uses."""
XCOM_OF_FAILED = {"gate": "outcome"}
"""Where a task that fails leaves what it found out: it has no return value then."""


@dataclass
class Facts:
    """What is known about a run, possibly incomplete: a run that failed early has little to say."""

    model: str
    run_id: str
    keep: bool = False
    state: str = "not started"
    tasks: list[dict[str, Any]] = field(default_factory=list)
    """Task instances as Airflow's API gives them."""
    xcoms: dict[str, Any] = field(default_factory=dict)
    """Return values by task id, without those that are missing."""
    jobs: list[JobRecord] = field(default_factory=list)
    endpoint_status: str | None = None
    """What the endpoint's status is now, asked from AWS; None: it does not exist."""
    aws_asked: bool = False
    """Whether AWS could be asked: without that nothing counts as deleted."""
    endpoints_left: list[str] = field(default_factory=list)
    """Endpoints that carry the run's tag and exist now, asked from AWS."""
    undeleted: list[str] = field(default_factory=list)
    """What the teardown says it deleted and AWS still has."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a failed task failed, from its log."""
    error: str | None = None
    """What went wrong outside the run itself (a component died, an interruption)."""
    seconds_total: float = 0.0
    seconds_setup: float = 0.0

    def part(self, task: str) -> dict[str, Any]:
        """The return value of a task; empty if it has returned nothing."""
        found = self.xcoms.get(task)
        return found if isinstance(found, dict) else {}


def build(facts: Facts) -> dict[str, Any]:
    """The content of summary.json. `state` is Airflow's, but never `success` when `problems` finds any.

    Seconds: `jobs` is the time in which at least one job ran, `setup` one-time preparation (image environments, first
    database), `airflow` all the rest; they add up to `total`.
    """
    gate = facts.part("gate")
    busy = busy_seconds(facts.jobs)
    found = problems(facts)
    return {
        "model": facts.model,
        "run_id": facts.run_id,
        "state": "failed" if found and facts.state == "success" else facts.state,
        "deployed": deployed(facts),
        "error": " ".join(found) if found else None,
        "metrics": gate.get("metrics", {}),
        "gates": gate.get("gates", []),
        "tasks": [_task(task) for task in sorted(facts.tasks, key=_order)],
        "jobs": [_job(job) for job in facts.jobs],
        "endpoint": _endpoint(facts),
        "batch": {key: facts.part("batch_check").get(key) for key in ("rows_in", "rows_out")},
        "monitor": {kind: _verdict(facts.part(f"verdict_{kind}")) for kind in ("normal", "shifted")},
        "seconds": {
            "total": round(facts.seconds_total, 2),
            "setup": round(facts.seconds_setup, 2),
            "airflow": round(max(0.0, facts.seconds_total - facts.seconds_setup - busy), 2),
            "jobs": busy,
        },
    }


def _order(task: dict[str, Any]) -> tuple[bool, str, str]:
    return task.get("start_date") is None, str(task.get("start_date")), str(task["task_id"])


def _task(task: dict[str, Any]) -> dict[str, Any]:
    index = task.get("map_index", -1)
    name = task["task_id"] if index in (-1, None) else f"{task['task_id']}[{index}]"
    return {"id": name, "state": task.get("state"), "seconds": seconds_of(task)}


def _job(job: JobRecord) -> dict[str, Any]:
    return {"kind": job.kind, "name": job.name, "status": job.status, "seconds": job.seconds}


def _verdict(found: dict[str, Any]) -> dict[str, Any]:
    return {"verdict": found.get("verdict"), "violations": found.get("violations")}


def endpoint_name(facts: Facts) -> str | None:
    """The endpoint that the run deployed; None if it came not so far."""
    for task in ("endpoint_ready", "deploy"):
        if name := facts.part(task).get("name"):
            return str(name)
    return None


def report_uri(facts: Facts) -> str | None:
    """Where the evaluation report is, as the gate names it; None if the run came not so far."""
    uri = facts.part("gate").get("report")
    return str(uri) if uri else None


def deployed(facts: Facts) -> bool:
    """Whether the model was really served: the endpoint was in service and its answers were checked."""
    return facts.part("endpoint_ready").get("status") == "InService" and _checked(facts) > 0


def _checked(facts: Facts) -> int:
    return int(facts.part("verify").get("rows_checked") or 0)


def _endpoint(facts: Facts) -> dict[str, Any]:
    name = endpoint_name(facts)
    return {
        "name": name,
        "status": facts.endpoint_status or facts.part("endpoint_ready").get("status"),
        "predictions_checked": _checked(facts),
        "deleted": facts.aws_asked and name is not None and facts.endpoint_status is None,
    }


def problems(facts: Facts) -> list[str]:
    """Why the run is not a success, one sentence each; empty if it is one."""
    found = [facts.error] if facts.error else []
    if facts.state != "success" or _failed_tasks(facts):
        return found + ([sentence] if (sentence := _failed(facts)) else []) + _leftovers(facts)
    return found + _gates(facts) + _evidence(facts) + _leftovers(facts)


def _failed_tasks(facts: Facts) -> list[dict[str, Any]]:
    """In the order of their start. A run can be green in Airflow with failed tasks: its leaves decide."""
    return [task for task in sorted(facts.tasks, key=_order) if task.get("state") == "failed"]


def _failed(facts: Facts) -> str | None:
    gate = _gates(facts)
    if gate:
        return f"{gate[0][:-1]}; nothing was deployed."
    failed = _failed_tasks(facts)
    if failed:
        name = failed[0]["task_id"]
        reason = facts.reasons.get(name, "its log says why").rstrip(".")
        outcome = "" if deployed(facts) else "; nothing was deployed"
        return f"Task {name} of {facts.model} failed: {reason}{outcome}."
    return None if facts.error else f"The run of {facts.model} ended as {facts.state}."


def _gates(facts: Facts) -> list[str]:
    gate = facts.part("gate")
    if not gate:
        return (
            []
            if facts.state != "success" or _failed_tasks(facts)
            else ["The gate task returned nothing, so no metric was checked."]
        )
    missed = [item for item in gate.get("gates", []) if not item.get("passed")]
    if missed:
        said = " and ".join(
            f"{item['metric']} is {_number(item['value'])} and must be {item['rule']}" for item in missed
        )
        return [f"{facts.model} did not pass its gate: {said}."]
    return [] if gate.get("passed") else [f"{facts.model} did not pass its gate."]


def _evidence(facts: Facts) -> list[str]:
    """What a green run must show besides being green."""
    found: list[str] = []
    if facts.part("endpoint_ready").get("status") != "InService":
        found.append("Airflow says success, but no endpoint was ever in service.")
    if _checked(facts) == 0:
        found.append("Airflow says success, but no prediction of the endpoint was checked.")
    batch = facts.part("batch_check")
    if not batch.get("rows_in") or batch.get("rows_in") != batch.get("rows_out"):
        found.append(
            f"Batch transform got {batch.get('rows_in')} rows and returned {batch.get('rows_out')}: "
            "they must be equal and not zero."
        )
    for kind, wanted in (("normal", "ok"), ("shifted", "violations")):
        verdict = facts.part(f"verdict_{kind}").get("verdict")
        if verdict != wanted:
            found.append(f"Monitoring of the {kind} data says {verdict}, expected {wanted}.")
    unfinished = [job.name for job in facts.jobs if job.status != "Completed"]
    if unfinished:
        found.append(f"Jobs that did not complete: {', '.join(unfinished)}.")
    if facts.keep and facts.endpoint_status != "InService":
        found.append(f"The endpoint should be kept but its status is {facts.endpoint_status or 'not found'}.")
    return found


def _leftovers(facts: Facts) -> list[str]:
    if facts.keep:
        return []
    found = []
    if facts.state == "success" and not facts.aws_asked:
        found.append("The local AWS endpoint could not be asked what still exists.")
    if facts.endpoints_left:
        found.append(f"Endpoints of the run still exist: {', '.join(facts.endpoints_left)}.")
    if facts.undeleted:
        found.append(f"The teardown says it deleted what still exists: {', '.join(facts.undeleted)}.")
    return found


def file_safe(name: str) -> str:
    """A run id as the name of a folder on any system: letters, digits, dot, dash, underscore, plus; 120 at most."""
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", name)[:120].strip(".")
    return safe or "_"


def write(summary: dict[str, Any], folder: Path) -> Path:
    """Write summary.json into `folder`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "summary.json"
    part = folder / ".summary.json.part"
    part.write_text(json.dumps(summary, indent=2) + "\n")
    part.replace(path)
    return path


def table(summary: dict[str, Any], deleted: list[dict[str, Any]]) -> list[str]:
    """The summary for a terminal: gates, seconds per task, what was made and removed."""
    lines = ["", f"{summary['model']} {summary['run_id']}: {summary['state']}"]
    for gate in summary["gates"]:
        mark = "passed" if gate.get("passed") else "MISSED"
        lines.append(f"  gate    {gate['metric']:<22} {_number(gate['value']):<22.22} {gate['rule']:<10} {mark}")
    gated = {gate["metric"] for gate in summary["gates"]}
    others = {key: value for key, value in summary["metrics"].items() if key not in gated}
    if others:
        lines.append("  metrics " + ", ".join(f"{key} {_number(value)}" for key, value in sorted(others.items())))
    for task in summary["tasks"]:
        spent = "" if task["seconds"] is None else f"{task['seconds']:8.1f} s"
        lines.append(f"  task    {task['id']:<22} {task['state'] or 'not started':<22} {spent}")
    lines += _made(summary, deleted)
    spent = summary["seconds"]
    lines.append(
        f"  seconds {spent['total']:.1f} in total: set-up {spent['setup']:.1f}, "
        f"jobs {spent['jobs']:.1f}, Airflow {spent['airflow']:.1f}"
    )
    return lines


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else one_line(str(value), 40)


def _made(summary: dict[str, Any], deleted: list[dict[str, Any]]) -> list[str]:
    counts: dict[str, int] = {}
    for job in summary["jobs"]:
        counts[job["kind"]] = counts.get(job["kind"], 0) + 1
    lines = []
    if counts:
        lines.append("  created " + ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items())) + " jobs")
    endpoint = summary["endpoint"]
    if endpoint["name"]:
        fate = "gone" if endpoint["deleted"] else f"exists, {endpoint['status']}"
        checked = endpoint["predictions_checked"]
        lines.append(f"  created endpoint {endpoint['name']} ({checked} predictions checked; {fate})")
    batch, monitor = summary["batch"], summary["monitor"]
    if batch["rows_in"] is not None:
        lines.append(f"  batch   {batch['rows_in']} rows in, {batch['rows_out']} out")
    for kind, found in monitor.items():
        if found["verdict"]:
            lines.append(f"  monitor {kind}: {found['verdict']}, {len(found['violations'] or [])} violations")
    if deleted:
        lines.append("  deleted " + ", ".join(f"{item.get('kind')} {item.get('name')}" for item in deleted))
    return lines

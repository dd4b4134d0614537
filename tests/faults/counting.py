"""What is wrong with a fault run, counted from localaws's own record; Airflow is asked only what became of tasks.

The rules, by letter: (a) one job per task and generation, another generation only after the one before ended badly or
was replaced; (b) no Stop without a cause; (c) nothing runs without an owner; (d) no endpoint without a teardown;
(e) every run ends, in success or in a failure that says why and whose teardown is done.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.faults.calls import CREATES, STOPS, Call

BAD = ("Failed", "Stopped")
OVER = ("failed", "success", "skipped", "upstream_failed", "removed")
#: Clocks of Airflow's database and of localaws are the same one; a state may be written just after the call it led to.
SLACK = 2.0
#: Begins the reason of a task whose processes were killed before they could write one: Airflow's event log has it.
UNLOGGED = "(event log)"


@dataclass(frozen=True)
class Job:
    """A job as localaws lists it at the end, with its owner tags."""

    kind: str
    name: str
    status: str
    dag: str
    run: str
    task: str
    generation: int
    fingerprint: str = ""
    created: float = 0.0


@dataclass(frozen=True)
class Task:
    """What Airflow says of a task of an ended run: state, start and end (epoch seconds), why it failed."""

    state: str
    start: float | None = None
    end: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Run:
    """A run that was awaited; `alive` are the jobs of it that still ran when it had ended."""

    run: str
    state: str
    tasks: Mapping[str, Task]
    alive: tuple[str, ...] = ()


@dataclass
class Facts:
    """Everything that is counted. `leftovers` is what still exists or runs after the runs and one housekeeping pass."""

    calls: list[Call]
    jobs: list[Job]
    runs: list[Run]
    leftovers: list[str] = field(default_factory=list)


def causes(facts: Facts) -> list[tuple[Call, str]]:
    """Each Stop that was executed, with its cause in the ownership table; an empty text if it has none."""
    jobs = {job.name: job for job in facts.jobs}
    runs = {run.run: run for run in facts.runs}
    stops = [call for call in facts.calls if call.operation in STOPS and call.ok]
    return [(stop, _cause(stop, jobs.get(stop.name), runs, facts.jobs)) for stop in stops]


def _cause(stop: Call, job: Job | None, runs: Mapping[str, Run], jobs: Iterable[Job]) -> str:
    run = runs.get(job.run) if job else None
    if job is None or run is None:
        return ""
    teardown, task = run.tasks.get("teardown"), run.tasks.get(job.task.partition("/")[0])
    if run.state == "failed" and teardown and teardown.start and teardown.start <= stop.time + SLACK:
        return "teardown of a failed run"
    if task and task.state in ("failed", "upstream_failed") and task.end and task.end <= stop.time + SLACK:
        return "its task had failed"
    for other in jobs:
        same = (other.dag, other.run, other.task) == (job.dag, job.run, job.task)
        if same and other.generation == job.generation + 1 and other.fingerprint != job.fingerprint:
            return "replaced"
    return ""


def violations(facts: Facts) -> list[str]:
    """A sentence for each rule that was broken; empty if all held."""
    return [*_jobs(facts), *_stops(facts), *_left(facts), *_endpoints(facts), *_endings(facts)]


def _jobs(facts: Facts) -> Iterable[str]:
    owned = defaultdict(list)
    for job in facts.jobs:
        owned[job.dag, job.run, job.task].append(job)
    for (_, run, task), jobs in owned.items():
        for generation, count in Counter(job.generation for job in jobs).items():
            if count > 1:
                names = ", ".join(job.name for job in jobs if job.generation == generation)
                yield f"(a) {run}/{task} has {count} jobs of generation {generation}: {names}"
        by_generation = {job.generation: job for job in jobs}
        for generation, job in sorted(by_generation.items()):
            before = by_generation.get(generation - 1)
            if generation > 1 and before is None:
                yield f"(a) {run}/{task} has generation {generation} without the one before"
            elif before and before.status not in BAD and before.fingerprint == job.fingerprint:
                yield f"(a) {run}/{task}: {job.name} was started although {before.name} is {before.status}"
    created = Counter(call.name for call in facts.calls if call.operation in CREATES and call.ok)
    listed = Counter(job.name for job in facts.jobs)
    for name in sorted(set(created) - set(listed)):
        yield f"(a) {name} was created and is not listed"
    for name in sorted(name for name, count in created.items() if count > 1):
        yield f"(a) {name} was created {created[name]} times"


def _stops(facts: Facts) -> Iterable[str]:
    for stop, cause in causes(facts):
        if not cause:
            yield f"(b) {stop.operation} of {stop.name} at {stop.time:.1f} has no cause"


def _left(facts: Facts) -> Iterable[str]:
    for run in facts.runs:
        for name in run.alive:
            yield f"(c) {run.run} ended as {run.state} while {name} ran"
    for sentence in facts.leftovers:
        yield f"(c) left over: {sentence}"


def _endpoints(facts: Facts) -> Iterable[str]:
    made = {call.name for call in facts.calls if call.operation == "CreateEndpoint" and call.ok}
    gone = {call.name for call in facts.calls if call.operation == "DeleteEndpoint" and call.ok}
    for name in sorted(made - gone):
        yield f"(d) endpoint {name} was created and never deleted"


def _endings(facts: Facts) -> Iterable[str]:
    for run in facts.runs:
        if run.state not in ("success", "failed"):
            unfinished = ", ".join(f"{name} {task.state}" for name, task in run.tasks.items() if task.state not in OVER)
            yield f"(e) {run.run} did not end: it is {run.state} ({unfinished})"
            continue
        failed = {name: task for name, task in run.tasks.items() if task.state == "failed"}
        if run.state == "success" and failed:
            yield f"(e) {run.run} is a success although {', '.join(failed)} failed"
        if run.state == "failed" and not failed:
            yield f"(e) {run.run} failed and no task of it did"
        for name, task in failed.items():
            if not task.reason:
                yield f"(e) {run.run}/{name} failed and its log says no reason"
        teardown = run.tasks.get("teardown")
        if teardown is None or teardown.state != "success":
            yield f"(e) {run.run}: its teardown is {teardown.state if teardown else 'not there'}"

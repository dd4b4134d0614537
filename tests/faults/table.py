"""The counts of a fault run as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.faults.calls import CREATES
from tests.faults.campaign import Result
from tests.faults.counting import UNLOGGED, Facts, causes
from tests.faults.plan import DECK


def table(result: Result) -> str:
    """Everything that was counted, the broken rules and the seed."""
    lines = [*_faults(result), ""]
    if result.facts is not None:
        lines += [*_counts(result.facts), ""]
    lines += [f"broken rules: {len(result.broken)}", *(f"  {sentence}" for sentence in result.broken)]
    again = f"python -m tests.faults --faults {len(result.injected)} --seed {result.seed}"
    return "\n".join([*lines, f"seed: {result.seed} (again: {again})"])


def _faults(result: Result) -> Iterable[str]:
    kinds = ("kill", "pause", "cut")
    yield f"{'faults':<14}" + "".join(f"{kind:>8}" for kind in kinds)
    for target in dict.fromkeys(card[1] for card in DECK):
        yield f"{target:<14}" + "".join(f"{result.faults[kind, target] or '':>8}" for kind in kinds)
    sums = [sum(count for (kind, _), count in result.faults.items() if kind == wanted) for wanted in kinds]
    yield f"{'all ' + str(sum(sums)):<14}" + "".join(f"{number:>8}" for number in sums)
    yield f"moments that did not come: {result.missed}"


def _counts(facts: Facts) -> Iterable[str]:
    states = Counter(run.state for run in facts.runs)
    yield f"{'runs':<14}{len(facts.runs):>8}   " + _listed(states)
    failed = [task.reason for run in facts.runs for task in run.tasks.values() if task.state == "failed"]
    unlogged = sum(reason.startswith(UNLOGGED) for reason in failed)
    yield f"{'failed tasks':<14}{len(failed):>8}   of {unlogged} only Airflow's event log says why"
    generations = Counter(f"generation {job.generation}" for job in facts.jobs)
    yield f"{'jobs':<14}{len(facts.jobs):>8}   " + _listed(generations)
    yield f"{'':<14}{'':>8}   " + _listed(Counter(job.status for job in facts.jobs))
    creates = [call for call in facts.calls if call.operation in CREATES]
    yield f"{'creates':<14}{sum(call.ok for call in creates):>8}   " + _listed(
        Counter(f"refused: {call.outcome}" for call in creates if not call.ok)
    )
    stops = causes(facts)
    yield f"{'stops':<14}{len(stops):>8}   " + _listed(Counter(cause or "NO CAUSE" for _, cause in stops))
    made = sum(call.operation == "CreateEndpoint" and call.ok for call in facts.calls)
    gone = sum(call.operation == "DeleteEndpoint" and call.ok for call in facts.calls)
    yield f"{'endpoints':<14}{made:>8}   {gone} deleted"
    alive = sum(len(run.alive) for run in facts.runs)
    yield f"{'leftovers':<14}{len(facts.leftovers):>8}   {alive} jobs ran on when their run had ended"


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))

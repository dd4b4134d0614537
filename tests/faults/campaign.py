"""A fault run: lifecycle runs one after the other or side by side, faults all the while, then the count."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults import settings
from tests.faults.counting import Facts, Run, violations
from tests.faults.facts import Witness
from tests.faults.injector import Injector, Missed
from tests.faults.plan import Fault, deal
from tests.faults.stack import MODEL, Stack, poll

DAG = f"{MODEL}_lifecycle"
HOUSEKEEPING = "sagemaker_housekeeping"
ENDED = ("success", "failed")
_BEGUN = time.monotonic()


@dataclass
class Result:
    """What a fault run came to."""

    seed: int
    injected: list[Fault] = field(default_factory=list)
    missed: int = 0
    facts: Facts | None = None
    broken: list[str] = field(default_factory=list)

    @property
    def faults(self) -> Counter[tuple[str, str]]:
        """How many of each kind hit each target."""
        return Counter((fault.kind, fault.target) for fault in self.injected)


class Campaign:
    """Keeps `parallel` runs going until `faults` faults were injected or `minutes` are over, then lets them end."""

    def __init__(
        self,
        stack: Stack,
        *,
        faults: int,
        seed: int,
        parallel: int,
        say: Callable[[str], None],
        minutes: float = math.inf,
    ) -> None:
        self.stack = stack
        self.faults = faults
        self.deadline = time.monotonic() + minutes * 60
        self.parallel = parallel
        self.say = say
        self.result = Result(seed)
        self.witness = Witness(stack)
        self._open: list[str] = []
        self._runs: list[Run] = []

    def run(self) -> Result:
        """Everything; the result holds the broken rules."""
        self.stack.ask(lambda api: api.unpause(DAG))
        injector, dealt = Injector(self.stack), deal(self.result.seed)
        while len(self.result.injected) < self.faults and time.monotonic() < self.deadline:
            self._keep_running()
            self._inject(injector, next(dealt))
            self._collect()
        self._let_end()
        self._housekeep()
        self.result.facts = self.witness.facts(self._runs)
        self.result.broken = violations(self.result.facts)
        return self.result

    def _keep_running(self) -> None:
        while len(self._open) < self.parallel:
            run = f"run-{len(self._runs) + len(self._open) + 1}"
            self.stack.trigger(DAG, run, {})
            self._open.append(run)

    def _inject(self, injector: Injector, fault: Fault) -> None:
        try:
            hit = injector.inject(fault)
        except Missed as why:
            self.result.missed += 1
            self.say(f"     - {fault}: {why}")
        else:
            self.result.injected.append(fault)
            self.say(f"{len(self.result.injected):6} {fault}: {hit}")
        for name in self.stack.revive():
            self.say(f"       {name} had ended and was started again")

    def _collect(self) -> None:
        for run in list(self._open):
            if self._state(DAG, run) in ENDED:
                self._open.remove(run)
                self._note(run)

    def _state(self, dag_id: str, run_id: str) -> str:
        """From the database: a server that is starting must not hold up the next fault."""
        query = "SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s"
        return str(self.stack.database.rows(query, dag_id, run_id)[0][0])

    def _note(self, run: str) -> None:
        found = self.witness.run(DAG, run)
        self._runs.append(found)
        why = "; ".join(f"{name}: {task.reason}" for name, task in found.tasks.items() if task.state == "failed")
        self.say(f"       {run} ended: {found.state} {why}".rstrip())

    def _let_end(self) -> None:
        def all_ended() -> bool:
            self.stack.revive()
            self._collect()
            return not self._open

        try:
            poll(all_ended, "the runs", settings.RUN_SECONDS, pause=0.5)
        except TimeoutError:
            for run in self._open:
                self._note(run)

    def _housekeep(self) -> None:
        """One pass that may remove what it finds."""
        self.stack.ask(lambda api: api.unpause(HOUSEKEEPING))
        self.stack.trigger(HOUSEKEEPING, "after", {"dry_run": False})

        def ended() -> bool:
            self.stack.revive()
            return self._state(HOUSEKEEPING, "after") in ENDED

        poll(ended, "housekeeping", settings.RUN_SECONDS, pause=0.5)


def say(line: str) -> None:
    """To standard error: the table alone goes to standard output."""
    sys.stderr.write(f"{time.monotonic() - _BEGUN:5.0f} s  {line}\n")
    sys.stderr.flush()

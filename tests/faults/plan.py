"""Which faults there are, and the order in which a seed deals them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.faults import settings

Kind = Literal["kill", "pause", "cut"]
#: When a task is hit: at a random moment of its process, after its job was looked for and not found, or after it was
#: created and before the task could say so.
Moment = Literal["any", "described", "created", ""]


@dataclass(frozen=True)
class Fault:
    """One fault; `delay` before it and `seconds` of a pause (of a kill: how long orphans live on) are random."""

    kind: Kind
    target: str
    moment: Moment = ""
    delay: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        when = f" ({self.moment})" if self.moment else ""
        return f"{self.kind} {self.target}{when}"


#: Each card once per round: tasks and workers are hit most, for theirs is the window between describe and store.
DECK: tuple[tuple[Kind, str, Moment], ...] = (
    ("kill", "task", "any"),
    ("kill", "task", "described"),
    ("kill", "task", "created"),
    ("pause", "task", "any"),
    ("pause", "task", "created"),
    ("kill", "worker", "any"),
    ("kill", "worker", "created"),
    ("pause", "worker", "any"),
    ("pause", "worker", "described"),
    ("kill", "triggerer-1", ""),
    ("kill", "triggerer-2", ""),
    ("pause", "triggerer-1", ""),
    ("pause", "triggerer-2", ""),
    ("kill", "scheduler", ""),
    ("pause", "scheduler", ""),
    ("kill", "api-server", ""),
    ("pause", "api-server", ""),
    ("kill", "localaws", ""),
    ("pause", "localaws", ""),
    ("cut", "scheduler", ""),
    ("cut", "api-server", ""),
    ("cut", "triggerer-1", ""),
    ("cut", "triggerer-2", ""),
)


def deal(seed: int) -> Iterator[Fault]:
    """Faults without end: the deck, shuffled anew for each round. The same for the same seed."""
    chance = random.Random(seed)
    while True:
        for kind, target, moment in chance.sample(DECK, len(DECK)):
            # A task's process lives for a second or two, so that is when a random moment of it lies.
            delay = chance.uniform(0.0, 1.5) if target in ("task", "worker") else chance.uniform(*settings.GAP)
            yield Fault(kind, target, moment, delay, _seconds(chance, kind, target, moment))


def _seconds(chance: random.Random, kind: Kind, target: str, moment: Moment) -> float:
    if kind == "kill":
        # Either all die with the first, as in a container, or its children live on for a while.
        has_children = target == "scheduler" or target.startswith("triggerer")
        return chance.choice((0.0, settings.LINGER)) if has_children else 0.0
    if kind == "cut":
        return 0.0
    if target.startswith("triggerer"):
        return chance.uniform(*settings.TRIGGERER_PAUSE)
    late = target == "worker" and moment == "described"
    return chance.uniform(*(settings.WORKER_PAUSE if late else settings.PAUSE))

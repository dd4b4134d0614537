"""State tables: which event takes a resource from which status to which."""

from __future__ import annotations

from collections.abc import Mapping


class IllegalTransition(RuntimeError):
    """An event that the resource's table does not allow in its present status."""


class Transitions:
    """A resource's life as data: `{(status, event): next status}`; any other pair raises.

    >>> table = Transitions({("InProgress", "finish"): "Completed"})
    >>> table.next("InProgress", "finish")
    'Completed'
    >>> sorted(table.terminal)
    ['Completed']
    """

    def __init__(self, table: Mapping[tuple[str, str], str]) -> None:
        self.table = dict(table)
        self.sources = frozenset(status for status, _ in self.table)
        self.statuses = self.sources | frozenset(self.table.values())
        self.terminal = self.statuses - self.sources
        self.events = frozenset(event for _, event in self.table)

    def allows(self, status: str, event: str) -> bool:
        """Whether the event is possible in this status."""
        return (status, event) in self.table

    def next(self, status: str, event: str) -> str:
        """The status after the event; raises IllegalTransition when the table has no such pair."""
        try:
            return self.table[status, event]
        except KeyError:
            raise IllegalTransition(f"event {event!r} is not possible in status {status!r}") from None


JOB_TRANSITIONS = Transitions(  # of training, processing and transform jobs
    {
        ("InProgress", "finish"): "Completed",
        ("InProgress", "fail"): "Failed",
        ("InProgress", "stop"): "Stopping",
        ("InProgress", "stopped"): "Stopped",  # at its time limit
        ("Stopping", "stopped"): "Stopped",
        ("Stopping", "finish"): "Completed",  # it had ended before the stop reached it
        ("Stopping", "fail"): "Failed",
    }
)

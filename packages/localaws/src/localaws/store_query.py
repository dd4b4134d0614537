"""Filters, order and pages of the store's lists as SQL, so that a list of ten does not read ten thousand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COLUMNS = frozenset({"name", "status", "created", "modified"})
INDEXES = """
CREATE INDEX IF NOT EXISTS by_created ON resources (kind, created, name, status, modified);
CREATE INDEX IF NOT EXISTS by_modified ON resources (kind, modified, name, status, created);
CREATE INDEX IF NOT EXISTS by_name ON resources (kind, name, status, created, modified);
CREATE INDEX IF NOT EXISTS by_status ON resources (kind, status, name, created, modified);
"""


@dataclass(frozen=True)
class Query:
    """Which resources of a kind, in which order.

    Times are epoch seconds, all bounds exclusive. `contains` is looked for in the name, whatever the case.
    `where` compares top-level members of the body with a text, a number or a truth value; None stands for a member
    that is absent. `sort` is a column or a member of the body (absent counts as an empty text); ties go by name.
    `after` is the position (sort value, name) behind which the page begins, `limit` how many it holds at most.
    """

    contains: str | None = None
    status: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    where: Mapping[str, str | float | bool | None] = field(default_factory=dict)
    sort: str = "created"
    descending: bool = False
    after: tuple[Any, str] | None = None
    limit: int | None = None

    def sql(self, kind: str) -> tuple[str, list[Any]]:
        """What follows `FROM resources`, and the values of its question marks."""
        terms = ["kind = ?"]
        values: list[Any] = [kind]
        for term, value in self._bounds():
            if value is not None:
                terms.append(term)
                values.append(value)
        for member, wanted in self.where.items():
            path = _path(member)
            terms.append("json_extract(body, ?) IS ?")
            values += [path, wanted]
        sort_value, sort_values = self._sort()
        order = "DESC" if self.descending else "ASC"
        if self.after is not None:
            sign = "<" if self.descending else ">"
            if sort_value:
                terms.append(f"({sort_value}, name) {sign} (?, ?)")
                values += [*sort_values, *self.after]
            else:
                terms.append(f"name {sign} ?")
                values.append(self.after[1])
        text = f"WHERE {' AND '.join(terms)} ORDER BY " + (f"{sort_value} {order}, " if sort_value else "")
        text += f"name {order}"
        values += sort_values
        if self.limit is not None:
            text += " LIMIT ?"
            values.append(self.limit)
        return text, values

    def _bounds(self) -> list[tuple[str, Any]]:
        # A plus keeps SQLite from an index in another order than the page's: each one holds all that is compared here.
        created, modified, status = (
            name if name == self.sort else f"+{name}" for name in ("created", "modified", "status")
        )
        return [
            (f"{status} = ?", self.status),
            ("instr(lower(name), ?)", self.contains and self.contains.lower()),
            (f"{created} > ?", self.created_after),
            (f"{created} < ?", self.created_before),
            (f"{modified} > ?", self.modified_after),
            (f"{modified} < ?", self.modified_before),
        ]

    def _sort(self) -> tuple[str, list[Any]]:
        if self.sort in COLUMNS:
            return self.sort if self.sort != "name" else "", []
        return "coalesce(json_extract(body, ?), '')", [_path(self.sort)]


def _path(member: str) -> str:
    if '"' in member:
        raise ValueError(f"{member!r} is no member of a request or answer")
    return f'$."{member}"'

"""The part of JSONPath that batch transform applies to JSON records.

The operators are those of the developer guide ("Associate Prediction Results with Input Records"): `$`, `.name`, `*`,
`['name','name']`, `[1,-1]`, `[1:3]`. What a path gives follows the library that the guide names (Jayway's): a path
that can meet one place only gives what is there, any other a list; several names at the end give an object with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localaws.coverage import Behaviour
from localaws.transform.csv_filter import FilterError, check_ranges

PAGE = "developer guide, Associate Prediction Results with Input Records"
BEHAVIOURS = (
    Behaviour("operators of InputFilter and OutputFilter", "documented", PAGE),
    Behaviour(
        "a filter that meets nothing in a record fails its object", "documented", "API reference, DataProcessing"
    ),
    Behaviour("a slice `[a:b]` leaves out b; the guide says both, and names a library that leaves it out", "assumed"),
)
_NAME = re.compile(r"\.([^.\[\]*'\"\s?()@,:]+)")
_WILD = re.compile(r"\.?\[\s*\*\s*\]|\.\*")
_ITEM = r"(?:-?\d+|(?:-?\d+)?\s*:\s*(?:-?\d+)?)"
_ITEMS = re.compile(rf"\.?\[\s*({_ITEM}(?:\s*,\s*{_ITEM})*)\s*\]")
_QUOTED = r"(?:'[^']*'|\"[^\"]*\")"
_NAMES = re.compile(rf"\.?\[\s*({_QUOTED}(?:\s*,\s*{_QUOTED})*)\s*\]")
_ONE = re.compile(r"'([^']*)'|\"([^\"]*)\"")

Step = tuple[str, ...] | tuple[int | slice, ...] | None  # names, places in a list, or None for the wildcard


@dataclass(frozen=True)
class JsonPath:
    """A parsed path."""

    text: str
    steps: tuple[Step, ...]

    @property
    def whole(self) -> bool:
        """Whether the path is `$`, so that records need not be taken apart."""
        return not self.steps

    def select(self, value: Any) -> Any:
        """What the path gives of a JSON value; FilterError when it names something that is not there."""
        found, definite = [value], True
        for number, step in enumerate(self.steps):
            last = number == len(self.steps) - 1
            if last and _several_names(step):
                found = [picked for each in found for picked in self._pick(each, step, definite)]
                continue
            found = [inner for each in found for inner in self._inner(each, step, definite)]
            definite = definite and _single(step)
        return found[0] if definite else found

    def _pick(self, value: Any, names: Any, strict: bool) -> Iterator[dict[str, Any]]:
        missing = [name for name in names if not (isinstance(value, dict) and name in value)]
        if not missing:
            yield {name: value[name] for name in names}
        elif strict:
            raise FilterError(f"the filter {self.text} names {missing[0]!r}, which the record does not have there")

    def _inner(self, value: Any, step: Step, strict: bool) -> Iterator[Any]:
        """What one step gives of one value; nothing where a step before it was a choice and it does not fit."""
        if step is None:
            if isinstance(value, dict | list):
                yield from value.values() if isinstance(value, dict) else value
            elif strict:
                raise FilterError(f"the filter {self.text} looks into {value!r:.40}, which has no elements")
            return
        for item in step:
            if isinstance(item, slice) and isinstance(value, list):
                yield from value[item]
            elif _there(value, item):
                yield value[item]
            elif strict:
                raise FilterError(f"the filter {self.text} names {item!r}, which the record does not have there")


def _there(value: Any, item: Any) -> bool:
    if isinstance(item, str):
        return isinstance(value, dict) and item in value
    return isinstance(item, int) and isinstance(value, list) and -len(value) <= item < len(value)


def _several_names(step: Step) -> bool:
    return step is not None and len(step) > 1 and isinstance(step[0], str)


def _single(step: Step) -> bool:
    return step is not None and len(step) == 1 and not isinstance(step[0], slice)


def parse(text: str) -> JsonPath:
    """Read a path; FilterError when it uses anything that batch transform does not know."""
    rest = text.strip()
    if not rest.startswith("$"):
        raise _refused(text)
    at, steps = 1, []
    while at < len(rest):
        step, at = _step(rest, at, text)
        steps.append(step)
    return JsonPath(text, tuple(steps))


def _step(rest: str, at: int, text: str) -> tuple[Step, int]:
    if match := _WILD.match(rest, at):
        return None, match.end()
    if match := _NAME.match(rest, at):
        return (match[1],), match.end()
    if match := _ITEMS.match(rest, at):
        check_ranges(text, match[1])
        return tuple(read_item(part) for part in match[1].split(",")), match.end()
    if match := _NAMES.match(rest, at):
        return tuple(one[1] if one[1] is not None else one[2] for one in _ONE.finditer(match[1])), match.end()
    raise _refused(text)


def read_item(text: str) -> int | slice:
    """An index or a slice as it stands between brackets."""
    start, colon, stop = (part.strip() for part in text.partition(":"))
    if not colon:
        return int(start)
    return slice(int(start) if start else None, int(stop) if stop else None)


def _refused(text: str) -> FilterError:
    return FilterError(
        f"{text!r} is not a path that batch transform knows; "
        "allowed are $, .name, .*, ['name','name'], [0,-1] and [1:3]"
    )

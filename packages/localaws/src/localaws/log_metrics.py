"""Metrics out of log lines, by the regular expressions of an algorithm."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

from localaws.coverage import Behaviour
from localaws.engine.images import MetricDefinition
from localaws.errors import ValidationException

BEHAVIOURS = (
    Behaviour(
        "a metric is group 1 of its expression's first match in a log line; FinalMetricDataList holds the last one",
        "documented",
        "developer guide, Define Training Metrics; FinalMetricDataList of DescribeTrainingJob",
    ),
    Behaviour("a match that is no number is dropped", "assumed"),
)
Sink = Callable[[str, float, float], None]


class MetricReader:
    """Feed it lines; it remembers the last value of each metric and hands every value to `sink(name, value, time)`."""

    def __init__(self, definitions: Iterable[MetricDefinition], sink: Sink) -> None:
        self._definitions: list[tuple[str, re.Pattern[str]]] = []
        for definition in definitions:
            try:
                pattern = re.compile(definition.expression)
            except re.error as error:
                raise ValidationException(
                    f"MetricDefinitions: '{definition.expression}' of {definition.name} is no expression: {error}"
                ) from None
            if pattern.groups < 1:
                raise ValidationException(
                    f"MetricDefinitions: '{definition.expression}' of {definition.name} needs a group for the value"
                )
            self._definitions.append((definition.name, pattern))
        self._sink = sink
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, float]] = {}

    def feed(self, line: str, moment: float) -> None:
        """Look for every metric in a line that was written at `moment` (epoch seconds)."""
        for name, pattern in self._definitions:
            match = pattern.search(line)
            if match is None:
                continue
            try:
                value = float(match[1])
            except (TypeError, ValueError):
                continue  # the expression caught a word: AWS drops it too
            if math.isfinite(value):
                with self._lock:
                    self._last[name] = (value, moment)
                self._sink(name, value, moment)

    def final(self) -> list[dict[str, Any]]:
        """FinalMetricDataList: the last value of each metric that was seen."""
        with self._lock:
            return [
                {"MetricName": name, "Value": value, "Timestamp": moment}
                for name, (value, moment) in sorted(self._last.items())
            ]


def definitions(
    request_definitions: Iterable[dict[str, str]], image: Iterable[MetricDefinition]
) -> list[MetricDefinition]:
    """The request's definitions after those of the image; a name given twice is the request's."""
    found = {d.name: d for d in image}
    found |= {d["Name"]: MetricDefinition(d["Name"], d["Regex"]) for d in request_definitions}
    return list(found.values())

"""The expressions of Search, evaluated over records: properties by dotted path, operators, nested filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localaws.coverage import Behaviour
from localaws.errors import ValidationException

MOST_CONDITIONS = 50  # "The maximum number of recursive SubExpressions, NestedFilters, and Filters"
ORDERED = ("GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo")
TEXTUAL = ("Contains", "In")
# Lists of pairs that are looked into by a key: the property's name goes on with that key.
KEYED = {"Tags": ("Key", "Value"), "FinalMetricDataList": ("MetricName", "Value")}
METRICS = "Metrics"  # Metrics.<name> is the final value of a training metric
BEHAVIOURS = (
    Behaviour(
        "Search: operators by type of property, one `Contains`, fifty conditions", "documented", "Search, Filter"
    ),
    Behaviour(
        "Search: `Tags.<key>` and `Metrics.<name>`", "documented", "developer guide, Search using the console and API"
    ),
    Behaviour("Search: a filter on a list holds if it holds for one element", "assumed"),
    Behaviour("Search: NotEquals holds where the property is absent; comparison of texts minds the case", "assumed"),
    Behaviour("Search: hyperparameters are compared as numbers by operators of order", "assumed"),
    Behaviour("Search finds a change at once; AWS's index lags behind", "assumed"),
)


@dataclass(frozen=True)
class Property:
    """A property of a record: its path, and the type of the values there (a shape's type name)."""

    name: str
    path: tuple[str, ...]
    kind: str

    def values(self, record: Any) -> list[Any]:
        """All values at the path; none when it is absent."""
        return list(_values(record, self.path))

    def read(self, text: str) -> Any:
        """A filter's value in the property's type; ValidationException when it is none."""
        try:
            if self.kind in ("integer", "long", "float", "double"):
                return float(text)
            if self.kind == "timestamp":
                moment = datetime.fromisoformat(text)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            raise ValidationException(f"Value '{text}' of the filter on {self.name} is no {self.kind}") from None
        if self.kind == "boolean":
            if text.lower() not in ("true", "false"):
                raise ValidationException(f"Value '{text}' of the filter on {self.name} is neither true nor false")
            return text.lower() == "true"
        return text


def _values(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _values(item, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, Mapping):
        name, rest = path[0], path[1:]
        if name in KEYED and rest:
            key, held = KEYED[name]
            yield from (pair[held] for pair in value.get(name) or () if pair[key] == rest[0])
        else:
            yield from _values(value.get(name), rest)


def find_property(shape: Any, name: str) -> Property:
    """The property of a record's shape; ValidationException for a name that it does not have."""
    names = name.split(".")
    if names[0] == METRICS:
        names[0] = "FinalMetricDataList"
    path: list[str] = []
    here = shape
    while names:
        while here.type_name == "list":
            here = here.member
        first = names[0]
        if here.type_name == "map":  # what is left is the key, dots and all
            return Property(name, (*path, ".".join(names)), here.value.type_name)
        if here.type_name != "structure" or first not in here.members:
            raise ValidationException(f"Unknown property name: {name}")
        here = here.members[first]
        path.append(first)
        names = names[1:]
        if first in KEYED and names:
            kind = "string" if first == "Tags" else "double"
            return Property(name, (*path, ".".join(names)), kind)
    while here.type_name == "list":
        here = here.member
    return Property(name, tuple(path), here.type_name)


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "GreaterThan": lambda found, wanted: bool(found > wanted),
    "GreaterThanOrEqualTo": lambda found, wanted: bool(found >= wanted),
    "LessThan": lambda found, wanted: bool(found < wanted),
    "LessThanOrEqualTo": lambda found, wanted: bool(found <= wanted),
}
Condition = Callable[[Any], bool]


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _ordered(found: Property, operator: str, text: str) -> Condition:
    compare = COMPARE[operator]
    if found.kind == "string" and found.path[0] == "HyperParameters":
        wanted = _number(text)
        if wanted is None:
            raise ValidationException(f"Value '{text}' of the filter on {found.name} is no number")
        return lambda record: any(
            (value := _number(given)) is not None and compare(value, wanted) for given in found.values(record)
        )
    if found.kind in ("string", "boolean"):
        raise ValidationException(f"Operator {operator} is not supported for the {found.kind} property {found.name}")
    limit = found.read(text)
    return lambda record: any(compare(value, limit) for value in found.values(record))


def condition(shape: Any, given: Mapping[str, Any]) -> Condition:
    """One Filter as a test of records; ValidationException for one that makes no sense for the property."""
    found = find_property(shape, given["Name"])
    operator = given.get("Operator", "Equals" if "Value" in given else "Exists")
    if operator in ("Exists", "NotExists"):
        exists = operator == "Exists"
        return lambda record: bool(found.values(record)) == exists
    if "Value" not in given:
        raise ValidationException(f"The filter on {found.name} with the operator {operator} needs a Value")
    text = given["Value"]
    if found.kind in ("structure", "map"):
        raise ValidationException(f"{found.name} has no value of its own to compare: name one of its members")
    if operator in ORDERED:
        return _ordered(found, operator, text)
    if operator in TEXTUAL:
        if found.kind != "string":
            raise ValidationException(f"Operator {operator} is supported for text only; {found.name} is {found.kind}")
        if operator == "Contains":
            return lambda record: any(text in value for value in found.values(record))
        choices = {choice.strip() for choice in text.split(",")}
        return lambda record: any(value in choices for value in found.values(record))
    wanted = found.read(text)
    equal = operator == "Equals"
    return lambda record: (wanted in found.values(record)) == equal


def _nested(shape: Any, given: Mapping[str, Any]) -> Condition:
    """NestedFilters: one element of the list satisfies all of them."""
    outer = find_property(shape, given["NestedPropertyName"])
    member = shape
    for name in outer.path:
        while member.type_name == "list":
            member = member.member
        member = member.members[name]
    if member.type_name != "list":
        raise ValidationException(f"NestedPropertyName {outer.name} is no list of objects")
    prefix = f"{outer.name}."
    tests = []
    for inner in given["Filters"]:
        if not inner["Name"].startswith(prefix):
            raise ValidationException(f"The nested filter on {inner['Name']} must begin with {prefix}")
        tests.append(condition(member.member, {**inner, "Name": inner["Name"].removeprefix(prefix)}))
    return lambda record: any(all(test(item) for test in tests) for item in _values(record, outer.path))


def count(expression: Mapping[str, Any], operator: str | None = None) -> int:
    """How many conditions an expression has, or how many filters with one operator."""
    filters = list(expression.get("Filters", ()))
    nested = expression.get("NestedFilters", ())
    filters += [inner for each in nested for inner in each["Filters"]]
    below = expression.get("SubExpressions", ())
    own = len(filters) + len(nested) + len(below)
    if operator is not None:
        own = sum(f.get("Operator") == operator for f in filters)
    return own + sum(count(each, operator) for each in below)


def check_limits(expression: Mapping[str, Any]) -> None:
    """The documented limits: fifty conditions in all, `Contains` once."""
    if (number := count(expression)) > MOST_CONDITIONS:
        raise ValidationException(
            f"The SearchExpression has {number} conditions, at most {MOST_CONDITIONS} are possible"
        )
    if count(expression, "Contains") > 1:
        raise ValidationException("'CONTAINS' operator usage limit of 1 exceeded.")


def compile_expression(shape: Any, expression: Mapping[str, Any]) -> Condition:
    """A SearchExpression as a test of records of a shape; raises ValidationException."""
    tests = [condition(shape, each) for each in expression.get("Filters", ())]
    tests += [_nested(shape, each) for each in expression.get("NestedFilters", ())]
    tests += [compile_expression(shape, each) for each in expression.get("SubExpressions", ())]
    if not tests:
        raise ValidationException("A SearchExpression needs at least one filter, nested filter or subexpression")
    combine = any if expression.get("Operator") == "Or" else all
    return lambda record: combine(test(record) for test in tests)

"""Validation of requests and filtering of answers, both read from botocore's service model."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from typing import Any

import regex
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from localaws.coverage import Behaviour
from localaws.errors import SerializationException, ValidationException

# Java writes a character above U+FFFF as two surrogates; in Python it is one character.
JAVA_ONLY = {
    r"\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF": r"\uE000-\uFFFD\U00010000-\U0010FFFF",
    r"\p{Alnum}": "a-zA-Z0-9",  # ASCII in Java; the model has it within brackets only
}
SCALARS = ("string", "integer", "long", "float", "double")
BEHAVIOURS = (
    Behaviour("shapes, patterns and limits of requests and answers", "documented", "botocore's service model"),
    Behaviour(
        "`1 validation error detected: Value '...' at 'trainingJobName' failed to satisfy constraint: ...`",
        "seen",
        "sagemaker-python-sdk issue 384; zenml issues 1502 (several errors) and 1517 (length)",
    ),
    Behaviour(
        "a text within a map: the whole map and `Map value must satisfy constraint: [...]`",
        "seen",
        "sagemaker-python-sdk issue 314, amazon-sagemaker-pytorch-detectron2 issue 10",
    ),
    Behaviour("a text within a list: the whole list and `Member must satisfy constraint: [...]`", "assumed"),
    Behaviour("order of several errors; whether patterns are shown with ^ before them", "assumed"),
    Behaviour("a wrong JSON type: `SerializationException`", "assumed"),
    Behaviour("an unknown member: `ValidationException`; AWS passes over it", "assumed"),
)
PATTERN_SECONDS = 2.0  # AWS's patterns match in microseconds what they match at all
JSON_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


@cache
def service(name: str = "sagemaker") -> ServiceModel:
    """botocore's model of a service."""
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


@cache
def operations() -> frozenset[str]:
    """The names of all operations of SageMaker, its runtime and its metrics service."""
    services = ("sagemaker", "sagemaker-runtime", "sagemaker-metrics")
    return frozenset(name for one in services for name in service(one).operation_names)


@cache
def operation_model(name: str) -> OperationModel | None:
    """The SageMaker operation of this name, or None when AWS has none."""
    model = service()
    return model.operation_model(name) if name in model.operation_names else None


@cache
def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """A pattern of the model (Java syntax) as a Python one; it is meant for `fullmatch`."""
    for java, python in JAVA_ONLY.items():
        pattern = pattern.replace(java, python)
    # \\d, \\w and \\s mean ASCII in Java; the flag would take \\p{L} down to ASCII too.
    return regex.compile(pattern, 0 if r"\p{" in pattern else regex.ASCII)


def _matches(pattern: str, value: str) -> bool:
    """Whether the whole value fits; one that a pattern (with a repetition of repetitions) tries for ever does not."""
    try:
        return compile_pattern(pattern).fullmatch(value, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        return False


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _shown(shape: Shape, value: Any) -> str:
    """A value as AWS's messages show it: as Java writes objects, lists and maps."""
    if value is None:
        return "null"
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        members = (
            f"{_camel(name)}={_shown(shape.members[name], v)}" for name, v in value.items() if name in shape.members
        )
        return f"{shape.name}({', '.join(members)})"
    if isinstance(shape, ListShape) and isinstance(value, list):
        return f"[{', '.join(_shown(shape.member, v) for v in value)}]"
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return f"{{{', '.join(f'{k}={_shown(shape.value, v)}' for k, v in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _constraints(shape: Shape) -> list[str]:
    """All constraints of a text or a number, in the order of AWS's messages."""
    kind = "length" if shape.type_name == "string" else "value"
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    found = []
    if high is not None:
        found.append(f"Member must have {kind} less than or equal to {high}")
    if low is not None:
        found.append(f"Member must have {kind} greater than or equal to {low}")
    if allowed := getattr(shape, "enum", None):
        found.append(f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    if pattern := shape.metadata.get("pattern"):
        found.append(f"Member must satisfy regular expression pattern: {pattern}")
    return found


def _json_name(value: object) -> str:
    return JSON_NAMES.get(type(value), "a number")


class _Request:
    """One pass over a request: collects what breaks a constraint, raises on a wrong JSON type."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def fail(self, shape: Shape, value: object, path: str, constraint: str) -> None:
        shown = "null" if value is None else f"'{_shown(shape, value)}'"
        self.found.append(f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}")

    def read(self, shape: Shape, value: Any, path: str) -> Any:
        reader: Callable[[Shape, Any, str], Any] = getattr(self, f"_{shape.type_name}")
        return reader(shape, value, path)

    def wrong_type(self, value: object, path: str, wanted: str) -> SerializationException:
        return SerializationException(f"'{path}' must be {wanted}, {_json_name(value)} was found")

    def _structure(self, shape: StructureShape, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong_type(value, path or "the request", "an object")
        prefix = f"{path}." if path else ""
        result: dict[str, Any] = {}
        for name in shape.required_members:
            if value.get(name) is None:
                self.fail(shape.members[name], None, prefix + _camel(name), "Member must not be null")
        for name, member in value.items():
            if name not in shape.members:
                raise ValidationException(
                    f"'{prefix}{name}' is no member of {shape.name}; known members: {', '.join(shape.members)}"
                )
            if member is not None:
                result[name] = self.read(shape.members[name], member, prefix + _camel(name))
        if shape.is_tagged_union and len(result) != 1:
            self.fail(shape, value, path, "Exactly one member of the union must be set")
        return result

    def _list(self, shape: ListShape, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.wrong_type(value, path, "an array")
        self._length(shape, value, path)
        if shape.member.type_name in SCALARS:
            return self._within(shape, value, path, "Member", shape.member, value)
        return [self.read(shape.member, v, f"{path}.{i}.member") for i, v in enumerate(value, 1)]

    def _map(self, shape: MapShape, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong_type(value, path, "an object")
        self._length(shape, value, path)
        keys = self._within(shape, value, path, "Map keys", shape.key, value)
        if shape.value.type_name in SCALARS:
            held = self._within(shape, value, path, "Map value", shape.value, value.values())
        else:
            held = [self.read(shape.value, v, f"{path}.{k}.member") for k, v in value.items()]
        return dict(zip(keys, held, strict=True))

    def _within(self, shape: Shape, value: Any, path: str, what: str, inner: Shape, values: Iterable[Any]) -> list[Any]:
        """The texts or numbers in a list or map: AWS names the whole and all constraints, once."""
        apart = _Request()
        result = [apart.read(inner, v, f"{path}.member") for v in values]
        if apart.found:
            self.fail(shape, value, path, f"{what} must satisfy constraint: [{', '.join(_constraints(inner))}]")
        return result

    def _length(self, shape: Shape, value: Any, path: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and len(value) < low:
            self.fail(shape, value, path, f"Member must have length greater than or equal to {low}")
        if high is not None and len(value) > high:
            self.fail(shape, value, path, f"Member must have length less than or equal to {high}")

    def _string(self, shape: Shape, value: Any, path: str) -> str:
        if not isinstance(value, str):
            raise self.wrong_type(value, path, "a string")
        self._length(shape, value, path)
        allowed = getattr(shape, "enum", None)
        if allowed and value not in allowed:
            self.fail(shape, value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
        pattern = shape.metadata.get("pattern")
        if pattern and not _matches(pattern, value):
            self.fail(shape, value, path, f"Member must satisfy regular expression pattern: {pattern}")
        return value

    def _range(self, shape: Shape, value: float, path: str) -> None:
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and value < low:
            self.fail(shape, value, path, f"Member must have value greater than or equal to {low}")
        if high is not None and value > high:
            self.fail(shape, value, path, f"Member must have value less than or equal to {high}")

    def _integer(self, shape: Shape, value: Any, path: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong_type(value, path, "an integer")
        self._range(shape, value, path)
        return value

    _long = _integer

    def _float(self, shape: Shape, value: Any, path: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong_type(value, path, "a number")
        self._range(shape, value, path)
        return float(value)

    _double = _float

    def _boolean(self, shape: Shape, value: Any, path: str) -> bool:
        if not isinstance(value, bool):
            raise self.wrong_type(value, path, "a boolean")
        return value

    def _timestamp(self, shape: Shape, value: Any, path: str) -> float:
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value).timestamp()
            except ValueError:
                pass
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        raise self.wrong_type(value, path, "epoch seconds or an ISO 8601 time")

    def _blob(self, shape: Shape, value: Any, path: str) -> bytes:
        if isinstance(value, str):
            try:
                return base64.b64decode(value, validate=True)
            except binascii.Error:
                pass
        raise self.wrong_type(value, path, "base64 text")


def validate(shape: StructureShape | None, request: Any) -> dict[str, Any]:
    """The request with nulls removed and timestamps as epoch floats.

    Raises ValidationException in AWS's style, listing every broken constraint with its path and value, and
    SerializationException for a JSON type that the shape does not allow.
    """
    if shape is None:
        return {}
    reader = _Request()
    result: dict[str, Any] = reader.read(shape, request, "")
    if count := len(reader.found):
        noun = "error" if count == 1 else "errors"
        raise ValidationException(f"{count} validation {noun} detected: {'; '.join(reader.found)}")
    return result


def _plain(shape: Shape, value: Any, path: str) -> Any:
    if shape.type_name == "timestamp" and isinstance(value, datetime):
        return value.timestamp()
    if shape.type_name == "blob" and isinstance(value, bytes):
        return base64.b64encode(value).decode()
    wanted: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "boolean": (bool,),
        "integer": (int,),
        "long": (int,),
        "float": (int, float),
        "double": (int, float),
        "timestamp": (int, float),
    }
    if not isinstance(value, wanted[shape.type_name]):
        raise TypeError(f"{path} must be {shape.type_name}, {value!r} was returned")
    return value


def answer(shape: Shape | None, value: Any, path: str = "") -> Any:
    """The handler's answer reduced to the members of the output shape, ready for JSON.

    A value of the wrong type or a missing required member is a fault of this program: TypeError.
    """
    if shape is None:
        return {}
    if isinstance(shape, StructureShape):
        kept = {
            name: answer(member, value[name], f"{path}.{name}")
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
        if missing := [name for name in shape.required_members if name not in kept]:
            raise TypeError(f"{shape.name}{path} lacks {', '.join(missing)}")
        return kept
    if isinstance(shape, ListShape):
        return [answer(shape.member, v, f"{path}[{i}]") for i, v in enumerate(value)]
    if isinstance(shape, MapShape):
        return {str(k): answer(shape.value, v, f"{path}.{k}") for k, v in value.items()}
    return _plain(shape, value, path)

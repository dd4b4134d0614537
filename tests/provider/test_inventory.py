"""Nothing that the provider has for SageMaker is left out of these tests."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.provider.inventory import (
    OPERATORS,
    OTHER_SERVICES,
    REFUSED,
    SENSORS,
    TRIGGERS,
    everything,
    operators,
    sensors,
    triggers,
)


def exercised() -> Iterator[str]:
    """What the tests of this directory are marked with; the mark is checked while they run."""
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.provider.{file.stem}")
        for name, value in vars(module).items():
            if name.startswith("test_") and inspect.isfunction(value):
                yield from marks(value)


def marks(function: object) -> Iterator[str]:
    for mark in getattr(function, "pytestmark", []):
        if mark.name == "exercises":
            yield from mark.args
        if mark.name == "parametrize":
            for value in mark.args[1]:
                yield from (n for m in getattr(value, "marks", ()) if m.name == "exercises" for n in m.args)


def test_everything_is_run() -> None:
    """A new operator, sensor, trigger or waiter of the provider fails here until it has a test."""
    assert everything() - set(exercised()) - resumed_refused() == set()


def resumed_refused() -> set[str]:
    """What a refused operator would go on with, if it ever were deferred."""
    return {f"{name}.execute_complete" for name in REFUSED if name in OPERATORS}


def test_marks_name_what_the_provider_has() -> None:
    assert set(exercised()) - everything() == set()
    assert everything() >= REFUSED


def test_the_lists_hold_what_the_modules_have() -> None:
    assert len(OPERATORS) >= 18
    assert len(SENSORS) == 7
    assert set(TRIGGERS) == {"SageMakerTrigger", "SageMakerPipelineTrigger"}


def test_only_unified_studio_is_beside_these_modules() -> None:
    beside: set[str] = set()
    for module in (operators, sensors, triggers):
        beside |= siblings(module)
    assert beside == OTHER_SERVICES


def siblings(module: ModuleType) -> set[str]:
    """Other modules of SageMaker in the same package."""
    folder = Path(str(module.__file__)).parent
    return {file.stem for file in folder.glob("sagemaker*.py")} - {"sagemaker"}

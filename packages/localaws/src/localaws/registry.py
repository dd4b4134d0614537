"""Which function answers which SageMaker operation, and what is to be done when the endpoint starts.

The modules of `resources` fill it when they are imported (`resources.load`); nothing here knows them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localaws.context import Context

Handler = Callable[[Context, dict[str, Any]], dict[str, Any]]
Hook = Callable[[Context], None]

OPERATIONS: dict[str, Handler] = {}
START_HOOKS: list[Hook] = []


def operation(name: str) -> Callable[[Handler], Handler]:
    """Register the answer to an operation; one operation has one owner.

    The handler gets a request that is valid against the input shape (null members removed, timestamps as
    epoch floats) and returns the members of the output shape; None members are left out.
    """

    def register(handler: Handler) -> Handler:
        if name in OPERATIONS:
            raise RuntimeError(f"operation {name} is registered twice ({handler.__module__})")
        OPERATIONS[name] = handler
        return handler

    return register


def on_start(hook: Hook) -> Hook:
    """Register a function that brings a kind of resource back after a restart.

    Hooks run once, when the port is bound and before the first request is answered.
    """
    START_HOOKS.append(hook)
    return hook

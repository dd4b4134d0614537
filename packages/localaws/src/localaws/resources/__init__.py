"""The operations: one module per SageMaker resource, which registers its own when it is imported.

Nothing below imports this room; what other rooms need of a resource lies in `jobs`, `serving`, `tuning` and so on.
"""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Import every module of this room, so that all operations are registered."""
    for module in sorted(each.name for each in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"{__name__}.{module}")

"""`include.workflows` of version 0.1, for DAG files that still import it; version 0.3 is without it."""

from __future__ import annotations

import warnings

from sagewind.workflows import model_dags

warnings.warn(
    "the DAG file imports include.workflows, which version 0.3 of sagewind will not have: "
    "write `from sagewind.workflows import model_dags`",
    FutureWarning,
    stacklevel=2,
)

__all__ = ["model_dags"]

"""`include.workflows.housekeeping` of version 0.1; version 0.3 is without it."""

from __future__ import annotations

from sagewind.workflows.housekeeping import housekeeping_dag

__all__ = ["housekeeping_dag"]

"""Places in the checkout that more than one module needs."""

from __future__ import annotations

from pathlib import Path

PROJECT = Path(__file__).parents[2]
MODELS = PROJECT / "include" / "models"
JOBS = PROJECT / "include" / "jobs"

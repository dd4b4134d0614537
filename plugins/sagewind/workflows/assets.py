"""Assets that connect the DAGs of a model."""

from __future__ import annotations

from airflow.sdk import Asset


def drift(model: str) -> Asset:
    """The event that a model's traffic has moved away from its training data."""
    return Asset(f"drift://{model}")


def endpoint(model: str) -> Asset:
    """The event that a model's endpoint serves a new version, verified."""
    return Asset(f"endpoint://{model}")

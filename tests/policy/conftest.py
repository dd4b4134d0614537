"""The project's DAGs, parsed once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="session")
def bag() -> Any:
    """A DagBag of dags/, as the dag-processor reads them."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(ROOT / "dags")

"""What every test shares: an Airflow home of its own, and fast tests before those that start servers."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
_HOME = tempfile.TemporaryDirectory(prefix="sagewind-tests-", ignore_cleanup_errors=True)

# Airflow reads these when it is first imported, so they stand before any test module; a developer's own
# Airflow home and AWS credentials never take part in a test.
os.environ.update(
    AIRFLOW_HOME=_HOME.name,
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT="600",  # a file that is read slowly on a busy machine is no broken file
)
for _name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_CA_BUNDLE"]:
    del os.environ[_name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


# A busy machine makes no test wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first; a sort that is stable keeps each kind in its order."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None)

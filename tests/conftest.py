"""What every test shares: an Airflow home of its own, the order of the tests, and where their time goes."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
_HOME = tempfile.TemporaryDirectory(prefix="sagewind-tests-", ignore_cleanup_errors=True)

# Airflow reads these when it is first imported, so they stand before any test module; a developer's own
# Airflow home, settings and AWS credentials never take part in a test.
os.environ.update(
    AIRFLOW_HOME=_HOME.name,
    AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT="600",  # a file that is read slowly on a busy machine is no broken file
)
for _name in [n for n in os.environ if n.startswith(("AWS_", "AIRFLOW__SAGEWIND__")) and n != "AWS_CA_BUNDLE"]:
    del os.environ[_name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


# A busy machine makes no test wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


#: Folders whose tests are long, all of them; elsewhere a test says so by its marker.
LONG = ("compose", "provider", "system")


@pytest.hookimpl(tryfirst=True)  # before the markers choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The whole run of a model first, as the other tests pass beside it; then the short tests, then the long ones."""
    for item in items:
        if folder_of(item.nodeid) in LONG or item.get_closest_marker("alone"):
            item.add_marker("long")
    items.sort(key=lambda item: (item.get_closest_marker("long") is not None, "test_lifecycle.py" not in item.nodeid))


def folder_of(nodeid: str) -> str:
    """The folder below tests/ of a test; of a package's test, with the name of the package before it."""
    parts = Path(nodeid.partition("::")[0]).parts
    return parts[1] if parts[0] == "tests" else "/".join((parts[1], *parts[4:-1][:1]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the time goes: the seconds of all tests of a folder together, whichever process ran them."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[folder_of(report.nodeid)] += report.duration
    if len(seconds) > 1:
        terminalreporter.section("seconds by folder")
        for folder, spent in seconds.most_common():
            terminalreporter.write_line(f"{spent:8.1f} {folder}")

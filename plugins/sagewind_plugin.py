"""The one file that Airflow loads from a plugins folder. Of an installed wheel it loads the entry point."""

from __future__ import annotations

from importlib.metadata import entry_points

# A second plugin of the same name would be an import error on Airflow's page of plugins.
if not entry_points(group="airflow.plugins", name="sagewind"):
    from sagewind.plugin import SagewindPlugin

    __all__ = ["SagewindPlugin"]

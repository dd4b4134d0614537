"""The one file that Airflow loads as a plugin: it makes Sagewind known to `airflow plugins`."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class SagewindPlugin(AirflowPlugin):
    """Registers the project; operators, sensors and triggers are imported as plain Python, never through a plugin."""

    name = "sagewind"

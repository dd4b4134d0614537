"""Sagewind as Airflow's list of plugins shows it. Operators, sensors and DAG factories are plain imports."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

if __name__ != "sagewind.plugin":
    # Airflow loads every .py below a plugins folder by its bare file name, where no ignore file forbids it: modules of
    # ours would then replace others of the same name in the whole process.
    raise ImportError(
        "Airflow's plugin loader reads the modules of the package sagewind one by one, as the file .airflowignore in "
        "its folder is missing: copy the folder with its hidden files, or install the wheel and delete the folder"
    )


class SagewindPlugin(AirflowPlugin):
    """Makes Sagewind known to `airflow plugins`."""

    name = "sagewind"

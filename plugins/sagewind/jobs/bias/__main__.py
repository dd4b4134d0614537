"""Runs the bias analysis in a container."""

from __future__ import annotations

import sys

from sagewind.jobs.bias.analyze import main
from sagewind.jobs.job import run

if __name__ == "__main__" and __package__:  # Airflow's plugin loader has no package; see sagewind.plugin
    sys.exit(run(main))

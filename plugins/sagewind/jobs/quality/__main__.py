"""Runs the model-quality analysis in a container."""

from __future__ import annotations

import sys

from sagewind.jobs.job import run
from sagewind.jobs.quality.analyze import main

if __name__ == "__main__" and __package__:  # Airflow's plugin loader has no package; see sagewind.plugin
    sys.exit(run(main))

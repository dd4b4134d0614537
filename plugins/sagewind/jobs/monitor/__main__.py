"""`python3 -m sagewind.jobs.monitor`."""

from __future__ import annotations

import sys

from sagewind.jobs.job import run
from sagewind.jobs.monitor.analyses import main

if __name__ == "__main__" and __package__:  # Airflow's plugin loader has no package; see sagewind.plugin
    sys.exit(run(main))

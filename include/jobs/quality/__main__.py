"""Runs the model-quality analysis in a container."""

from __future__ import annotations

import sys

from include.jobs.job import run
from include.jobs.quality.analyze import main

if __name__ == "__main__":
    sys.exit(run(main))

"""Runs the bias analysis in a container."""

from __future__ import annotations

import sys

from include.jobs.bias.analyze import main
from include.jobs.job import run

if __name__ == "__main__":
    sys.exit(run(main))

"""`python3 -m include.jobs.monitor`."""

from __future__ import annotations

import sys

from include.jobs.job import run
from include.jobs.monitor.analyses import main

if __name__ == "__main__":
    sys.exit(run(main))

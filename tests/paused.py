"""`python -m tests.paused [pytest's arguments]`: a test run whose processes are stopped at random and go on later.

All of them at once are a machine that was put to sleep; a single one is a machine that lets others run first. No test
may fail of either: a test that does is wrong, or the product is. The seed is printed; SEED=n in the environment repeats
the choices, though not the moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence

import psutil

GAP = (1.0, 6.0)  # seconds between two stops
STOP = (0.1, 5.0)  # how long one takes


def main(arguments: Sequence[str]) -> int:
    """Run pytest with these arguments; its exit code."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10_000))
    chance, stops, singles = random.Random(seed), 0, 0
    print(f"stops at random, SEED={seed}", flush=True)
    with subprocess.Popen([sys.executable, "-m", "pytest", *arguments]) as pytest:
        run = psutil.Process(pytest.pid)
        while not _ended(pytest, chance.uniform(*GAP)):
            victims = _tree(run)
            if chance.random() < 0.5:
                victims, singles = [chance.choice(victims)], singles + 1
            _stop(victims, chance.uniform(*STOP))
            stops += 1
    print(f"{stops} stops, {singles} of them of a single process (SEED={seed})", flush=True)
    return pytest.returncode


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _tree(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return [process]


def _stop(victims: list[psutil.Process], seconds: float) -> None:
    try:
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.suspend()
        time.sleep(seconds)
    finally:
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.resume()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

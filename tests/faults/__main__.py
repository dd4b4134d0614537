"""`python -m tests.faults --faults 200 --seed 7`: the long fault run. Exit code 1 if a rule was broken."""

from __future__ import annotations

import argparse
import math
import random
import sys
import time

from tests.faults.campaign import Campaign, say
from tests.faults.database import missing
from tests.faults.stack import Stack
from tests.faults.table import table
from tools.stack.errors import Interrupted, StackError
from tools.stack.supervision import Signals


def parser() -> argparse.ArgumentParser:
    """Arguments."""
    found = argparse.ArgumentParser("python -m tests.faults", description="Kills, pauses and cuts off a real stack.")
    found.add_argument("--faults", type=int, default=200, help="how many (default: %(default)s)")
    found.add_argument("--seed", type=int, help="repeats the faults of an earlier run (default: a new one, printed)")
    found.add_argument("--parallel", type=int, default=2, help="runs at once (default: %(default)s)")
    found.add_argument("--minutes", type=float, default=math.inf, help="no further fault after so long")
    found.add_argument("--keep-files", action="store_true", help="leave logs and state where they are, and say where")
    return found


def main() -> int:
    """Run and print the table."""
    options = parser().parse_args()
    if reason := missing():
        say(reason)
        return 2
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    signals, begun = Signals(), time.monotonic()
    signals.install()
    say(f"seed {seed}")
    try:
        with Stack(signals, keep=options.keep_files) as stack:
            say(f"files: {stack.folder}" if options.keep_files else "stack is up")
            limits = {"faults": options.faults, "parallel": options.parallel, "minutes": options.minutes}
            result = Campaign(stack, seed=seed, say=say, **limits).run()
    except Interrupted as interrupted:
        say("Ended early: everything that was started has been ended.")
        return 128 + interrupted.signum
    except (StackError, TimeoutError) as error:
        say(f"{error} (seed {seed})")
        return 2
    sys.stdout.write(f"{table(result)}\n{time.monotonic() - begun:.0f} s\n")
    return 1 if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())

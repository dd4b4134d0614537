"""`make bench`: what the project costs beside the least that is possible, measured in turns.

make bench                  everything
make bench BENCH=parse      DAG files beside a bare import of the provider's operators (1 minute)
make bench BENCH=waiting    steps that wait, beside the provider's deferrable operator; a thousand waits (12 minutes)
                            QUICK=1: a hundred waits (7 minutes)
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks import parse
from localaws_benchmarks.table import render

ROOT = Path(__file__).resolve().parent.parent


def bench_parse(rounds: int, quick: bool) -> str:
    """The table of DAG parsing."""
    rows = parse.measure(ROOT, dict(os.environ), rounds)
    return render("DAG parsing, seconds in a fresh process", parse.FLOOR, rows)


def bench_overhead(rounds: int, quick: bool) -> str:
    """The table of what a task costs."""
    from benchmarks import overhead

    measured = overhead.measure(ROOT, os.environ.get("MODEL") or "tumor", max(2, rounds // 2))
    table = render("Overhead, seconds", "an empty DAG of the same shape, same scheduler", measured.rows())
    return table + "".join(f"{name}: {value}\n" for name, value in overhead.summary(measured).items())


def bench_s3(rounds: int, quick: bool) -> str:
    """The table of the local S3."""
    from localaws_benchmarks import s3

    return s3.bench(max(2, rounds))


def bench_start(rounds: int, quick: bool) -> str:
    """The table of installing and starting the local endpoint."""
    from localaws_benchmarks import start

    return start.bench(max(2, rounds // 2))


def bench_invoke(rounds: int, quick: bool) -> str:
    """The table of InvokeEndpoint."""
    from localaws_benchmarks import invoke

    return invoke.render(invoke.measure(rounds))


def bench_jobs(rounds: int, quick: bool) -> str:
    """The tables of the job engine."""
    from localaws_benchmarks import jobs

    return jobs.bench(rounds)


def bench_batch(rounds: int, quick: bool) -> str:
    """The table of tuning and transform jobs."""
    from localaws_benchmarks import batch

    return render("Batch work, seconds", batch.FLOOR, batch.measure(max(2, rounds // 2)))


def bench_monitor(rounds: int, quick: bool) -> str:
    """The tables of the analyzer beside its peers."""
    from benchmarks import monitor

    return monitor.render(monitor.measure(ROOT, max(2, rounds // 2)))


def bench_waiting(rounds: int, quick: bool) -> str:
    """The tables of steps that wait, and of a crowd of waits."""
    from benchmarks import waiting

    return waiting.bench(max(1, rounds // 2), quick=quick)


BENCHMARKS = {
    "monitor": bench_monitor,
    "jobs": bench_jobs,
    "batch": bench_batch,
    "parse": bench_parse,
    "overhead": bench_overhead,
    "s3": bench_s3,
    "invoke": bench_invoke,
    "start": bench_start,
    "waiting": bench_waiting,
}


def main(argv: list[str]) -> int:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser("make bench", description="Measure the project beside its floors.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="smaller crowds, where a benchmark has one")
    options = parser.parse_args(argv)
    unknown = sorted(set(options.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    for name in options.names or BENCHMARKS:
        sys.stdout.write(BENCHMARKS[name](options.rounds, options.quick) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

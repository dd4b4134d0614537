"""The page that puts the stock provider's operators beside ours, ending by ending: `docs/provider-comparison.md`.

    python -m tools.provider_comparison            play the endings again, keep the results, write the page
    python -m tools.provider_comparison --check    exit code 1 when the page is not what the kept results say

The endings are played by `tests.provider.comparison`, which needs the tests' scripted SageMaker; this only keeps and
renders what it found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "provider-comparison.md"
RESULTS = ROOT / "docs" / "provider-comparison.json"
COLUMNS = ("stock operator", "stock operator, deferrable", "stock sensor", "Sagewind operator", "Sagewind sensor")
INTRODUCTION = """\
# How jobs end: the stock provider beside Sagewind

Written by `make provider-page`; a test fails when it does not match `provider-comparison.json`, the results that it was
written from. Stock: `apache-airflow-providers-amazon` {provider} with Airflow {airflow}, all options at their defaults,
played {measured} on the scripted SageMaker of the status matrix (`tests/plugins/matrix.py`), whose answers keep to
botocore's shapes. An error of AWS comes as botocore raises it when its own retries are used up.

In short: {green} cells of the stock columns are a success although the job did not complete; in {left} an
operator gives up while its job runs on and is paid for, and its retry then starts another one
(`tests/provider/test_double_payment.py`). Sagewind has {ours_green} and {ours_left} of these. Where a stock task fails,
Airflow tries it again as its `retries` say, whatever the cause; Sagewind's cells say what its own policy does.
"""


def render(results: dict[str, Any]) -> str:
    """The text of the page."""
    jobs = results["jobs"]
    counts = {
        "green": _false_successes(jobs, "stock"),
        "left": _left(jobs, "stock"),
        "ours_green": _false_successes(jobs, "Sagewind"),
        "ours_left": _left(jobs, "Sagewind"),
    }
    lines = [INTRODUCTION.format(**results, **counts)]
    lines += ["## Jobs", "", *_table(("ending", *COLUMNS), _by_ending(jobs))]
    endpoints = results["endpoints"]
    head = tuple(endpoints[0])
    lines += ["## Endpoints", "", *_table(head, ([row[name] for name in head] for row in endpoints))]
    return "\n".join(lines).rstrip() + "\n"


def completes(ending: str) -> bool:
    """Whether the job of this ending is `Completed` in the end."""
    return not ending.startswith(("failed", "stopped", "disappears"))


def _false_successes(jobs: list[dict[str, str]], whose: str) -> int:
    return sum(row[c] == "success" for row in jobs if not completes(row["ending"]) for c in COLUMNS if whose in c)


def _left(jobs: list[dict[str, str]], whose: str) -> int:
    """Only an operator's job is its own: a sensor that gives up leaves nobody's job behind."""
    return sum("the job runs on" in row[c] for row in jobs for c in COLUMNS if whose in c and "operator" in c)


def _by_ending(jobs: list[dict[str, str]]) -> Iterator[list[str]]:
    for ending in dict.fromkeys(row["ending"] for row in jobs):
        rows = [row for row in jobs if row["ending"] == ending]
        yield [f"**{ending}**", *(_merged(rows, column) for column in COLUMNS)]


def _merged(rows: list[dict[str, str]], column: str) -> str:
    """One cell for all kinds of job: those that end alike stand together."""
    kinds: dict[str, list[str]] = {}
    for row in rows:
        kinds.setdefault(row[column], []).append(row["kind"])
    if len(kinds) == 1 and len(rows) > 1:
        return next(iter(kinds))
    return "; ".join(f"{', '.join(names)}: {what}" for what, names in kinds.items())


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def main(arguments: list[str]) -> int:
    """Play and write the page, or with --check compare it."""
    if "--check" not in arguments:
        subprocess.run([sys.executable, "-m", "tests.provider.comparison", str(RESULTS)], cwd=ROOT, check=True)
    text = render(json.loads(RESULTS.read_text(encoding="utf-8")))
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is stale: run `make provider-page`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

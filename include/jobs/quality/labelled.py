"""Processing job: captured data and ground truth merged and the model's quality checked, in one container.

One paid job where AWS's schedules run two (merger, analyzer). It takes the variables of both, leaves the files of both,
and needs a baseline as `evaluate` leaves it: its statistics also hold the model's classes in the order of its scores.
The page is that of the check. Without a single label there is no verdict: merge.json says so, the page is the merge's,
and the exit code is 0.
"""

from __future__ import annotations

import os
import sys

from include.jobs import contract, dataset
from include.jobs.job import UserError, read_json, run, write_json
from include.jobs.monitor.window import Window
from include.jobs.quality import analyze, constraints, merge, settings
from include.jobs.quality.records import Source

#: Key of merge.json: constraints whose metric the rows do not define.
NOT_CHECKED = "constraints_not_checked"


def main() -> None:
    """Run the job with the settings of its environment; UserError for settings or data that allow no verdict."""
    settings.refuse_unsupported()
    problem = settings.choice(settings.PROBLEM_TYPE, tuple(constraints.METRICS))
    tolerance = settings.number(settings.TOLERANCE, "0")
    given = read_json(contract.resolve(dataset.required(contract.BASELINE_CONSTRAINTS)), "the baseline's constraints")
    baseline = constraints.loosened(constraints.read(given, problem), tolerance)
    classes = _classes(problem)
    merged = merge.perform()
    if not merged.captured.used:
        return
    folder = settings.folder(contract.OUTPUT_PATH)
    source = Source(
        folder=folder / merge.MERGE_FOLDER,
        kind=dataset.MERGED,
        options={},
        attributes=settings.attributes(),
        window=Window.of_environment(),
        excluded=os.environ.get(contract.EXCLUDED_INFERENCE_IDS, ""),
        requested=False,
    )
    result = analyze.measure(source, problem, classes)
    analyze.judge(result, baseline, constraints.defined(problem, result.block))
    result.remarks = [
        f"{merged.captured.used} of {merged.captured.records} captured requests have a label",
        *merged.captured.notes()[1:],
        *merged.labels.shown,
        f"each limit is the baseline's value with an allowance of {tolerance:g}",
    ]
    write_json(folder / merge.MERGE_JSON, {**merged.document(), NOT_CHECKED: result.unchecked})
    analyze.write(result)


def _classes(problem: str) -> tuple[str, ...]:
    """The model's classes from the baseline's statistics; UserError if they are not there."""
    if problem == "Regression":
        return ()
    path = contract.resolve(dataset.required(contract.BASELINE_STATISTICS))
    found = read_json(path, "the baseline's statistics").get("classes")
    if not isinstance(found, list) or len(found) < 2:
        raise UserError(f"{path.name} holds {found!r} as classes: give the evaluation.json of the job evaluate")
    return tuple(map(str, found))


if __name__ == "__main__":
    sys.exit(run(main))

"""Processing job: captured data and ground truth merged and the model's quality checked, in one container.

One paid job where AWS's schedules run two (merger, analyzer). It takes the variables of both, leaves the files of both,
and needs a baseline as `evaluate` leaves it: its statistics also hold the model's classes in the order of its scores,
and the threshold that the version was evaluated at.
The page is that of the check. Without a single label there is no verdict: merge.json says so, the page is the merge's,
and the exit code is 0.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sagewind.facts import contract
from sagewind.jobs import quality_constraints as constraints
from sagewind.jobs.analysis import dataset, settings
from sagewind.jobs.analysis.records import RecordSource, RecordTally
from sagewind.jobs.analysis.settings import Attributes
from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.job import UserError, read_json, run, write_json
from sagewind.jobs.quality import analyze, merge

#: Key of merge.json: constraints whose metric the rows do not define.
NOT_CHECKED = "constraints_not_checked"
#: Keys of merge.json: labelled records that the check could not use, and why, the first of them.
UNUSABLE, UNUSABLE_SHOWN = "unusable_records", "unusable_shown"
LABEL_LINE = '{"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "..."}}'


def main() -> None:
    """Run the job with the settings of its environment; UserError for settings or data that allow no verdict."""
    settings.refuse_unsupported()
    problem = settings.choice(contract.PROBLEM_TYPE, tuple(constraints.METRICS))
    tolerance = settings.number(contract.TOLERANCE, "0")
    given = read_json(contract.resolve(dataset.required(contract.BASELINE_CONSTRAINTS)), "the baseline's constraints")
    baseline = constraints.loosened(constraints.read(given, problem), tolerance)
    measured = read_json(contract.resolve(dataset.required(contract.BASELINE_STATISTICS)), "the baseline's evaluation")
    classes = _classes(measured, problem)
    merged = merge.perform()
    if not merged.captured.used:
        _require_readable(merged.labels)
        return
    folder = settings.folder(contract.OUTPUT_PATH)
    source = RecordSource(
        folder=folder / merge.MERGE_FOLDER,
        kind=dataset.MERGED,
        options={},
        attributes=_attributes(measured, problem),
        window=CaptureWindow.of_environment(),
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
    found = {NOT_CHECKED: result.unchecked, UNUSABLE: result.tally.unusable, UNUSABLE_SHOWN: result.tally.shown}
    write_json(folder / merge.MERGE_JSON, {**merged.document(), **found})
    analyze.write(result)


def _require_readable(labels: RecordTally) -> None:
    """UserError if there are label lines and none is one: that is no lack of labels."""
    if labels.records and not labels.used:
        raise UserError(
            f"none of the {labels.records} label lines can be read ({labels.shown[0]}): write lines like {LABEL_LINE}"
        )


def _classes(measured: Mapping[str, Any], problem: str) -> tuple[str, ...]:
    """The model's classes from its evaluation; UserError if they are not there."""
    found = measured.get("classes")
    if problem == "Regression":
        return ()
    if not isinstance(found, list) or len(found) < 2:
        raise UserError(
            f"the baseline's evaluation holds {found!r} as classes: give the evaluation.json of the job evaluate"
        )
    return tuple(map(str, found))


def _attributes(measured: Mapping[str, Any], problem: str) -> Attributes:
    """What the environment says, with the threshold of the evaluation where it says none."""
    wanted, threshold = settings.attributes(), measured.get("threshold")
    if problem != "BinaryClassification" or os.environ.get(settings.THRESHOLD_ATTRIBUTE) or threshold is None:
        return wanted
    # The evaluation takes the threshold itself for positive, Model Monitor only what is above its threshold.
    return replace(wanted, threshold=math.nextafter(float(threshold), -math.inf))


if __name__ == "__main__":
    sys.exit(run(main))

"""Checks on what jobs wrote: rows of a batch, verdict of a monitor, and the shifted batch that a rehearsal tries."""

from __future__ import annotations

import csv
import io
import statistics
from typing import TYPE_CHECKING, Any, Literal

from sagewind import s3
from sagewind.errors import TaskRefused
from sagewind.facts import contract
from sagewind.operators.base import SagewindOperator, pulled
from sagewind.operators.verify import numbers

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class BatchCheckOperator(SagewindOperator):
    """Holds the rows that a transform wrote against the rows it read. Returns {rows_in, rows_out, scores}.

    A row whose score is not a number, a missing file or a missing row is a failure.
    """

    about = (
        "Holds the scores against the rows that were to be scored, file by file. Red: a row has no score, or one that "
        "is not a number; the log names the file, the transform job's log the reason."
    )
    template_fields = ("source", "scores")

    def __init__(self, *, source: str, scores: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.scores = scores

    def execute(self, context: Context) -> dict[str, Any]:
        """Count file by file."""
        rows_in = rows_out = 0
        for item in s3.listing(self.aws, self.source):
            if item["Key"].endswith("/"):
                continue  # the console's marker of a folder
            name = item["Key"].split(self.source.split("/", 3)[3].strip("/") + "/", 1)[1]
            read = _rows(s3.get_text(self.aws, f"{self.source.rstrip('/')}/{name}"))
            written = _rows(s3.get_text(self.aws, f"{self.scores}/{name}.out"))
            if len(read) != len(written):
                raise TaskRefused(f"{name} has {len(read)} rows, its scores have {len(written)}: rows were lost")
            for line in written:
                _scores(line, name)
            rows_in, rows_out = rows_in + len(read), rows_out + len(written)
        if not rows_in:
            raise TaskRefused(f"{self.source} holds no rows: nothing was scored")
        return {"rows_in": rows_in, "rows_out": rows_out, "scores": self.scores}


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _scores(line: str, name: str) -> None:
    try:
        numbers(line)
    except ValueError:
        raise TaskRefused(
            f"{name} was scored as {line!r}, which is not a number: look at the transform job's log"
        ) from None


_VERDICT = "Reads what the monitor's job found in the data."
#: A verdict task's `doc_md` by what it expects.
_VERDICTS = {
    None: f"{_VERDICT} Green with violations too: they are in the log. Red: the job's files cannot be read.",
    "ok": f"{_VERDICT} Red: this traffic is normal and violates the baseline all the same; the log names the columns.",
    "shifted": f"{_VERDICT} Red: it does not name exactly the columns that were shifted, so no alarm can be trusted; "
    "the log names both.",
}


class VerdictOperator(SagewindOperator):
    """Reads what a monitor job found. Returns {verdict, violations, rows}.

    `expect` makes it a check: `ok` fails on any violation; `shifted` fails unless exactly the columns that
    `shift_task` returned are named; None only tells.
    """

    template_fields = ("folder",)
    ui_color = "#fdebd0"

    def __init__(
        self,
        *,
        folder: str,
        expect: Literal["ok", "shifted"] | None = None,
        shift_task: str = "shift_batch",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"doc_md": _VERDICTS[expect], **kwargs})
        self.folder = folder
        self.expect = expect
        self.shift_task = shift_task

    def execute(self, context: Context) -> dict[str, Any]:
        """Read, compare with what is expected, tell."""
        found = s3.get_json(self.aws, f"{self.folder}/{contract.VIOLATIONS_JSON}")["violations"]
        items = s3.get_json(self.aws, f"{self.folder}/{contract.STATISTICS_JSON}")["dataset"]["item_count"]
        result = {"verdict": "violations" if found else "ok", "violations": found, "rows": items}
        for violation in found:
            self.log.warning(
                "%s: %s: %s",
                violation["feature_name"],
                violation["constraint_check_type"],
                violation["description"],
            )
        named = {violation["feature_name"] for violation in found}
        if self.expect == "ok" and found:
            raise TaskRefused(f"normal traffic violates the baseline in {', '.join(sorted(named))}: see {self.folder}")
        if self.expect == "shifted":
            shifted = set(pulled(context, self.shift_task)["columns"])
            if named != shifted:
                raise TaskRefused(
                    f"the columns {sorted(shifted)} were shifted, the monitor names {sorted(named)}: see {self.folder}"
                )
        self.log.info("%s over %d rows: %s/report.html", result["verdict"], items, self.folder)
        return result


class ShiftBatchOperator(SagewindOperator):
    """Makes a batch whose first `count` varying numeric columns lie far from the training data: rehearses an alarm.

    Each shifted column moves up by its own spread (largest minus smallest value), so that no value stays where it was
    usual. Returns {columns, rows, uri}.
    """

    about = (
        "Makes a batch in which some columns lie far from the training data: the monitor must name them. Red: too few "
        "numeric columns vary, so nothing can be shifted."
    )
    template_fields = ("rows", "schema", "target")

    def __init__(self, *, rows: str, schema: str, target: str, count: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = rows
        self.schema = schema
        self.target = target
        self.count = count

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the test features, shift, write."""
        features = s3.get_json(self.aws, self.schema)["features"]
        table = list(csv.reader(io.StringIO(s3.get_text(self.aws, self.rows))))
        shifted = shift_columns(table, features, self.count)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(table)
        s3.put_text(self.aws, f"{self.target}/shifted.csv", text.getvalue())
        self.log.info("shifted %s", ", ".join(shifted))
        return {"columns": shifted, "rows": len(table), "uri": self.target}


def shift_columns(table: list[list[str]], features: list[dict[str, Any]], count: int) -> list[str]:
    """Shift columns of `table` in place; returns their names. Numeric columns that take many values come first."""
    candidates = []
    for index, feature in enumerate(features):
        values = [float(row[index]) for row in table if row[index]]
        if feature["kind"] == "numeric" and len(set(values)) > 2:
            # Most distinct values first: a column that is nearly constant would hardly move.
            candidates.append((-len(set(values)), index, values))
    chosen = sorted(candidates)[:count]
    if len(chosen) < count:
        raise TaskRefused(f"{len(chosen)} numeric columns vary, {count} are needed to rehearse a shift")
    for _, index, values in chosen:
        spread = max(values) - min(values) + 4 * statistics.pstdev(values)
        whole = all(value == int(value) for value in values)
        for row in table:
            if row[index]:
                moved = float(row[index]) + spread
                row[index] = str(round(moved)) if whole and "." not in row[index] else repr(moved)
    return [features[index]["name"] for _, index, _ in chosen]

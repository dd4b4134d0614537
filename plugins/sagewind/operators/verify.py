"""Proof that an endpoint serves the model that was evaluated: row by row, through real requests."""

from __future__ import annotations

import random
import re
import uuid
from typing import TYPE_CHECKING, Any

from sagewind import endpoints, s3
from sagewind.capture import VERIFICATION
from sagewind.errors import TaskRefused
from sagewind.operators.base import SagewindOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

_CSV = "text/csv"


class VerifyOperator(SagewindOperator):
    """Sends the test rows in mini-batches and compares with the scores that the evaluation computed from model.tar.gz.

    The scores come from another process that loaded the artifact itself, so a wrong artifact, a wrong image or a
    wrong order of columns shows. After every row was checked once, seeded mini-batches go on until `requests` were
    sent, which also gives the monitor normal traffic. Returns {rows_checked, requests, max_difference}.
    """

    about = (
        "Sends the test rows to the endpoint and compares each answer with the evaluated score. Red: an answer "
        "differs; the log names row and values: check the serving script."
    )
    template_fields = ("endpoint", "config", "rows", "scores")
    ui_color = "#d5f5e3"

    def __init__(
        self,
        *,
        endpoint: str,
        config: str,
        rows: str,
        scores: str,
        tolerance: float,
        requests: int = 110,
        batch: int = 10,
        most_rows: int = 2000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.config = config
        self.rows = rows
        self.scores = scores
        self.tolerance = tolerance
        self.requests = requests
        self.batch = batch
        self.most_rows = most_rows

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the config, send, compare."""
        verdict, sentence = endpoints.judge(endpoints.look(self.aws, self.endpoint), self.endpoint, self.config)
        if verdict != "serving":
            raise TaskRefused(f"nothing to verify: {sentence}")
        rows = s3.get_text(self.aws, self.rows).splitlines()[: self.most_rows]
        expected = [numbers(line) for line in s3.get_text(self.aws, self.scores).splitlines()[: len(rows)]]
        if len(rows) < 1 or len(rows) != len(expected):
            raise TaskRefused(
                f"{self.rows} has {len(rows)} rows, {self.scores} {len(expected)}: they must be the same rows"
            )
        batches = mini_batches(len(rows), self.batch, self.requests)
        worst, where = 0.0, 0
        for indices in batches:
            answer = self._invoke([rows[index] for index in indices])
            for index, line in zip(indices, answer, strict=True):
                gap = difference(line, expected[index])
                if gap > worst or gap != gap:
                    worst, where = gap, index
                if not gap <= self.tolerance:
                    raise TaskRefused(
                        f"endpoint {self.endpoint} answers {line} for test row {index + 1}, the evaluation scored "
                        f"{expected[index]}: they differ by {gap:.3g}, allowed is {self.tolerance:g}"
                    )
        self.log.info("largest difference %.3g at row %d", worst, where + 1)
        return {"rows_checked": len(rows), "requests": len(batches), "max_difference": worst}

    def _invoke(self, lines: list[str]) -> list[list[float]]:
        answer = self.aws.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=self.endpoint,
            ContentType=_CSV,
            Accept=_CSV,
            Body="\n".join(lines).encode(),
            InferenceId=f"{VERIFICATION}-{uuid.uuid4()}",
        )
        return score_lines(answer["Body"].read().decode(), len(lines))


def numbers(line: str) -> list[float]:
    """The numbers of one line of scores; built-in XGBoost brackets the classes of a row in batch transform."""
    return [float(cell) for cell in line.strip().strip("[]").split(",")]


def score_lines(body: str, rows: int) -> list[list[float]]:
    """One list of scores per row; TaskRefused if the answer holds another number of rows.

    Built-in XGBoost separates single scores by commas outside of batch transform, everything else writes a line per
    row; both are read.
    """
    lines = [line for line in body.strip().splitlines() if line.strip()]
    if len(lines) == rows:
        return [numbers(line) for line in lines]
    cells = [cell for cell in re.split(r"[,\s]+", body.strip()) if cell]
    if len(cells) == rows:
        return [[float(cell)] for cell in cells]
    raise TaskRefused(f"{rows} rows were sent, the endpoint answered with {len(lines)} lines and {len(cells)} scores")


def difference(left: list[float], right: list[float]) -> float:
    """Largest absolute difference of two lists of scores; infinite if they differ in length."""
    if len(left) != len(right):
        return float("inf")
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def mini_batches(rows: int, size: int, requests: int, seed: int = 7) -> list[list[int]]:
    """Row numbers per request: every row once in order, then random batches until `requests` are reached."""
    batches = [list(range(start, min(start + size, rows))) for start in range(0, rows, size)]
    chance = random.Random(seed)  # noqa: S311 - a repeatable sample, not a secret
    while len(batches) < requests:
        batches.append(sorted(chance.sample(range(rows), min(size, rows))))
    return batches

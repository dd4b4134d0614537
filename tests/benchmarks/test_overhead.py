"""The parts of the overhead benchmark that can be wrong without being noticed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks import overhead
from localaws_benchmarks.table import Row, render

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def interval(begun: float, ended: float) -> tuple[datetime, datetime]:
    return NOON + timedelta(seconds=begun), NOON + timedelta(seconds=ended)


CASES: list[tuple[list[tuple[float, float]], float]] = [
    ([], 0),
    ([(0, 5)], 5),
    ([(0, 5), (2, 3)], 5),
    ([(4, 9), (0, 5)], 9),
    ([(0, 1), (3, 5)], 3),
    ([(0, 9), (1, 2), (8, 10)], 10),
]


@pytest.mark.parametrize(("given", "seconds"), CASES)
def test_union_seconds(given: list[tuple[float, float]], seconds: float) -> None:
    assert overhead.union_seconds([interval(*each) for each in given]) == seconds


def test_the_empty_dag_has_the_shape(tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

    with DAG("d", schedule=None) as dag:
        a, b, c, d = (EmptyOperator(task_id=name) for name in "abcd")
        a >> [b, c] >> d
    (tmp_path / "empty.py").write_text(overhead.empty_dag(dag))
    bag = DagBag(tmp_path)
    assert bag.import_errors == {}
    edges = {task.task_id: task.downstream_task_ids for task in bag.dags["empty_d"].tasks}
    assert edges == {"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}


def test_rows_take_the_jobs_off() -> None:
    measured = overhead.OverheadSeconds(tasks=10, ours=[50, 60], jobs=[20, 25], empty=[15, 15])
    whole, each = measured.rows()
    assert (whole.ours, whole.floor, each.ours) == ([30, 35], [15, 15], [3.0, 3.5])
    assert whole.ratio == pytest.approx(32.5 / 15)


def test_table() -> None:
    text = render("Title", "the least", [Row("x", [1.0, 2.0, 3.0], [4.0])])
    assert text.splitlines()[-1].split() == ["x", "2.00", "(1.00-3.00)", "4.00", "(4.00-4.00)", "2.00"]

"""Which runs start by themselves: a model file's crons, and drift events, which no switch turns off."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG, AssetOrTimeSchedule, CronDataIntervalTimetable

from sagewind.workflows import assets
from sagewind.workflows.batch_scoring import batch_scoring_dag
from sagewind.workflows.monitoring import monitoring_dag
from sagewind.workflows.training import training_dag
from tests.conftest import ROOT
from tests.models import load_model


def dags() -> dict[str, DAG]:
    spec = load_model("tumor")
    return {"training": training_dag(spec, ROOT), "batch": batch_scoring_dag(spec), "monitoring": monitoring_dag(spec)}


@pytest.mark.parametrize("wish", [None, "", "on"])
def test_the_crons_of_the_model_file(monkeypatch: pytest.MonkeyPatch, wish: str | None) -> None:
    monkeypatch.delenv("SAGEWIND_SCHEDULES", raising=False)
    if wish is not None:
        monkeypatch.setenv("SAGEWIND_SCHEDULES", wish)
    found = dags()
    training = found["training"].timetable
    assert isinstance(training, AssetOrTimeSchedule)
    assert isinstance(training.timetable, CronDataIntervalTimetable)
    assert isinstance(found["batch"].timetable, CronDataIntervalTimetable)
    assert isinstance(found["monitoring"].timetable, CronDataIntervalTimetable)


def test_no_cron_where_schedules_are_off_but_the_drift_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEWIND_SCHEDULES", "off")
    found = dags()
    assert not any(dag.timetable.can_be_scheduled for name, dag in found.items() if name != "training")
    assert found["training"].schedule == [assets.drift("tumor")]


def test_another_word_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEWIND_SCHEDULES", "false")
    with pytest.raises(ValueError, match="SAGEWIND_SCHEDULES is 'false': write on or off"):
        dags()

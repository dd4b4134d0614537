"""What a user asks of a run, checked before anything is started; and what a run that is ended early leaves written."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sagewind.workflows.lifecycle import lifecycle_dag
from tests.conftest import ROOT
from tests.models import load_model
from tools.stack import rehearsal
from tools.stack.errors import Interrupted, StackError
from tools.stack.progress import Printer
from tools.stack.rehearsal import Rehearsal, RehearsalOrder


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/data/rows.csv", "has the scheme '': use one of sklearn://"),
        ("file://rows.csv", "is not an absolute path: write file:///data/file.csv"),
        ("sklearn://nothing", "is not in scikit-learn"),
    ],
)
def test_a_source_that_cannot_be_read_stops_before_airflow_starts(source: str, says: str) -> None:
    with pytest.raises(StackError, match=says):
        RehearsalOrder("tumor", source=source).validate()


def test_a_model_file_and_a_source_that_can_be_read_pass() -> None:
    RehearsalOrder("tumor", source="file:///data/rows.csv").validate()
    RehearsalOrder("tumor").validate()


class RecordingStack:
    """A stack whose Airflow keeps what it is asked for, and whose runs are over at once."""

    def __init__(self) -> None:
        self.api, self.supervision, self.triggered = self, self, []

    def start(self) -> None:
        pass

    def unpause(self, dag_id: str) -> None:
        pass

    def ask(self, _: str, question: Callable[[], Any]) -> Any:
        return question()

    def trigger(self, *asked: Any) -> None:
        self.triggered.append(asked)

    def wait(self, *_: Any, **__: Any) -> str:
        return "success"


@pytest.mark.parametrize(
    ("options", "conf"),
    [
        ({}, {"source": None, "keep": False}),
        ({"source": "file:///a.csv", "keep": True}, {"source": "file:///a.csv", "keep": True}),
    ],
)
def test_a_run_is_asked_for_as_the_trigger_form_does_it(
    options: dict[str, Any], conf: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "StackAws", lambda _: None)
    stack: Any = RecordingStack()
    unused: Any = SimpleNamespace(url="http://airflow")
    run = Rehearsal(RehearsalOrder("tumor", reports=tmp_path, **options), unused, Printer(io.StringIO()), unused)
    before = datetime.now(UTC)
    run._execute(stack)
    ((dag_id, run_id, sent, date),) = stack.triggered
    assert (dag_id, run_id, sent) == ("tumor_lifecycle", run.facts.run_id, conf)
    assert before <= date <= datetime.now(UTC)
    form = lifecycle_dag(load_model("tumor"), ROOT).params
    assert set(sent) == set(form)


class InterruptedStack:
    """A stack whose start is ended by Ctrl-C."""

    setup_seconds = 0.0

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> InterruptedStack:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self) -> Any:
        raise Interrupted(signal.SIGINT)


def test_an_interrupted_run_says_so_in_its_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "Stack", InterruptedStack)
    unused: Any = None
    run = Rehearsal(RehearsalOrder("tumor", reports=tmp_path), unused, Printer(io.StringIO()), unused)
    with pytest.raises(Interrupted):
        run.run()
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["state"] == "interrupted"
    assert summary["error"] == "The run was ended early (SIGINT)."

"""What a user asks of a run, checked before anything is started; and what a run that is ended early leaves written."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from include.stack import rehearsal
from include.stack.errors import Interrupted, StackError
from include.stack.progress import Printer
from include.stack.rehearsal import Order, Rehearsal


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
        Order("tumor", source=source).validate()


def test_a_model_file_and_a_source_that_can_be_read_pass() -> None:
    Order("tumor", source="file:///data/rows.csv").validate()
    Order("tumor").validate()


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
    run = Rehearsal(Order("tumor", reports=tmp_path), unused, Printer(io.StringIO()), unused)
    with pytest.raises(Interrupted):
        run.run()
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["state"] == "interrupted"
    assert summary["error"] == "The run was ended early (SIGINT)."

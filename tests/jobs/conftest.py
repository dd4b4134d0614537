"""A container's file system for the job programs, and data that scikit-learn brings along."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sagewind.facts import contract
from sagewind.jobs.job import run
from sagewind.pipeline import bundle
from tests.conftest import ROOT

SPLIT = {"train": 0.55, "validation": 0.2, "test": 0.25}


@dataclass
class Container:
    """One job's `/opt/ml`. Programs run in this process, as `python -m` would run them in theirs."""

    base: Path
    monkeypatch: pytest.MonkeyPatch

    def input(self, name: str) -> Path:
        folder = contract.input_dir(name)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def output(self, name: str) -> Path:
        return self.base / "processing" / "output" / name

    def configure(self, target: str = "target", problem: str = "binary", seed: int = 7, **document: Any) -> None:
        """Write job.json; `data` in the document is merged over a minimal one."""
        data = {"target": target, "split": SPLIT, **document.pop("data", {})}
        job = {"model": "m", "run_key": "r", "problem": problem, "seed": seed, "data": data, **document}
        (self.input("config") / "job.json").write_text(json.dumps(job))

    def raw(self, text: str | bytes, name: str = "data.csv") -> None:
        content = text.encode() if isinstance(text, str) else text
        (self.input("raw") / name).write_bytes(content)

    def run(self, program: str, **environment: str) -> int:
        with self.monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            module = "monitor.analyses" if program == "monitor" else program
            return run(import_module(f"sagewind.jobs.{module}").main)

    def message(self) -> str:
        return contract.message_file().read_text()

    def rows(self, name: str) -> list[list[str]]:
        with (self.output("") / name).open(newline="") as file:
            return list(csv.reader(file))

    def json(self, name: str) -> Any:
        return json.loads((self.output("") / name).read_text())


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    monkeypatch.setenv(contract.BASE_DIR, str(tmp_path))
    return Container(tmp_path, monkeypatch)


def lay_out(folder: Path) -> Path:
    """The code in `folder` as it arrives in a container."""
    for name, content in bundle.job_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def csv_text(header: Sequence[str] | None, rows: Sequence[Sequence[Any]]) -> str:
    lines = [",".join(header)] if header else []
    return "".join(line + "\n" for line in [*lines, *(",".join(map(str, row)) for row in rows)])


@pytest.fixture(scope="session")
def tumour_csv() -> str:
    """Scikit-learn's breast cancer data as a CSV with a header."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    rows = [[*map(repr, row), int(label)] for row, label in zip(data.data.tolist(), data.target, strict=True)]
    return csv_text([*data.feature_names, "target"], rows)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets that this project does not ship."""
    folder = Path(os.environ.get("SAGEWIND_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}: set SAGEWIND_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run this Python in a clean environment, away from the project's folder."""

    def start(*argv: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *argv],
            cwd=cwd,
            env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return start

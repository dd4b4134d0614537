"""The built-in algorithms in this process: their programs without a process of their own."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import numpy as np
import pytest
from container_toolkit import algorithm, programs

from localaws_tests.images.conftest import MlDir


def lines(table: Any) -> str:
    return "".join(",".join(map(repr, row)) + "\n" for row in np.asarray(table, dtype=float).tolist())


class Builtin:
    """One algorithm in one /opt/ml."""

    def __init__(self, name: str, ml: MlDir, capsys: pytest.CaptureFixture[str]) -> None:
        self.algorithm = importlib.import_module(programs.ALGORITHMS[name]).ALGORITHM
        self.ml = ml
        self._capsys = capsys

    def train(self, hyperparameters: dict[str, Any], kind: str = "text/csv", **channels: Any) -> str:
        """Train on tables (label first) or on the bytes of files; what the job's log holds."""
        files = {name: data if isinstance(data, bytes) else lines(data).encode() for name, data in channels.items()}
        self.ml.training({k: str(v) for k, v in hyperparameters.items()}, {}, ContentType=kind)
        self.ml.write("input/config/inputdataconfig.json", {name: {"ContentType": kind} for name in files})
        for name, data in files.items():
            self.ml.write(f"input/data/{name}/part-0", data)
        algorithm.train(self.algorithm)
        return self._capsys.readouterr().out

    def handler(self) -> algorithm.AlgorithmHandler:
        """The model that was trained, as an endpoint answers with it."""
        module = importlib.import_module(self.algorithm.module)
        return algorithm.AlgorithmHandler(self.algorithm, module.load(self.ml.root / "model"))

    def predict(self, rows: Any, kind: str = "text/csv") -> list[dict[str, Any]]:
        """The predictions for rows, from a JSON answer."""
        body = rows if isinstance(rows, bytes) else lines(rows).encode()
        status, _kind, answer = self.handler()(body, kind, "application/json")
        assert status == 200, answer
        (predictions,) = json.loads(answer).values()
        return list(predictions)


def metric(log: str, name: str) -> float:
    """The value of a metric line such as `test accuracy <score>`; the last one."""
    return float(re.findall(rf"#quality_metric: host=algo-1, {re.escape(name)}=(\S+)", log)[-1])

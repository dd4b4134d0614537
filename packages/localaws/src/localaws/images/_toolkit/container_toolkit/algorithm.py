"""What AWS's built-in algorithms have in common: how training begins and reports, how a model is served."""

import importlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from container_toolkit import base, cluster, tabular
from container_toolkit.base import UserError, log
from container_toolkit.environment import TrainingEnvironment
from container_toolkit.rules import Rule, validate
from container_toolkit.server import Answer, default_accept, serve

MODEL = "model_algo-1"
"""The main file of a model archive, called after the host that writes it."""


class AlgorithmPredictor(Protocol):
    """A loaded model."""

    width: int
    """Features of a record."""

    def __call__(self, features: Any, *, verbose: bool) -> dict[str, Any]:
        """Columns of one value or one vector per record, in the order of the answer."""


@dataclass(frozen=True)
class BuiltInAlgorithm:
    """One built-in algorithm; its module has `train(Training)` and `load()`."""

    module: str
    title: str
    rules: Mapping[str, Rule]
    channels: tuple[str, ...]
    labelled: bool
    whole: str = "predictions"
    integers: tuple[str, ...] = ()
    accepts: tuple[str, ...] = (tabular.JSON, tabular.JSON_LINES, tabular.RECORDIO, tabular.CSV)


class AlgorithmTraining:
    """One training: its hyperparameters, its data and its report."""

    def __init__(self, algorithm: BuiltInAlgorithm, environment: TrainingEnvironment) -> None:
        self.algorithm = algorithm
        self.host = environment.resources["current_host"]
        self.hosts = sorted(environment.resources["hosts"])
        self.leads = self.host == self.hosts[0]
        self._parts: dict[str, dict[str, Any]] = {}
        self.parameters = validate(base.read_config("hyperparameters", {}), algorithm.rules)
        self.channels = environment.channels
        for name in self.channels:
            if name not in algorithm.channels:
                raise UserError(
                    "Unable to initialize the algorithm. Failed to validate input data configuration. (caused by "
                    f"ValidationError: Additional properties are not allowed ({name!r} was unexpected))"
                )
        if "train" not in self.channels:
            raise UserError(
                "Unable to initialize the algorithm. Failed to validate input data configuration. (caused by "
                "ValidationError: 'train' is a required property)"
            )

    @property
    def divided(self) -> list[str]:
        """The channels of which each of several hosts has a part."""
        if len(self.hosts) < 2:
            return []
        return [n for n, channel in self.channels.items() if channel.get("S3DistributionType") == "ShardedByS3Key"]

    def gather(self) -> None:
        """On the leading host: the parts of the others. On the others: give the parts away."""
        if not self.leads:
            cluster.send(self.hosts[0], self.host, {name: self._read(name) for name in self.divided})
            report(f"The data of {self.host} is with {self.hosts[0]}, which trains on all of it")
        elif len(self.hosts) > 1:
            wait = cluster.receive(self.host, len(self.hosts) - 1)
            own = {self.host: {name: self._read(name) for name in self.divided}}
            self._parts = {**own, **wait()}

    def _read(self, channel: str) -> tuple[Any, Any]:
        width = self.parameters.get("feature_dim") or 0
        part = channel in self.divided
        return tabular.read_channel(channel, self.channels[channel], width if isinstance(width, int) else 0, part=part)

    def data(self, channel: str) -> tuple[Any, Any] | None:
        """Features and labels (one number per record, or None) of a channel; None when the job has no such channel."""
        if channel not in self.channels:
            return None
        features, labels = self._together(channel) if channel in self.divided else self._read(channel)
        width = self.parameters.get("feature_dim") or 0
        if isinstance(width, int) and width and features.shape[1] != width:
            raise UserError(
                f"feature_dim is {width}, but the records of data channel '{channel}' have "
                f"{features.shape[1]} features."
            )
        if not self.algorithm.labelled:
            return features, None
        if labels.shape[1] != 1:
            raise UserError(
                f"The records of data channel '{channel}' have {labels.shape[1]} labels, one is needed: for text/csv "
                "the label is the first column (label_size=1)."
            )
        return features, labels[:, 0]

    def _together(self, channel: str) -> tuple[Any, Any]:
        import numpy as np

        parts = [found[channel] for found in self._parts.values() if len(found[channel][0])]
        if not parts:
            raise UserError(f"The data channel '{channel}' holds no data.")
        if len(sizes := {(part[0].shape[1], part[1].shape[1]) for part in parts}) > 1:
            raise UserError(f"The parts of data channel '{channel}' have different columns: {sorted(sizes)}.")
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def quality(
        self, channel: str, metric: str, value: float, *, kind: str = "score", epoch: int | None = None
    ) -> None:
        """The line that the metric definitions of the algorithm read; `kind` is score or loss."""
        when = "" if epoch is None else f"epoch={epoch}, "
        report(f"#quality_metric: host={self.host}, {when}{channel} {metric} <{kind}>={value!r}")

    def score(self, channel: str, metric: str, value: float) -> None:
        """The other line in which the algorithms report a score, for people."""
        report(f"#{channel}_score ({self.host}) : ({metric!r}, {value!r})")

    def progress(self, percent: float) -> None:
        """How far the training is."""
        report(f"#progress_metric: host={self.host}, completed {percent:g} %")


def report(text: str) -> None:
    """A line of the training log in the form of the algorithms' own."""
    print(f"[{time.strftime('%m/%d/%Y %H:%M:%S', time.gmtime())} INFO {id(report)}] {text}", flush=True)


def train(algorithm: BuiltInAlgorithm) -> None:
    """The `train` program."""
    base.model_dir().mkdir(parents=True, exist_ok=True)
    training = AlgorithmTraining(algorithm, TrainingEnvironment.read())
    report(f"Final configuration: {json.dumps(training.parameters, sort_keys=True)}")
    training.gather()
    if training.leads:
        importlib.import_module(algorithm.module).train(training)


def serving(algorithm: BuiltInAlgorithm) -> None:
    """The `serve` program."""
    predictor = importlib.import_module(algorithm.module).load(base.model_dir())
    log(f"Loaded the {algorithm.title} model: {predictor.width} features per record")
    serve(AlgorithmHandler(algorithm, predictor))


def model_file(directory: Any, name: str) -> bytes:
    """One file of the model archive; UserError says what is there instead."""
    path = directory / name
    if not path.is_file():
        there = ", ".join(sorted(entry.name for entry in directory.glob("*"))) or "nothing"
        raise UserError(f"The model archive must hold {name}; it holds {there}.")
    return path.read_bytes()


class AlgorithmHandler:
    """Answers invocations in the formats that the algorithms share."""

    def __init__(self, algorithm: BuiltInAlgorithm, predictor: AlgorithmPredictor) -> None:
        self._algorithm = algorithm
        self._predictor = predictor

    def __call__(self, body: bytes, content_type: str | None, accept: str | None) -> Answer:
        """415 for a type that is not read, 400 for a body that does not fit, 406 for Accept."""
        wish = tabular.ContentType.parse(accept or "")
        wanted = default_accept(accept, tabular.JSON)
        if wanted not in self._algorithm.accepts:
            known = ", ".join(self._algorithm.accepts)
            return 406, "text/plain", f"Accept type {wanted} is not supported. Supported: {known}.".encode()
        try:
            features = tabular.parse_body(body, content_type, self._predictor.width)
        except UserError as error:
            return 415, "text/plain", str(error).encode()
        except ValueError as error:
            return 400, "text/plain", f"unable to evaluate payload provided: {error}".encode()
        if features.shape[1] != self._predictor.width:
            reason = f"the model has {self._predictor.width} features, a record has {features.shape[1]}"
            return 400, "text/plain", f"unable to evaluate payload provided: {reason}".encode()
        columns = self._predictor(features, verbose=wish.parameters.get("verbose", "").lower() == "true")
        answer = tabular.respond(
            columns, tabular.ContentType(wanted, {}), whole=self._algorithm.whole, integers=self._algorithm.integers
        )
        return 200, wanted, answer

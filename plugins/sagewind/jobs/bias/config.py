"""analysis_config.json, typed: the part of Clarify's analysis configuration that bias is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagewind.jobs.analysis.clarify import FILE, find
from sagewind.jobs.bias.metrics import POST_TRAINING, PRE_TRAINING, BiasMetric
from sagewind.jobs.job import UserError, read_json

#: Other names of metrics that the guide uses.
ALIASES = {"DCAcc": "DCA", "DCAACC": "DCA"}


@dataclass(frozen=True)
class Facet:
    """A sensitive column, by name or index, and the values or the threshold of the group that is looked at.

    Without values every value is a group of its own.
    """

    column: str | int
    values: tuple[Any, ...]

    @property
    def text(self) -> str:
        """The values as violations and metrics name them."""
        return ",".join(map(str, self.values))


@dataclass(frozen=True)
class BiasConfig:
    """What is to be computed. `headers` are the columns' names, empty if the data brings its own."""

    headers: tuple[str, ...]
    label: str | int | None
    label_values: tuple[Any, ...]
    predicted_label: str | int | None
    threshold: float | None
    facets: tuple[Facet, ...]
    group_variable: str | int | None
    features: str | None
    pre_training: tuple[BiasMetric, ...]
    post_training: tuple[BiasMetric, ...]
    post_required: bool
    dataset_type: str

    def name(self, column: str | int) -> str:
        """A column's name: the header at its index, or the name that it is."""
        if isinstance(column, int) and self.headers:
            if column >= len(self.headers):
                raise UserError(f"{FILE}: column {column} is beyond the {len(self.headers)} headers")
            return self.headers[column]
        return str(column)

    def label_name(self) -> str:
        """What the label is called in the results."""
        if self.label is None:
            return "label"
        if self.dataset_type == "application/jsonlines" and self.headers:
            return self.headers[-1]
        return self.name(self.label)


def load() -> BiasConfig:
    """The configuration of the input `config`; UserError names the key that is missing or wrong."""
    return parse(read_json(find(), "the analysis configuration"))


def parse(document: Mapping[str, Any]) -> BiasConfig:
    """Typed form of the configuration's JSON."""
    facets = document.get("facet")
    if not isinstance(facets, list) or not facets:
        raise UserError(f"{FILE}: facet is missing: list the sensitive columns, each with name_or_index")
    values = _values(document.get("label_values_or_threshold"))
    if not values:
        raise UserError(f"{FILE}: label_values_or_threshold is missing: name the positive outcome, such as [1]")
    methods = document.get("methods") or {}
    both = "pre_training_bias" not in methods and "post_training_bias" not in methods
    return BiasConfig(
        headers=tuple(map(str, document.get("headers") or ())),
        label=_column(document, "label"),
        label_values=values,
        predicted_label=_column(document, "predicted_label"),
        threshold=_number(document, "probability_threshold"),
        facets=tuple(_facet(facet) for facet in facets),
        group_variable=_column(document, "group_variable"),
        features=document.get("features"),
        pre_training=PRE_TRAINING if both else _chosen(methods, "pre_training_bias", PRE_TRAINING),
        post_training=POST_TRAINING if both else _chosen(methods, "post_training_bias", POST_TRAINING),
        post_required="post_training_bias" in methods,
        dataset_type=str(document.get("dataset_type") or "text/csv"),
    )


def _facet(facet: Any) -> Facet:
    column = facet.get("name_or_index") if isinstance(facet, Mapping) else None
    if column is None or isinstance(column, bool) or not isinstance(column, str | int):
        raise UserError(f"{FILE}: the facet {facet!r} has no name_or_index: give the column's name or index")
    return Facet(column, _values(facet.get("value_or_threshold")))


def _values(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    return tuple(given) if isinstance(given, list) else (given,)


def _column(document: Mapping[str, Any], key: str) -> str | int | None:
    value = document.get(key)
    if value is None or (isinstance(value, str | int) and not isinstance(value, bool)):
        return value
    raise UserError(f"{FILE}: {key} is {value!r}: give a column's name or its index from zero")


def _number(document: Mapping[str, Any], key: str) -> float | None:
    value = document.get(key)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise UserError(f"{FILE}: {key} is {value!r}: give a number such as 0.5")


def _chosen(methods: Mapping[str, Any], key: str, known: Sequence[BiasMetric]) -> tuple[BiasMetric, ...]:
    if key not in methods:
        return ()
    wanted = (methods[key] or {}).get("methods", "all")
    if wanted == "all" or wanted == ["all"]:
        return tuple(known)
    names = [ALIASES.get(str(name), str(name)) for name in (wanted if isinstance(wanted, list) else [wanted])]
    strange = [name for name in names if name not in {metric.name for metric in known}]
    if strange:
        allowed = ", ".join(metric.name for metric in known)
        raise UserError(f"{FILE}: {key} asks for {strange[0]!r}: use all, or some of {allowed}")
    return tuple(metric for metric in known if metric.name in names)

"""CreateHyperParameterTuningJob requests."""

from __future__ import annotations

from typing import Any

from sagewind.facts.algorithms import ALGORITHMS
from sagewind.pipeline.refs import RunRefs
from sagewind.pipeline.requests.training import algorithm_specification, definition, hyperparameters
from sagewind.pipeline.spec import ModelSpec, TuneSpec


def parameter_ranges(spec: ModelSpec, tune: TuneSpec) -> dict[str, list[dict[str, Any]]]:
    """Ranges by kind. A built-in algorithm fixes the kind; for a script two whole numbers are an integer range."""
    known = ALGORITHMS[spec.train.algorithm].tunable if spec.train.algorithm else {}
    ranges: dict[str, list[dict[str, Any]]] = {}
    for name, values in tune.ranges.items():
        if all(isinstance(value, str) for value in values):
            ranges.setdefault("CategoricalParameterRanges", []).append(
                {"Name": name, "Values": [str(value) for value in values]}
            )
            continue
        whole = all(isinstance(value, int) for value in values)
        kind = known.get(name, "Integer" if whole else "Continuous")
        low, high = values
        ranges.setdefault(f"{kind}ParameterRanges", []).append(
            {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": "Auto"}
        )
    return ranges


def tune(spec: ModelSpec, refs: RunRefs) -> dict[str, Any]:
    """Several trainings that look for the best hyper-parameters; ranges replace the fixed values of the same name."""
    if spec.tune is None:
        raise ValueError(f"model {spec.name} has no tune section")
    objective = {"Type": spec.tune.objective.goal.capitalize(), "MetricName": spec.tune.objective.metric}
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": spec.tune.strategy,
            "HyperParameterTuningJobObjective": objective,
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": spec.tune.jobs.total,
                "MaxParallelTrainingJobs": spec.tune.jobs.parallel,
            },
            "ParameterRanges": parameter_ranges(spec, spec.tune),
            "RandomSeed": spec.tune.seed,
        },
        "TrainingJobDefinition": {
            "AlgorithmSpecification": algorithm_specification(spec, refs),
            "StaticHyperParameters": hyperparameters(spec, leave_out=tuple(spec.tune.ranges)),
            **definition(spec, refs),
        },
    }

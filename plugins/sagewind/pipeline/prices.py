"""What a run costs, roughly: on-demand prices per instance hour, for the dry run. Never for a bill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sagewind.pipeline.spec import InstanceSpec, ModelSpec

#: US dollars per hour in us-east-1, SageMaker on demand; read off AWS's public price list, they change.
DOLLARS_PER_HOUR: Mapping[str, float] = {
    "ml.t3.medium": 0.05,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.c5.large": 0.102,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
}


@dataclass(frozen=True)
class Line:
    """One line of an estimate; `dollars` is an upper bound at the job's time limit, None if the price is unknown."""

    what: str
    instance: InstanceSpec
    machines: int

    @property
    def dollars(self) -> float | None:
        """Cost if the job runs until it is stopped."""
        price = DOLLARS_PER_HOUR.get(self.instance.type)
        return None if price is None else price * self.machines * self.instance.max_minutes / 60


def estimate(spec: ModelSpec) -> list[Line]:
    """The paid jobs of one training run, each at its time limit; a normal run ends in minutes."""
    trainings = spec.tune.jobs.total if spec.tune else 1
    return [
        Line("prepare", spec.processing, spec.processing.count),
        Line(spec.fit_task, spec.train.instance, spec.train.instance.count * trainings),
        Line("evaluate", spec.processing, spec.processing.count),
        Line("baseline", spec.monitor.instance, spec.monitor.instance.count),
    ]


def endpoint_dollars_per_day(spec: ModelSpec) -> float | None:
    """What the endpoint costs each day, used or not; None if the price is unknown."""
    price = DOLLARS_PER_HOUR.get(spec.deploy.instance.type)
    return None if price is None else price * spec.deploy.instance.count * 24

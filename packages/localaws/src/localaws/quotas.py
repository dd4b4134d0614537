"""How many instances of a type may be in use at once, per kind of use; no limit unless set.

AWS counts an account's instances per instance type and use, and besides over all types of a use. Code, sentence and
counting rule are those of ResourceLimitExceeded in public reports (amazon-sagemaker-examples issues 307 and 1543,
data-science-on-aws issue 200).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from localaws.coverage import Behaviour
from localaws.errors import ResourceLimitExceeded
from localaws.kinds import ENDPOINT, PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB
from localaws.store import Store

ALL = "all"  # in place of an instance type: every type of that use together
GIVEN = re.compile(r"(?P<type>[a-z0-9.-]+)/(?P<use>[a-z -]+)=(?P<number>\d+)")
ADVICE = (
    "Please use AWS Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, "
    "contact AWS support to request an increase for this quota."
)
BEHAVIOURS = (
    Behaviour(
        "a used-up quota: `ResourceLimitExceeded`, `The account-level service limit '...' is ... Instances, ...`",
        "seen",
        "amazon-sagemaker-examples issues 307 and 1543, data-science-on-aws issue 200",
    ),
    Behaviour("instances of a job count until it has ended, those of an endpoint until it is deleted", "assumed"),
)


@dataclass(frozen=True)
class _Use:
    """Where the instances of one use are found: the kind of resource, the words of AWS, and (type, number) pairs."""

    kind: str
    words: str
    all_words: str
    instances: Callable[[Mapping[str, Any]], Iterable[tuple[str, int]]]
    ended: frozenset[str] = frozenset({"Completed", "Failed", "Stopped"})


def _cluster(resources: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    if groups := resources.get("InstanceGroups"):
        return [(g["InstanceType"], g["InstanceCount"]) for g in groups]
    return [(resources["InstanceType"], resources["InstanceCount"])] if "InstanceType" in resources else []


def _training(spot: bool) -> Callable[[Mapping[str, Any]], Iterable[tuple[str, int]]]:
    def instances(body: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
        return _cluster(body.get("ResourceConfig", {})) if body.get("EnableManagedSpotTraining", False) == spot else ()

    return instances


def _endpoint(body: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    variants = body.get("plan", {}).get("variants", ())
    return [(v["instance_type"], v["instances"]) for v in variants if v.get("instance_type")]


USES = {
    "training": _Use(TRAINING_JOB.word, "training job", "training jobs", _training(False)),
    "spot training": _Use(TRAINING_JOB.word, "spot training job", "spot training jobs", _training(True)),
    "processing": _Use(
        PROCESSING_JOB.word, "processing job", "processing jobs",
        lambda body: _cluster(body["ProcessingResources"]["ClusterConfig"]),
    ),
    "transform": _Use(
        TRANSFORM_JOB.word, "transform job", "transform jobs", lambda body: _cluster(body["TransformResources"])
    ),
    "endpoint": _Use(ENDPOINT.word, "endpoint", "active endpoints", _endpoint, frozenset({"Failed"})),
}  # fmt: skip


@dataclass(frozen=True)
class Quotas:
    """`limits`: (instance type or "all", use) to a number of instances; uses are the keys of USES."""

    limits: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @classmethod
    def parse(cls, given: Iterable[str]) -> Quotas:
        """Read settings such as `ml.m5.xlarge/training=2`, `all/spot-training=4`; ValueError with one sentence."""
        limits: dict[tuple[str, str], int] = {}
        for text in given:
            match = GIVEN.fullmatch(text)
            use = match["use"].replace("-", " ") if match else ""
            if match is None or use not in USES or not (match["type"] == ALL or match["type"].startswith("ml.")):
                raise ValueError(
                    f"--quota {text!r} is not of the form TYPE/USE=NUMBER: give an instance type such as ml.m5.xlarge "
                    f"(or {ALL}), one of {', '.join(u.replace(' ', '-') for u in USES)}, and a number"
                )
            limits[match["type"], use] = int(match["number"])
        return cls(limits)

    def check(self, store: Store, use: str, instance_type: str, count: int) -> None:
        """Raise ResourceLimitExceeded when `count` more instances of a type are too many for this use.

        Hold `store.exclusive()` over this call and the insert, or two requests at once pass together.
        """
        found = USES[use]
        for scope, name in (
            (instance_type, f"{instance_type} for {found.words} usage"),
            (ALL, f"Number of instances across all {found.all_words}"),
        ):
            limit = self.limits.get((scope, use))
            if limit is None:
                continue
            used = self._used(store, found, None if scope == ALL else scope)
            if used + count > limit:
                raise ResourceLimitExceeded(
                    f"The account-level service limit '{name}' is {limit} Instances, with current utilization of "
                    f"{used} Instances and a request delta of {count} Instances. {ADVICE}"
                )

    @staticmethod
    def _used(store: Store, use: _Use, instance_type: str | None) -> int:
        return sum(
            number
            for resource in store.list(use.kind)
            if resource.status not in use.ended
            for kind, number in use.instances(resource.body)
            if instance_type in (None, kind)
        )

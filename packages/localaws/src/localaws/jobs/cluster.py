"""The instances of one job: their names, their addresses on this machine, and what each is told of the others."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from localaws.coverage import Behaviour
from localaws.engine import instances
from localaws.engine.instances import Demand
from localaws.engine.sandbox import NoSandbox
from localaws.engine.spec import LOOPBACK
from localaws.errors import ValidationException

HOMOGENEOUS = "homogeneousCluster"  # the group's name when the request names none
MOST = 100  # instances of one job here: the API's maximum for processing jobs, taken for training too

BEHAVIOURS = (
    Behaviour(
        "N instances: hosts algo-1 ... algo-N, named in resourceconfig.json, resolved by /etc/hosts",
        "documented",
        "developer guide, How Amazon SageMaker provides training information, Distributed training configuration",
    ),
    Behaviour("instance groups number their hosts one after the other, in the order of the request", "assumed"),
    Behaviour("the network interface between hosts is `lo` here, `eth0` on AWS", "assumed"),
)


@dataclass(frozen=True)
class Host:
    """One instance."""

    name: str
    instance_type: str
    group: str


@dataclass(frozen=True)
class Cluster:
    """All instances of a job, the first one first; there is always one."""

    hosts: tuple[Host, ...]

    @classmethod
    def of(cls, resources: Mapping[str, Any]) -> Cluster:
        """The cluster of a ResourceConfig (training) or ClusterConfig (processing)."""
        groups = resources.get("InstanceGroups") or [{**resources, "InstanceGroupName": HOMOGENEOUS}]
        kinds = [(g["InstanceType"], g["InstanceGroupName"]) for g in groups for _ in range(g["InstanceCount"])]
        return cls(tuple(Host(f"algo-{n}", kind, group) for n, (kind, group) in enumerate(kinds, 1)))

    @property
    def counts(self) -> dict[str, int]:
        """How many instances there are of each type."""
        return dict(Counter(h.instance_type for h in self.hosts))

    @property
    def demand(self) -> Demand:
        """What all instances together ask of the machine."""
        parts = [instances.of(kind, count) for kind, count in self.counts.items()]
        return Demand(sum(p.cores for p in parts), sum(p.memory for p in parts), sum(p.instances for p in parts))

    def in_groups(self, names: Sequence[str]) -> tuple[Host, ...]:
        """The hosts of the named groups; all when none is named."""
        return tuple(h for h in self.hosts if not names or h.group in names)

    def resource_config(self, host: Host) -> dict[str, Any]:
        """resourceconfig.json as this host finds it."""
        groups = list(dict.fromkeys((h.group, h.instance_type) for h in self.hosts))
        return {
            "current_host": host.name,
            "current_instance_type": host.instance_type,
            "current_group_name": host.group,
            "hosts": [h.name for h in self.hosts],
            "instance_groups": [
                {
                    "instance_group_name": group,
                    "instance_type": kind,
                    "hosts": [h.name for h in self.hosts if h.group == group],
                }
                for group, kind in groups
            ],
            "network_interface_name": "lo",
        }


class Addresses:
    """Loopback addresses for jobs of several instances: no two running jobs share one, so ports do not collide."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: set[int] = set()
        self._next = 0

    @contextmanager
    def of(self, cluster: Cluster) -> Iterator[dict[str, str]]:
        """Host name to address, as long as the job runs; a job of one instance has the usual 127.0.0.1.

        Raises RuntimeError when 65,000 such jobs run at once.
        """
        if len(cluster.hosts) == 1:
            yield {cluster.hosts[0].name: LOOPBACK}
            return
        net = self._take()
        try:
            yield {h.name: f"127.{1 + net // 256}.{net % 256}.{n}" for n, h in enumerate(cluster.hosts, 1)}
        finally:
            with self._lock:
                self._used.discard(net)

    def _take(self) -> int:
        # Not the lowest free one: a port of the last job may still be in TIME_WAIT on its address.
        nets = 254 * 256
        with self._lock:
            for step in range(nets):
                net = (self._next + step) % nets
                if net not in self._used:
                    self._used.add(net)
                    self._next = net + 1
                    return net
        raise RuntimeError("no loopback address is free for the hosts of a job")


ADDRESSES = Addresses()


def check(resources: Mapping[str, Any], where: str) -> Cluster:
    """The cluster of a request; raises ValidationException for one that is not whole or too large."""
    if groups := resources.get("InstanceGroups"):
        if extra := [key for key in ("InstanceType", "InstanceCount") if key in resources]:
            raise ValidationException(f"{where}.{extra[0]} cannot be given together with {where}.InstanceGroups")
        names = [g["InstanceGroupName"] for g in groups]
        if len(set(names)) != len(names):
            raise ValidationException(f"{where}.InstanceGroups holds two groups of the same name")
    else:
        for key in ("InstanceType", "InstanceCount"):
            if key not in resources:
                raise ValidationException(f"{where}.{key} is required")
    counts = [g["InstanceCount"] for g in groups] if groups else [resources["InstanceCount"]]
    if min(counts) < 1:
        raise ValidationException(f"{where}: InstanceCount is {min(counts)}: a job needs at least 1 instance")
    if sum(counts) > MOST:
        raise ValidationException(
            f"{where}: {sum(counts)} instances are asked for: the local AWS endpoint runs at most {MOST} for one job"
        )
    return Cluster.of(resources)


def check_possible(cluster: Cluster, sandbox: str, isolated: bool) -> None:
    """Raise ValidationException for hosts that could not reach each other by name, as they can in AWS."""
    if len(cluster.hosts) == 1:
        return
    if isolated:
        raise ValidationException(
            "EnableNetworkIsolation is not supported by the local AWS endpoint for jobs of more than 1 instance: "
            "isolated hosts could not reach each other here"
        )
    if sandbox == NoSandbox.name:
        raise ValidationException(
            f"InstanceCount is {len(cluster.hosts)}, but this machine offers no namespaces (sandbox {sandbox}) "
            "in which the hosts could know each other's names: use 1 instance or install bubblewrap"
        )

"""What a job asks of the machine: cores and memory of its instance type, as far as the type's name tells them."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from dataclasses import dataclass
from functools import cache

NAME = re.compile(r"ml\.(?P<family>[a-z0-9-]+)\.(?P<size>(?P<times>\d*)(?:xlarge|large|medium|small)|metal[a-z0-9-]*)")
SIZES = {"small": 1, "medium": 2, "large": 2}  # vCPUs; an xlarge has 4, an Nxlarge N times as many
PER_VCPU = {"c": 2.0, "m": 4.0, "t": 2.0, "r": 8.0}  # GiB per vCPU of a family's first letter
OTHER_PER_VCPU = 8.0  # accelerated families have about as much as the memory-rich ones
GIB = 1024**3


@dataclass(frozen=True)
class Demand:
    """A share of the machine: `instances` processes; `cores` physical cores and `memory` GiB for all of them."""

    cores: float = 1.0
    memory: float = 0.0
    instances: int = 1


def of(instance_type: str, count: int = 1) -> Demand:
    """The demand of `count` instances of a type; a name of another form counts as one core.

    A vCPU is a thread of a core, so that two make one core (Amazon EC2 user guide, CPU options).
    """
    match = NAME.fullmatch(instance_type)
    if match is None:
        return Demand(float(count), 0.0, count)
    vcpus = _vcpus(match["size"], match["times"])
    per_vcpu = PER_VCPU.get(match["family"][0], OTHER_PER_VCPU)
    if match["family"].startswith("t") and match["size"] in ("large", "xlarge", "2xlarge"):
        per_vcpu = 4.0
    return Demand(count * vcpus / 2, count * vcpus * per_vcpu, count)


def _vcpus(size: str, times: str) -> int:
    if size.startswith("metal"):
        return 96
    if size.endswith("xlarge"):
        return 4 * int(times or 1)
    return SIZES[size]


def machine_cores() -> int:
    """The CPUs that this process may use; all of the machine where the system tells no more (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def machine_memory() -> float:
    """The machine's memory in GiB."""
    try:
        return resource.getpagesize() * os.sysconf("SC_PHYS_PAGES") / GIB
    except (ValueError, OSError):  # some versions of macOS do not know the name
        told = subprocess.run(["sysctl", "-n", "hw.memsize"], stdout=subprocess.PIPE, check=True)
        return int(told.stdout) / GIB

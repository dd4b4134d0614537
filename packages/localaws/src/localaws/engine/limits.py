"""Resource limits of a job's processes: what keeps one that has gone wild from taking the machine along."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from localaws.coverage import Behaviour
from localaws.engine.instances import GIB, machine_memory

BEHAVIOURS = (
    Behaviour("a program may have the machine's memory, whatever its instance type has; no core dumps", "assumed"),
)
OOM_SCORE = 500  # when memory runs out the kernel ends a job, not the endpoint


@dataclass(frozen=True)
class Limits:
    """`processes` and threads of one job (not enforced for root by Linux), `data`: bytes of private memory that one
    process may have, `core`: bytes of a core dump.

    Address space is not limited: numeric libraries reserve far more of it than they use.
    """

    processes: int = 16384
    data: int = 0
    core: int = 0

    def resources(self) -> dict[str, int]:
        """As names of setrlimit, none above what this process may have itself."""
        wanted = {
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_DATA": self.data or int(machine_memory() * GIB),
            "RLIMIT_CORE": self.core,
        }
        return {name: _within(name, number) for name, number in wanted.items()}

    def as_data(self) -> dict[str, object]:
        """For a program that sets them on itself; see `prepared/parent.py` and `supervise.py`."""
        return {"resources": self.resources(), "oom_score": OOM_SCORE}

    def shell(self) -> str:
        """As commands of sh; dash and busybox know -p where bash knows -u."""
        given = self.resources()
        processes = given["RLIMIT_NPROC"]
        return (
            f"ulimit -u {processes} 2>/dev/null || ulimit -p {processes} 2>/dev/null; "
            f"ulimit -d {given['RLIMIT_DATA'] // 1024}; ulimit -c {given['RLIMIT_CORE']}; "
            f"echo {OOM_SCORE} 2>/dev/null >/proc/self/oom_score_adj"
        )


def _within(name: str, number: int) -> int:
    hard = resource.getrlimit(getattr(resource, name))[1]
    return number if hard == resource.RLIM_INFINITY else min(number, hard)

"""What is to run: one process, its place and its limits, said to whichever sandbox runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localaws.engine.images import Image
from localaws.engine.limits import Limits

ML = "/opt/ml"
HOST_NAME = "algo-1"  # what SageMaker calls the first instance of a job
LOOPBACK = "127.0.0.1"
PRIVATE_HOME = "/tmp"  # noqa: S108 - HOME of who names no other, where there is a /tmp of one's own


@dataclass(frozen=True)
class ProcessSpec:
    """One process to start.

    `root` is the host directory that the process sees as /opt/ml; `on_line` gets each line of stdout and
    stderr as it comes, without its end, on a thread of its own; `network=False` asks for no network at all.
    `bind` maps further host directories to the absolute paths at which they appear read-only, below /opt/ml or
    outside. `host` is the process's host name; `hosts` says what its /etc/hosts holds: host name to address.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    root: Path
    image: Image
    on_line: Callable[[str], None]
    network: bool = True
    bind: Mapping[Path, str] = field(default_factory=dict)
    host: str = HOST_NAME
    hosts: Mapping[str, str] = field(default_factory=lambda: {HOST_NAME: LOOPBACK})
    limits: Limits = field(default_factory=Limits)

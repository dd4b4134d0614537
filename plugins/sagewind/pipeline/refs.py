"""What a request takes from its run, as templates that the run fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sagewind.facts import contract
from sagewind.facts.algorithms import IMAGES


@dataclass(frozen=True)
class RunRefs:
    """References of one run.

    `prefix`, `code`, `config`, `capture` are S3 URIs without a slash at the end; `sourcedir` is the URI of the folder
    that holds sourcedir.tar.gz; `images` maps image names to URIs; `result(task, field)` is what an earlier task
    returned.
    """

    prefix: str
    code: str
    config: str
    sourcedir: str
    capture: str
    role_arn: str
    window_start: str
    window_end: str
    images: Mapping[str, str]
    result: Callable[[str, str], str]

    def prepared(self, part: str) -> str:
        """URI of what `prepare` leaves in its output `part`."""
        return f"{self.prefix}/prepare/{part}"

    @property
    def evaluation(self) -> str:
        """URI of the folder in which `evaluate` leaves its files."""
        return f"{self.prefix}/evaluate/{contract.EVALUATION}"

    @property
    def baseline(self) -> str:
        """URI of the folder that holds the statistics and constraints of the training data."""
        return f"{self.prefix}/baseline"


def _pulled(task: str, field: str) -> str:
    return "{{ results.%s.%s }}" % (task, field)  # noqa: UP031 - braces are Jinja's


def templates() -> RunRefs:
    """References as Jinja templates over `plan` and `results`, which our operators add to the variables."""
    return RunRefs(
        prefix="{{ plan.prefix }}",
        code="{{ plan.code }}",
        config="{{ plan.config }}",
        sourcedir="{{ plan.sourcedir }}",
        capture="{{ plan.capture }}",
        role_arn="{{ plan.role_arn }}",
        window_start="{{ plan.window.start }}",
        window_end="{{ plan.window.end }}",
        images={name: "{{ plan.images[%r] }}" % name for name in IMAGES},  # noqa: UP031
        result=_pulled,
    )

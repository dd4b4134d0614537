"""How many instances of a type may be in use at once, per kind of use; no limit unless set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Quotas:
    """`limits`: (instance type, use) to a number; uses are training, spot training, processing, transform, endpoint."""

    limits: Mapping[tuple[str, str], int] = field(default_factory=dict)

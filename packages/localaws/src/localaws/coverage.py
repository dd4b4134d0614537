"""What the coverage page says of a behaviour: one `Behaviour` beside the code that shows it.

Every module that has such behaviours lists them in a module constant `BEHAVIOURS`; `docs/coverage.md` is
generated from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Behaviour:
    """One thing that clients can observe, and how it is known that AWS does it too."""

    text: str
    basis: Literal["seen", "documented", "assumed"]
    source: str = ""  # the page or report; obligatory unless assumed

    def __post_init__(self) -> None:
        if self.basis != "assumed" and not self.source:
            raise ValueError(f"{self.text!r} is {self.basis} without a source")

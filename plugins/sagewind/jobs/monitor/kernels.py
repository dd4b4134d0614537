"""Which implementation of the kernels runs: `compiled` (numba) or `vectorised` (numpy). Their results are equal.

Loading compiled code takes half a second and compiling it for the first time far longer, so small data does without.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from sagewind.jobs.job import UserError
from sagewind.jobs.monitor import kll
from sagewind.jobs.monitor.hyperloglog import Registers
from sagewind.jobs.monitor.tally import Scan, ValueTally
from sagewind.jobs.monitor.texts import Floats, Texts, Words
from sagewind.jobs.monitor.vectorised import Vectorised

AUTO, COMPILED, NUMPY = "auto", "compiled", "numpy"
#: Bytes of input from which compiled kernels pay: where they were compiled before, and where they were not.
WORTH_LOADING, WORTH_COMPILING = 48 << 20, 512 << 20


class Kernels(Protocol):
    """What a column needs done to its bytes and numbers."""

    name: str

    def scan(self, texts: Texts, registers: Registers, tally: ValueTally, numeric: bool) -> Scan: ...

    def hash_words(self, words: Words, short: bool, registers: Registers) -> None: ...

    def add_moments(self, values: Floats, moments: Floats) -> None: ...

    def add_to_sketch(self, values: Floats, sketch: kll.Sketch) -> None: ...


def choose(setting: str, size: int) -> Kernels:
    """The kernels for `size` bytes of input; `setting` is auto, compiled or numpy."""
    if setting not in (AUTO, COMPILED, NUMPY):
        raise UserError(f"the setting analysis_kernels is {setting!r}: use one of {AUTO}, {COMPILED}, {NUMPY}")
    if setting == COMPILED and find_spec("numba") is None:
        raise UserError("the setting analysis_kernels is 'compiled', but this image has no numba: use auto or numpy")
    cache_folder()
    if setting == COMPILED or (setting == AUTO and _pays(size)):
        from sagewind.jobs.monitor.native import Compiled

        return Compiled()
    return Vectorised()


def _pays(size: int) -> bool:
    if size < WORTH_LOADING or find_spec("numba") is None:
        return False
    return size >= WORTH_COMPILING or any(cache_folder().rglob("compiled.*.nbi"))


def cache_folder() -> Path:
    """Where numba keeps compiled code: below the user's cache, since a job's code may lie on a read-only input."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(base) / "sagewind" / "numba"))
    return Path(folder)

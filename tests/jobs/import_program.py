"""Imports every module below a folder, as Python 3.10 can, and prints as JSON which were read and which failed.

    python import_program.py FOLDER BLOCKED [stand-ins]

BLOCKED are packages, with commas between them, that are treated as absent. With `stand-ins` other people's packages are
replaced by empty ones that have every attribute, so that none has to be installed.
"""

from __future__ import annotations

import importlib.abc
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked before Python's own finders."""

    def __init__(self, ours: str, blocked: Sequence[str], stand_ins: bool) -> None:
        self.ours, self.blocked, self.stand_ins = ours, blocked, stand_ins

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        top = fullname.split(".")[0]
        if top in self.blocked:
            raise ImportError(f"AWS's images have no {top}")
        if not self.stand_ins or top == self.ours or top in sys.stdlib_module_names:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__getattr__"] = lambda name: MagicMock(name=name)


def main(folder: Path, blocked: str, *options: str) -> None:
    (ours,) = (path.name for path in folder.iterdir())
    sys.meta_path.insert(0, Finder(ours, blocked.split(","), "stand-ins" in options))
    read, failed = [], {}
    for path in sorted(folder.rglob("*.py")):
        file = path.relative_to(folder).as_posix()
        try:
            import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
            read.append(file)
        except Exception as error:
            failed[file] = f"{type(error).__name__}: {error}"
    json.dump({"read": read, "failed": failed}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

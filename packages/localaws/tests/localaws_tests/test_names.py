"""A class name means one thing within localaws and the programs of its images."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import localaws


def test_public_class_names_are_given_once() -> None:
    package = Path(str(localaws.__file__)).parent
    places: dict[str, list[str]] = defaultdict(list)
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(file.relative_to(package).as_posix())
    assert "Endpoint" in places
    assert {name: found for name, found in places.items() if len(found) > 1} == {}

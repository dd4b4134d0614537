"""A public class name means one thing: whoever searches for it finds one class, in the product and its packages."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.conftest import ROOT

FOLDERS = ("plugins", "tools", "benchmarks", "packages/localaws/src")
#: Programs of containers: each image is a world of its own, in which a name may come again.
LEFT_OUT = ("packages/localaws/src/localaws/images",)
#: Name -> why it may be defined more than once. A name that no longer is fails the test too.
EXCEPTIONS: Mapping[str, str] = {}


def public_classes(file: Path) -> Iterator[str]:
    """Names of the classes at module level that do not begin with an underscore."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def modules(root: Path) -> list[Path]:
    """Every module whose names count."""
    found = [path for folder in FOLDERS for path in (root / folder).rglob("*.py")]
    return sorted(p for p in found if not p.relative_to(root).as_posix().startswith(tuple(f"{f}/" for f in LEFT_OUT)))


def defined_twice(root: Path) -> dict[str, list[str]]:
    """Public class names of more than one module, with the modules."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for file in modules(root):
        for name in public_classes(file):
            places[name].append(file.relative_to(root).as_posix())
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def test_every_folder_is_read() -> None:
    read = [path.relative_to(ROOT).as_posix() for path in modules(ROOT)]
    assert [folder for folder in FOLDERS if not any(path.startswith(f"{folder}/") for path in read)] == []


def test_a_public_class_name_is_defined_in_one_module() -> None:
    assert {name: found for name, found in defined_twice(ROOT).items() if name not in EXCEPTIONS} == {}


def test_an_exception_that_is_needed_no_more_is_taken_out() -> None:
    assert sorted(set(EXCEPTIONS) - set(defined_twice(ROOT))) == []


def test_what_counts_and_what_does_not(tmp_path: Path) -> None:
    for path, text in {
        "plugins/a.py": "class Plan: ...\nclass _Own: ...\ndef f():\n    class Inner: ...\n",
        "plugins/b.py": "class Plan: ...\nclass _Own: ...\nclass Inner: ...\n",
        "packages/localaws/src/localaws/images/x/c.py": "class Inner: ...\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert defined_twice(tmp_path) == {"Plan": ["plugins/a.py", "plugins/b.py"]}


def shadowing(folder: Path, packages: tuple[str, ...]) -> list[str]:
    """Modules and packages below `folder` that have the name of one of Python's own."""
    paths = [path for package in packages for path in (folder / package).rglob("*")]
    named = [path for path in paths if path.suffix == ".py" or any(path.glob("*.py"))]
    return sorted(path.relative_to(folder).as_posix() for path in named if path.stem in sys.stdlib_module_names)


def test_no_module_of_the_wheel_is_named_like_one_of_python() -> None:
    """A plugins folder is loaded by bare file names: such a module would take the place of Python's own."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"]
    assert shadowing(ROOT, tuple(wheel["packages"])) == []


def test_a_module_named_like_one_of_python_is_found(tmp_path: Path) -> None:
    for path in ("p/a/queue.py", "p/json/b.py", "p/own.py", "p/static/x.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert shadowing(tmp_path, ("p",)) == ["p/a/queue.py", "p/json"]

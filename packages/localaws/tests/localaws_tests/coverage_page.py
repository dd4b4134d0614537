"""The page that says what the local AWS endpoint does with each operation: `docs/coverage.md`.

    python -m localaws_tests.coverage_page            write the page
    python -m localaws_tests.coverage_page --check    exit code 1 when the page is not what would be written

Read from the code: which operations have an answer (the registry), which effects tests assert (the marks
`executes` of the test files, read without importing them), the constants `ECHOED`, `UNSUPPORTED` and `BEHAVIOURS` of
the endpoint's modules, and the behaviours that image.toml files name.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from localaws import registry, resources, shapes
from localaws.coverage import Behaviour
from localaws.engine.images import SHIPPED, Images, default_cache

HOME = Path(__file__).resolve().parents[2]  # the package's directory
PAGE = HOME / "docs/coverage.md"
PACKAGE = "localaws"
MARK = "executes"
# Services with protocols of their own: what no test asserts is refused there, nothing is merely recorded.
OTHER_SERVICES = ("sagemaker-runtime", "sagemaker-metrics")
INTRODUCTION = """\
# What the local AWS endpoint covers

Written by `make coverage-page` from the code and the tests; a test fails when it is stale.

- **executed**: a test asserts an effect outside the status field (bytes in S3, a prediction, a version, a deletion, a
  filtered list). The test files are named.
- **recorded**: answered, with the checks of AWS's service model; nothing else comes of it, or no test asserts it.
- **refused**: `ValidationException: The operation ... is not supported by the local AWS endpoint`.
"""


def read_marks(root: Path) -> dict[str, set[str]]:
    """Operation to the test files (paths below `root`) that mark it; ValueError for a mark that cannot be read."""
    marks: dict[str, set[str]] = defaultdict(set)
    for file in sorted((root / "tests").rglob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        if MARK not in text:
            continue
        path = file.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(f"mark.{MARK}"):
                for argument in node.args:
                    if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                        raise ValueError(
                            f"{path}:{node.lineno}: mark.{MARK} takes operation names written out, "
                            f"{ast.unparse(argument)} was found"
                        )
                    marks[argument.value].add(path)
    known = {name for service in ("sagemaker", *OTHER_SERVICES) for name in shapes.service(service).operation_names}
    if unknown := sorted(set(marks) - known):
        raise ValueError(f"mark.{MARK} names operations that AWS does not have: {', '.join(unknown)}")
    return marks


def modules() -> list[ModuleType]:
    """Every module of the endpoint, imported, in the order of their names."""
    package = importlib.import_module(PACKAGE)
    found = pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")
    names = sorted(m.name for m in found if not m.name.endswith(".__main__"))
    return [importlib.import_module(name) for name in names]


def create_operations(module: ModuleType) -> list[str]:
    """The Create operations that a module answers."""
    own = (name for name, handler in registry.OPERATIONS.items() if handler.__module__ == module.__name__)
    return sorted(name for name in own if name.startswith("Create"))


def declared(module: ModuleType, constant: str) -> list[tuple[list[str], tuple[str, ...]]]:
    """Operations and the members that a module's constant names; a mapping has them for each operation apart."""
    found = getattr(module, constant, ())
    if isinstance(found, Mapping):
        return [([operation], tuple(paths)) for operation, paths in found.items()]
    names = create_operations(module) or [module.__name__.removeprefix(f"{PACKAGE}.")]
    return [(names, tuple(found))] if found else []


def resolve(shape: Any, path: str) -> bool:
    """Whether a dotted path names a member of a shape; lists on the way are searched in their elements."""
    for name in path.split("."):
        while shape.type_name == "list":
            shape = shape.member
        if shape.type_name == "map":
            shape = shape.value
        elif shape.type_name == "structure" and name in shape.members:
            shape = shape.members[name]
        else:
            return False
    return True


def noun(operation: str) -> str:
    """What an operation is about: its name without the verb, in the singular where that is easy to say."""
    rest = re.sub(r"^(Batch)?[A-Z][a-z]+", "", operation)
    if rest.endswith("ies"):
        return f"{rest[:-3]}y"
    return rest if rest.endswith(("ss", "Status", "Aliases")) else rest.removesuffix("s") or operation


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    head = list(head)
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _state(name: str, marks: Mapping[str, set[str]]) -> str:
    if name not in registry.OPERATIONS:
        return "refused"
    return "executed" if name in marks else "recorded"


def _operations(marks: Mapping[str, set[str]]) -> Iterator[str]:
    names = sorted(shapes.service().operation_names)
    by_state: dict[str, list[str]] = {"executed": [], "recorded": [], "refused": []}
    for name in names:
        by_state[_state(name, marks)].append(name)
    yield f"## SageMaker: {len(names)} operations"
    yield ""
    yield ", ".join(f"{len(found)} {state}" for state, found in by_state.items()) + "."
    yield ""
    yield "### Executed"
    yield ""
    yield from _table(("operation", "effect asserted in"), ((n, _files(marks[n])) for n in by_state["executed"]))
    yield "### Recorded"
    yield ""
    yield (", ".join(by_state["recorded"]) or "None") + "."
    yield ""
    yield "### Refused"
    yield ""
    about: dict[str, list[str]] = defaultdict(list)
    for name in by_state["refused"]:
        about[noun(name)].append(name)
    yield from _table(("about", "operations"), ((thing, ", ".join(about[thing])) for thing in sorted(about)))


def _files(paths: Iterable[str]) -> str:
    return ", ".join(f"[{path.removeprefix('tests/')}](../{path})" for path in sorted(paths))


def _other_services(marks: Mapping[str, set[str]]) -> Iterator[str]:
    yield "## SageMaker Runtime and Metrics"
    yield ""
    rows = (
        (service, name, "executed" if name in marks else "refused", _files(marks.get(name, ())))
        for service in OTHER_SERVICES
        for name in sorted(shapes.service(service).operation_names)
    )
    yield from _table(("service", "operation", "", "effect asserted in"), rows)


def _members(constant: str, found: list[ModuleType]) -> Iterator[str]:
    rows = [
        (", ".join(names), ", ".join(f"`{path}`" for path in sorted(paths)))
        for module in found
        for names, paths in declared(module, constant)
    ]
    yield from _table(("request", "members"), sorted(rows))


def _behaviours(found: list[ModuleType]) -> Iterator[str]:
    rows: list[tuple[str, Behaviour]] = []
    for module in found:
        topic = module.__name__.removeprefix(f"{PACKAGE}.").removeprefix("resources.").replace("_", " ")
        rows += [(topic, each) for each in getattr(module, "BEHAVIOURS", ())]
    images = Images(SHIPPED, default_cache()).images  # only their descriptions are read
    rows += [
        (f"image {image.name}", each) for image in sorted(images, key=lambda i: i.name) for each in image.behaviours
    ]
    counts = {basis: sum(b.basis == basis for _, b in rows) for basis in ("seen", "documented", "assumed")}
    yield "## Behaviours, and how they are known"
    yield ""
    yield (
        "`seen`: on AWS, in a public report. `documented`: on the named page. `assumed`: neither is named in the code; "
        "it may differ. " + ", ".join(f"{number} {basis}" for basis, number in counts.items()) + "."
    )
    yield ""
    yield from _table(("where", "behaviour", "", "source"), ((t, b.text, b.basis, b.source) for t, b in rows))


def render(root: Path = HOME) -> str:
    """The text of the page; ValueError when a mark or a constant is wrong."""
    found = modules()
    resources.load()
    marks = read_marks(root)
    lines = [INTRODUCTION, *_operations(marks), *_other_services(marks)]
    lines += ["## Members that are kept and described, without local effect", "", *_members("ECHOED", found)]
    lines += ["## Members that are refused by name", "", *_members("UNSUPPORTED", found)]
    lines += _behaviours(found)
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with --check compare it."""
    text = render()
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    sys.stdout.write(f"{PAGE.relative_to(HOME)} is stale: run `make coverage-page`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Who imports whom, file by file: no circles, no import that climbs, and the picture of it in docs/structure.md.

`FLOORS` is the rule inside the local AWS endpoint: a room is a module or a package directly below its source
directory, and imports its own modules and rooms of lower floors. Circles are looked for in the whole product, and
imports inside functions and below TYPE_CHECKING count too: they tie two files together all the same.

    python -m tools.structure            write docs/structure.md
    python -m tools.structure --check    exit code 1 and one line per offence
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tools.arrows import ANALYSES, JOBS, Offence, modules_named_by, python_files

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "structure.md"
SOURCES = ("", "plugins/", "packages/localaws/src/", "packages/localaws/benchmarks/")  # where top-level packages lie
LOCALAWS = "packages/localaws/src/localaws"
#: From the ground up. `images` are programs of their own and import nothing of ours.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("archives", "coverage", "errors", "images", "logformat", "states", "store_query"),
    ("iam", "member_checks", "moto_services", "profile", "s3", "search_query", "shapes", "store"),
    ("engine", "faults", "kinds", "logs"),
    ("faults_command", "log_metrics", "quotas"),
    ("context", "reset_command"),
    ("jobs", "listing", "metrics_service", "registry", "testing"),
    ("front", "pytest_plugin", "tuning"),
    ("page_command", "serving"),
    ("monitoring", "transform"),
    ("resources",),
    ("server",),
    ("__main__",),
)
#: The rooms of the Airflow product in the picture, from the top floor down; tools/arrows.py has what each may import.
PRODUCT = (
    ("dags", "plugins/sagewind/command", "tools/stack"),
    ("plugins/sagewind/workflows",),
    ("plugins/sagewind",),
    ("plugins/sagewind/pipeline", "plugins/sagewind/images"),
    tuple(f"{JOBS}/{name}" for name in ANALYSES),
    (f"{JOBS}/analysis",),
    (JOBS,),
    ("plugins/sagewind/facts",),
)

Graph = dict[str, set[str]]


def _module_files(paths: Iterable[str]) -> dict[str, str]:
    """Dotted name -> path of every module."""
    found = {}
    for path in paths:
        source = max((s for s in SOURCES if path.startswith(s)), key=len)
        name = path.removeprefix(source).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        found[name] = path
    return found


def _imported(node: ast.AST, modules: Mapping[str, str]) -> Iterator[str]:
    """The modules of ours that a node imports: `from a import b` means a.b where that is a module, else a.

    So does a command line with `-m`: a program that starts another one depends on it too.
    """
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            yield name if name in modules else str(node.module)
    elif isinstance(node, ast.List | ast.Tuple):
        words = [word.value if isinstance(word, ast.Constant) else None for word in node.elts]
        yield from (str(name) for flag, name in pairwise(words) if flag == "-m")
    else:
        yield from modules_named_by(node)


def file_graph(root: Path) -> Graph:
    """Path -> the paths of our files that it imports, wherever in the file; tests apart."""
    paths = [p.relative_to(root).as_posix() for p in python_files(root)]
    paths = [p for p in paths if "tests" not in p.split("/")]
    modules = _module_files(p for p in paths if p.endswith(".py"))
    graph: Graph = {path: set() for path in paths}
    for path in paths:
        tree = ast.parse((root / path).read_text(encoding="utf-8"))
        names = {name for node in ast.walk(tree) for name in _imported(node, modules)}
        graph[path] = {modules[name] for name in names if name in modules} - {path}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of files that import each other round and round (strongly connected, Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for below in sorted(graph[node]):
            if below not in index:
                visit(below)
            if below in stack:
                low[node] = min(low[node], low[below])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found)


def room_of(path: str) -> str | None:
    """The room of the endpoint that a file belongs to; None for a file elsewhere and for the package itself."""
    if not path.startswith(LOCALAWS + "/"):
        return None
    room = path.removeprefix(LOCALAWS + "/").split("/")[0].removesuffix(".py")
    return None if room == "__init__" else room


def rooms(graph: Mapping[str, set[str]]) -> Graph:
    """Room of the endpoint -> the rooms that it imports."""
    found: Graph = {}
    for path, imported in graph.items():
        if (room := room_of(path)) is not None:
            found.setdefault(room, set()).update({r for p in imported if (r := room_of(p)) is not None} - {room})
    return found


def check(root: Path) -> list[Offence]:
    """Circles, imports that climb, and rooms without a floor."""
    graph = file_graph(root)
    offences = [Offence(c[0], 1, f"imports in a circle: {', '.join(c)}") for c in circles(graph)]
    floor = {room: number for number, names in enumerate(FLOORS, 1) for room in names}
    here = rooms(graph)
    for room in sorted(here.keys() ^ floor.keys()):
        what = "stands on no floor" if room in here else "does not exist any more"
        offences.append(Offence(f"{LOCALAWS}/{room}", 1, f"{what}: mend FLOORS in tools/structure.py"))
    for room, imported in sorted(here.items()):
        offences += [
            Offence(
                f"{LOCALAWS}/{room}",
                1,
                f"imports {other}, which stands on floor {floor[other]}, not below {floor[room]}",
            )
            for other in sorted(imported)
            if room in floor and other in floor and floor[other] >= floor[room]
        ]
    return offences


def _reduced(graph: Mapping[str, set[str]]) -> Graph:
    """The arrows that no longer way replaces."""

    def reach(node: str) -> set[str]:
        found: set[str] = set()
        open_ = set(graph[node])
        while open_:
            found |= open_
            open_ = {below for one in open_ for below in graph.get(one, ())} - found
        return found

    return {node: {b for b in below if not any(b in reach(o) for o in below - {b})} for node, below in graph.items()}


@dataclass(frozen=True)
class _Drawing:
    """One Mermaid flowchart: rooms in rows from the top floor down, arrows reduced."""

    rows: Sequence[Sequence[str]]
    arrows: Mapping[str, set[str]]

    def text(self) -> str:
        ids = {room: f"r{number}" for number, room in enumerate(room for row in self.rows for room in row)}
        out = ["```mermaid", "flowchart TD"]
        for number, row in enumerate(self.rows):
            out.append(f"  subgraph f{number}[ ]")
            out += [f'    {ids[room]}["{room}"]' for room in row]
            out.append("  end")
        for room, below in sorted(_reduced(self.arrows).items()):
            out += [f"  {ids[room]} --> {ids[other]}" for other in sorted(below)]
        return "\n".join([*out, "```", ""])


def render(root: Path) -> str:
    """The page."""
    graph = file_graph(root)
    here = rooms(graph)
    endpoint = _Drawing([sorted(floor) for floor in reversed(FLOORS)], here)

    def place(path: str) -> str | None:
        return max((room for row in PRODUCT for room in row if path.startswith(room + "/")), key=len, default=None)

    arrows: Graph = {room: set() for row in PRODUCT for room in row}
    for path, imported in graph.items():
        if (room := place(path)) is not None:
            arrows[room] |= {other for p in imported if (other := place(p)) is not None} - {room}
    product = _Drawing(PRODUCT, arrows)
    return f"""# Structure

Written by `make structure-page` from the imports; a test fails when it is stale. `make arrows` refuses an import
against the arrows, a circle, and a text that names the other part. An arrow is left out where a longer way exists.

## The Airflow product

{product.text()}
## The local AWS endpoint (`{LOCALAWS}`)

A room imports rooms of lower floors only. It imports nothing of the product, and the product starts it as a command.

{endpoint.text()}"""


def main(arguments: list[str]) -> int:
    """Write the page; or with --check print what is wrong, exit code 1 when there is anything."""
    if arguments != ["--check"]:
        PAGE.write_text(render(ROOT), encoding="utf-8")
        return 0
    offences = check(ROOT)
    for offence in offences:
        sys.stdout.write(f"{offence}\n")
    sys.stdout.write(f"structure: {len(rooms(file_graph(ROOT)))} rooms of the endpoint, {len(offences)} offences\n")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

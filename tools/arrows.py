"""Which part of the project may import which, checked on the syntax tree without importing anything.

The table `AREAS` is the rule; DESIGN's principle "no surprise imports" is the second rule: what Airflow parses
and the pure code name no heavy library at module level. Nothing may edit `sys.path`. Standard library only.

    python -m tools.arrows [ROOT]      exit code 1 and one line per offence
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HEAVY = frozenset({"boto3", "botocore", "moto", "numpy", "pandas", "sagemaker", "sklearn", "xgboost"})
OURS = frozenset(
    {
        "dags",
        "sagewind",
        "sagewind_plugin",
        "tests",
        "tools",
        "benchmarks",
        "localaws",
        "localaws_tests",
        "localaws_benchmarks",
    }
)
#: Imports that hide in texts (`python -m x.y`, a path, importlib): what no text of a part may name of the other part.
ENDPOINT = "packages/"
HIDDEN = {
    True: re.compile(r"(?<![\w./-])(?:include|plugins|sagewind|dags)[./][a-z_]\w*"),
    False: re.compile(r"(?<![\w./-])localaws\.[a-z_]\w*\.?\w*|packages/localaws"),
}
PRODUCT = ("dags/", "include/", "plugins/", "tools/stack/")
#: Packages whose parts the rules tell apart: `from sagewind import jobs` names sagewind.jobs.
DIVIDED = ("sagewind", "sagewind.jobs", "tools")
PATH_EDITS = frozenset({"append", "extend", "insert", "remove", "pop", "clear", "reverse", "sort"})


@dataclass(frozen=True)
class Area:
    """One part of the project: where it lies, which of our packages it may import, what else it may not."""

    folder: str
    allowed: frozenset[str]
    but_not: frozenset[str] = frozenset()  # parts of the allowed that are not
    banned: frozenset[str] = frozenset()  # other people's packages, at any depth
    plain: bool = False  # nobody's packages but Python's own
    light: bool = False  # no heavy library at module level
    makes_path: bool = False  # its programs give a forked Python the sys.path of a new one


def _area(
    folder: str, *allowed: str, but_not: tuple[str, ...] = (), banned: tuple[str, ...] = (), **flags: bool
) -> Area:
    return Area(folder, frozenset(allowed), frozenset(but_not), frozenset(banned), **flags)


EVERYTHING = tuple(OURS)
#: What AWS's images do not have.
NOT_IN_CONTAINERS = ("airflow", "boto3", "botocore", "pydantic", "yaml")
JOBS = "plugins/sagewind/jobs"
#: The programs of the analyses, which share `jobs/analysis`; `monitor` starts the others by name.
ANALYSES = ("monitor", "quality", "bias", "explain")


def _jobs(folder: str, *but_not: str) -> Area:
    not_these = tuple(f"sagewind.jobs.{name}" for name in but_not)
    return _area(folder, "sagewind.jobs", "sagewind.facts", but_not=not_these, banned=NOT_IN_CONTAINERS)


# The first area whose folder holds a file is its area.
AREAS = (
    _area("dags", "sagewind.workflows", "sagewind.operators", "sagewind.sensors", light=True),
    _area("plugins/include", "sagewind.workflows", light=True),
    _area("plugins/sagewind/facts", "sagewind.facts", plain=True),
    *(_jobs(f"{JOBS}/{name}", *(other for other in ANALYSES if other != name)) for name in ANALYSES),
    _jobs(f"{JOBS}/analysis", *ANALYSES),
    _jobs(JOBS, "analysis", *ANALYSES),
    _area("plugins/sagewind/images", banned=NOT_IN_CONTAINERS),
    _area("plugins/sagewind/pipeline", "sagewind.pipeline", "sagewind.facts", banned=("airflow",), light=True),
    _area("plugins/sagewind/workflows", "sagewind", but_not=("sagewind.jobs", "sagewind.triggers"), light=True),
    _area("plugins/sagewind/command", "sagewind", but_not=("sagewind.jobs",), light=True),
    _area("plugins", "sagewind", but_not=("sagewind.workflows", "sagewind.jobs", "sagewind.command"), light=True),
    _area("packages/localaws/src/localaws/engine/prepared", makes_path=True),
    _area("packages/localaws/src/localaws/images", banned=("airflow",)),
    _area("packages/localaws/src", "localaws", banned=("airflow",)),
    _area("packages/localaws/tests", "localaws", "localaws_tests", "localaws_benchmarks", banned=("airflow",)),
    _area("packages/localaws/examples", banned=("airflow",)),
    _area("packages/localaws/benchmarks", "localaws", "localaws_benchmarks", banned=("airflow",)),
    _area("tools/stack", "tools.stack", "sagewind.pipeline", "sagewind.facts"),
    _area("tests", *EVERYTHING),
    _area("benchmarks", *EVERYTHING),
    _area("tools", "tools", "sagewind.pipeline", "sagewind.facts"),
)


@dataclass(frozen=True, order=True)
class Offence:
    """One forbidden line."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Imported:
    """A module that a file names in an import, and whether that import runs when the file is loaded."""

    module: str
    line: int
    at_load: bool


def imports(tree: ast.Module) -> Iterator[Imported]:
    """Every import of a file: statements, `importlib.import_module("x")` and `__import__("x")`."""
    stack: list[tuple[ast.AST, bool]] = [(tree, True)]
    while stack:
        node, at_load = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            at_load = False
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += [(child, False) for child in node.body] + [(child, at_load) for child in node.orelse]
            continue
        for module in modules_named_by(node):
            yield Imported(module, getattr(node, "lineno", 0), at_load)
        stack += [(child, at_load) for child in ast.iter_child_nodes(node)]


def modules_named_by(node: ast.AST) -> list[str]:
    """The modules that a statement or a call imports; none for anything else."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        return [f"{base}.{alias.name}" for alias in node.names] if base in DIVIDED else [base]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called, name = ast.unparse(node.func), node.args[0].value
        if called in ("importlib.import_module", "import_module", "__import__") and isinstance(name, str):
            return [name]
    return []


def _edits_sys_path(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        return called in {f"sys.path.{edit}" for edit in PATH_EDITS} | {"site.addsitedir", "addsitedir"}
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
        return any(ast.unparse(target).split("[")[0] == "sys.path" for target in targets)
    return (
        isinstance(node, ast.ImportFrom) and node.module == "sys" and any(alias.name == "path" for alias in node.names)
    )


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def _objection(area: Area, imported: Imported) -> str | None:
    module = imported.module
    top = module.split(".")[0]
    if module.startswith("."):
        return f"relative import {module!r}: imports are absolute"
    refused = any(_within(module, package) for package in area.but_not)
    if top in OURS and (refused or not any(_within(module, package) for package in area.allowed)):
        may = ", ".join(sorted(area.allowed)) or "nothing of ours"
        but = f", not {', '.join(sorted(area.but_not))}" if area.but_not else ""
        return f"imports {module}: {area.folder} may import {may}{but}"
    if area.plain and top not in OURS and top not in sys.stdlib_module_names:
        return f"imports {module}: {area.folder} needs nothing but Python itself"
    if top in area.banned:
        return f"imports {module}: {area.folder} stays free of {top}"
    if area.light and imported.at_load and top in HEAVY:
        return f"imports {module} at module level: {area.folder} loads it inside the functions that use it"
    return None


def _hidden(path: str, tree: ast.Module, imported: set[str]) -> Iterator[Offence]:
    """Texts that name the other part."""
    if not path.startswith((*PRODUCT, ENDPOINT)):
        return
    pattern = HIDDEN[path.startswith(ENDPOINT)]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or node.value in imported:
            continue  # what is imported by its name, the rule of imports sees
        if match := pattern.search(node.value):
            yield Offence(path, node.lineno, f"names {match[0]} in a text: the product and the endpoint stand alone")


def check_file(root: Path, file: Path) -> list[Offence]:
    """The offences of one file; a file that does not parse is one."""
    path = file.relative_to(root).as_posix()
    area = next((area for area in AREAS if path.startswith(area.folder + "/")), None)
    if area is None:
        return [Offence(path, 1, "lies in no area that tools/arrows.py knows; add it to AREAS")]
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        return [Offence(path, error.lineno or 1, f"does not parse: {error.msg}")]
    imported = list(imports(tree))
    found = [Offence(path, i.line, text) for i in imported if (text := _objection(area, i))]
    found += [
        Offence(path, getattr(node, "lineno", 1), "touches sys.path: the project root and plugins/ are on PYTHONPATH")
        for node in ast.walk(tree)
        if not area.makes_path and _edits_sys_path(node)
    ]
    found += _hidden(path, tree, {one.module for one in imported})
    return sorted(found)


def python_files(root: Path) -> list[Path]:
    """Every Python file of the project, with the images' programs that have no suffix."""
    found = []
    for folder in sorted({area.folder.split("/")[0] for area in AREAS}):
        for file in (root / folder).rglob("*"):
            if file.suffix == ".py" or (not file.suffix and file.is_file() and _is_python_program(file)):
                found.append(file)
    return sorted(found)


def _is_python_program(file: Path) -> bool:
    with file.open("rb") as stream:
        first = stream.readline()
    return first.startswith(b"#!") and b"python" in first


def main(root: Path) -> int:
    """Check the project under `root` and print what is wrong."""
    files = python_files(root)
    offences = [offence for file in files for offence in check_file(root, file)]
    for offence in offences:
        sys.stdout.write(f"{offence}\n")
    sys.stdout.write(f"arrows: {len(files)} files, {len(offences)} offences\n")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent))

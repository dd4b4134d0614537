"""The coverage page is what the code says, and what the code says of itself can be true."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from localaws import registry, resources, shapes
from localaws.coverage import Behaviour
from localaws_tests import coverage_page

resources.load()
MODULES = coverage_page.modules()
NAMED = [
    (module, operation, path, constant)
    for module in MODULES
    for constant in ("ECHOED", "UNSUPPORTED")
    for names, paths in coverage_page.declared(module, constant)
    for operation in names
    if operation.startswith("Create")
    for path in paths
]


def test_the_page_is_not_stale() -> None:
    assert coverage_page.PAGE.read_text(encoding="utf-8") == coverage_page.render(), "run `make coverage-page`"


def test_every_operation_of_aws_is_on_the_page_once() -> None:
    text = coverage_page.render()
    operations = text[text.index("### Executed") : text.index("## SageMaker Runtime")]
    named = Counter(re.findall(r"\w+", re.sub(r"\(\.\./[^)]*\)|^\| \w+ \|(?= [A-Z])", "", operations, flags=re.M)))
    assert {n: named[n] for n in shapes.service().operation_names} == dict.fromkeys(shapes.service().operation_names, 1)


@pytest.mark.parametrize(
    ("module", "operation", "path", "constant"), NAMED, ids=[f"{o}-{c}-{p}" for _, o, p, c in NAMED]
)
def test_members_that_are_named_exist_in_the_request(module, operation, path, constant) -> None:
    shape = shapes.service().operation_model(operation).input_shape
    assert coverage_page.resolve(shape, path), f"{module.__name__}.{constant}: {operation} has no member {path}"


def test_no_member_is_both_kept_and_refused() -> None:
    for module in MODULES:
        kept, refused = (
            {
                (name, path)
                for names, paths in coverage_page.declared(module, constant)
                for name in names
                for path in paths
            }
            for constant in ("ECHOED", "UNSUPPORTED")
        )
        assert not kept & refused, f"{module.__name__}: {kept & refused}"


def words_of_the_code() -> set[str]:
    """All words within texts of the endpoint's code: a member that is acted upon is named in one."""
    words: set[str] = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words |= set(re.findall(r"\w+", node.value))
    # job_definitions makes the names of its four kinds by a prefix
    return words | {f"{kind}{word}" for kind in ("DataQuality", "ModelQuality", "ModelBias", "ModelExplainability")
                    for word in words if word.startswith(("Job", "App", "Baseline"))}  # fmt: skip


WORDS = words_of_the_code()
# Members whose rules are those of another request's members.
SAME_AS = {
    "CreateHyperParameterTuningJob": (r"TrainingJobDefinitions?\.", "", "CreateTrainingJob"),
    "CreateModel": (r"Containers\.", "PrimaryContainer.", "CreateModel"),
}


def members(shape, path: str = "", within: frozenset[str] = frozenset()):
    """Dotted paths of all members of a request."""
    while shape.type_name == "list":
        shape = shape.member
    if shape.type_name == "structure" and shape.name not in within:
        for name, member in shape.members.items():
            below = f"{path}.{name}" if path else name
            yield below
            yield from members(member, below, within | {shape.name})


@pytest.mark.parametrize("operation", sorted(n for n in registry.OPERATIONS if n.startswith("Create")))
def test_no_member_is_ignored(operation) -> None:
    """Each member of a request is acted upon, kept, or refused: its name is in the code or in one of the two lists."""
    named: dict[str, set[str]] = defaultdict(set)
    for _, name, path, _ in NAMED:
        named[name].add(path)

    def is_named(of: str, path: str) -> bool:
        return any(path == each or path.startswith(f"{each}.") for each in named[of])

    pattern, replacement, other = SAME_AS.get(operation, ("$^", "", operation))
    ignored = [
        path
        for path in members(shapes.service().operation_model(operation).input_shape)
        if path.rsplit(".", 1)[-1] not in WORDS
        and not is_named(operation, path)
        and not is_named(other, re.sub(f"^{pattern}", replacement, path))
    ]
    assert not ignored


def test_a_behaviour_without_a_source_is_assumed() -> None:
    with pytest.raises(ValueError, match="without a source"):
        Behaviour("x", "seen")
    assert Behaviour("x", "assumed").source == ""


def test_marks_are_read_from_the_text_of_the_tests(tmp_path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_a.py").write_text(
        "import pytest\n@pytest.mark.executes('CreateModel', 'DeleteModel')\ndef test_x(): ...\n"
        "PARAM = pytest.param(1, marks=pytest.mark.executes('InvokeEndpoint'))\n"
    )
    assert coverage_page.read_marks(tmp_path) == {
        name: {"tests/test_a.py"} for name in ("CreateModel", "DeleteModel", "InvokeEndpoint")
    }
    (tests / "test_b.py").write_text("import pytest\npytestmark = pytest.mark.executes('CreateUnicorn')\n")
    with pytest.raises(ValueError, match="AWS does not have: CreateUnicorn"):
        coverage_page.read_marks(tmp_path)
    (tests / "test_b.py").write_text("import pytest\npytestmark = pytest.mark.executes(*NAMES)\n")
    with pytest.raises(ValueError, match="test_b.py:2"):
        coverage_page.read_marks(tmp_path)

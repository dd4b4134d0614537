"""The pytest plugin: the fixtures `localaws` and `localaws_session`, the mark `localaws_fault`. See docs/pytest.md.

pytest loads this module in every run, also in those that never use it: it imports nothing but pytest. Everything else
is imported when a test first asks for an endpoint.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from localaws.testing import LocalAws, Program

MARK = "localaws_fault"
MARK_HELP = (
    f"{MARK}(operation, error='ThrottlingException', calls=1, skip=0, delay=0, lost=False, message=''): "
    "the next calls of this operation fail, as `localaws faults add` has it; needs the fixture localaws"
)
EARLY = "localaws_before_collection"
_early: pytest.StashKey[Program] = pytest.StashKey()
_open: pytest.StashKey[contextlib.ExitStack] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings in pytest.ini or pyproject.toml."""
    parser.addini("localaws_images", "further directories of images, asked before those of localaws", "paths", [])
    parser.addini("localaws_profile", "how AWS-like times are: fast or aws", default="fast")
    parser.addini("localaws_arguments", "further arguments of the command localaws, such as --sandbox none", "args", [])
    parser.addini(EARLY, "start before test modules are imported, for clients made at import", "bool", False)


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known to --strict-markers."""
    config.addinivalue_line("markers", MARK_HELP)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Start early when that is asked for; not in the process that only hands tests to xdist's workers."""
    config = session.config
    if not config.getini(EARLY) or config.pluginmanager.hasplugin("dsession"):
        return
    from localaws.testing import Trouble, in_environment

    stack = config.stash[_open] = contextlib.ExitStack()
    directory = config._tmp_path_factory  # type: ignore[attr-defined]  # no fixture is there yet
    try:
        program = config.stash[_early] = stack.enter_context(_started(config, directory))
    except Trouble as error:
        raise pytest.UsageError(str(error)) from None
    stack.enter_context(in_environment(program.environment))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started early."""
    if _open in config.stash:
        config.stash[_open].close()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A mark that nothing would come of fails its test."""
    names = getattr(item, "fixturenames", ())
    if "localaws" not in names and item.get_closest_marker(MARK) is not None:
        instead = "; with localaws_session call localaws_session.fault(...)" if "localaws_session" in names else ""
        pytest.fail(f"the mark {MARK} is for tests that use the fixture localaws, this one does not{instead}", False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that has failed shows which jobs have, and what they wrote last."""
    report = yield
    given = getattr(item, "funcargs", {})
    aws: LocalAws | None = given.get("localaws") or given.get("localaws_session")
    if aws is not None and report.when == "call" and report.failed:
        try:
            said = aws.failures()
        except Exception as error:  # whatever it is, the test's own failure is the one to be seen
            said = f"the failed jobs cannot be told: {error}"
        if said:
            report.sections.append(("localaws", said))
    return report


@contextlib.contextmanager
def _started(config: pytest.Config, directories: pytest.TempPathFactory) -> Iterator[Program]:
    from localaws.testing import Program

    images = [argument for path in config.getini("localaws_images") for argument in ("--images", str(path))]
    arguments = [*images, "--profile", config.getini("localaws_profile"), *config.getini("localaws_arguments")]
    program = Program(directories.mktemp("localaws"), arguments, config.rootpath)
    try:
        yield program
    finally:
        program.close()


@contextlib.contextmanager
def _one_sentence() -> Iterator[None]:
    """What is wrong with the endpoint or a mark is not in any line of code: no traceback is shown."""
    from localaws.testing import Trouble

    try:
        yield
    except Trouble as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


@pytest.fixture(scope="session")
def _localaws_program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The endpoint of the tests that get a clean account each."""
    if _early in request.config.stash:
        yield request.config.stash[_early]
        return
    with _one_sentence(), _started(request.config, tmp_path_factory) as program:
        yield program


@pytest.fixture
def localaws(request: pytest.FixtureRequest, _localaws_program: Program) -> Iterator[LocalAws]:
    """An empty local AWS account: boto3 finds it by itself, SageMaker jobs run in it, it is emptied after the test."""
    from localaws.testing import LocalAws, in_environment

    aws = LocalAws(_localaws_program)
    with _one_sentence(), in_environment(aws.environment):
        if _early in request.config.stash:  # tests without the fixture may have used it
            aws.reset()
        try:
            for mark in reversed(list(request.node.iter_markers(MARK))):  # in the order of reading
                _ask(aws, mark)
            yield aws
        finally:
            aws.reset()


def _ask(aws: LocalAws, mark: pytest.Mark) -> None:
    if len(mark.args) > 1:
        pytest.fail(f"the mark {MARK} takes one operation, {mark.args!r} was found; all else has a name", False)
    aws.fault(*mark.args, **mark.kwargs) if mark.args else aws.fault(**{"operation": "", **mark.kwargs})


@pytest.fixture(scope="session")
def localaws_session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """A local AWS account that all tests share and nobody empties; another endpoint than that of `localaws`."""
    from localaws.testing import LocalAws, in_environment

    with _one_sentence(), _started(request.config, tmp_path_factory) as program, in_environment(program.environment):
        yield LocalAws(program)

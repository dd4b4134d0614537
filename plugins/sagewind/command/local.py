"""`sagewind run`: a model's life on this machine, and what `sagewind up` has in common with it.

Everything that they write lies below `.sagewind` in the project. The endpoint is started as a command and ends with
this process, whichever way that ends: it holds the other end of a pipe.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagewind.command.errors import CommandError
from sagewind.pipeline import source as sources
from sagewind.pipeline.load import load_model
from sagewind.pipeline.project import MODELS

#: The images that come with this package, for the local AWS endpoint.
IMAGES = Path(__file__).resolve().parent.parent / "images"
STATE = ".sagewind"
#: Settings of another Airflow and credentials of a real account have no business here; settings of ours have.
DROPPED = ("AIRFLOW", "AWS_", "BOTO_", "LOCALAWS_")
KEPT = "AIRFLOW__SAGEWIND__"
#: A line of Airflow's log on a pipe: time, level, message, logger and further values.
_LINE = re.compile(r"\S+ \[(?P<level>\w+) *\] (?P<text>.*?) +\[(?P<logger>[\w.]+)\](?: \S+=.*)?$")
_STARTED = re.compile(r"\[DAG TEST\] starting task_id=(\S+)")
_PR_SET_PDEATHSIG = 1
_OURS = "airflow.task.operators.sagewind"


@dataclass(frozen=True)
class StartedEndpoint:
    """A started endpoint, and the variables that its clients need."""

    variables: Mapping[str, str]
    process: subprocess.Popen[str]
    log: Path

    def still_there(self) -> None:
        """CommandError if it has ended."""
        if (code := self.process.poll()) is not None:
            raise CommandError(f"the local AWS endpoint has ended with {code}: read {self.log}, then start again")


def run(project: Path, model: str, source: str | None) -> int:
    """The lifecycle of a model once, in one process of Airflow; 0 if it was good."""
    load_model(model, project / MODELS)
    if source is not None:
        sources.parse(source)
    conf = ["--conf", json.dumps({"source": source})] if source else []
    log = folder(project) / f"run-{model}.log"
    began = time.monotonic()
    with endpoint(project, 0) as aws, log.open("w", encoding="utf-8") as kept:
        environment = airflow(project, aws.variables)
        tell(f"{model}_lifecycle on the local AWS endpoint {aws.variables['AWS_ENDPOINT_URL']}; the whole log: {log}")
        migrate(environment, kept.fileno(), log)
        command = [program("airflow"), "dags", "test", f"{model}_lifecycle", *conf]
        process = subprocess.Popen(
            command, env=environment, cwd=project, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, process_group=0, preexec_fn=end_with_parent(),
        )  # fmt: skip
        with ended_with_us([process]):
            for line in told(_kept(process.stdout or (), kept.write)):
                tell(line)
                aws.still_there()
            good = process.wait() == 0
    word = "success" if good else f"failed, see {log}"
    tell(f"\n{model}_lifecycle: {word} ({time.monotonic() - began:.0f} s)")
    return 0 if good else 1


def told(lines: Iterable[str]) -> Iterator[str]:
    """What a person wants to read of Airflow's log: the tasks, what our operators say, and the cause of every error.

    A traceback follows its error; the last line of it says what was wrong.
    """
    error = ""
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            error = line.strip() if error and line[:1].strip() else error
            continue
        if error:
            yield f"  ERROR {error}"
        error = found["text"] if found["level"] in ("error", "critical") else ""
        if task := _STARTED.match(found["text"]):
            yield task[1]
        elif not error and found["logger"].startswith(_OURS):
            yield f"  {found['text']}"
    if error:
        yield f"  ERROR {error}"


@contextmanager
def endpoint(project: Path, port: int) -> Iterator[StartedEndpoint]:
    """The local AWS endpoint with the project's state."""
    log = folder(project) / "endpoint.log"
    with _alone(project):
        yield from _started(project, port, log)


@contextmanager
def _alone(project: Path) -> Iterator[None]:
    """One run at a time in a project: they share Airflow's database and the state of the endpoint."""
    with (folder(project) / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            who = f"another `sagewind run` or `up` (process {lock.read().strip()})"
            raise CommandError(f"this project is in use by {who}: end that first") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _started(project: Path, port: int, log: Path) -> Iterator[StartedEndpoint]:
    command = [program("localaws"), "--port", str(port), "--state", str(project / STATE / "aws"), "--until-eof"]
    with log.open("w") as errors:
        # In a group of its own: Ctrl-C reaches it through the pipe, after Airflow has ended.
        process = subprocess.Popen(
            [*command, "--images", str(IMAGES)],
            env=_inherited(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            process_group=0,
        )  # fmt: skip
    with process:
        try:
            yield StartedEndpoint(_exports(process.stdout or (), log), process, log)
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait()


def _exports(lines: Iterable[str], log: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.removeprefix("export ").strip().partition("=")
        found[name] = value.strip("'\"")
        if name == "AWS_DEFAULT_REGION":
            return found
    last = (log.read_text(errors="replace").strip() or "it said nothing").splitlines()[-1]
    raise CommandError(f"the local AWS endpoint did not start: {last} (its log: {log})")


def airflow(project: Path, aws: Mapping[str, str]) -> dict[str, str]:
    """The environment of Airflow's processes, from the variables that an AWS client needs."""
    connection = {
        "conn_type": "aws",
        "login": aws["AWS_ACCESS_KEY_ID"],
        "password": aws["AWS_SECRET_ACCESS_KEY"],
        "extra": {"region_name": aws["AWS_DEFAULT_REGION"], "endpoint_url": aws["AWS_ENDPOINT_URL"]},
    }
    return _inherited(os.environ) | {
        "AIRFLOW_HOME": str(folder(project) / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONUNBUFFERED": "1",
    }


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in environment.items()
        if name.startswith(KEPT) or not name.lstrip("_").startswith(DROPPED)
    }
    here = "127.0.0.1,localhost"
    return kept | {name: f"{kept[name]},{here}" if kept.get(name) else here for name in ("NO_PROXY", "no_proxy")}


def migrate(environment: dict[str, str], output: int, log: Path) -> None:
    done = subprocess.run(
        [program("airflow"), "db", "migrate"], env=environment, check=False, stdout=output, stderr=output
    )
    if done.returncode:
        raise CommandError(f"Airflow's database could not be made: read {log}, or delete the folder {log.parent}")


def program(name: str) -> str:
    """A command of the Python environment that this one runs in, else of the PATH."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if found := shutil.which(name, path=places):
        return found
    wheel = {"localaws": "sagewind-localaws", "airflow": "apache-airflow"}[name]
    raise CommandError(f"the command {name} is not there: install {wheel} beside sagewind")


def folder(project: Path) -> Path:
    folder = project / STATE
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _kept(lines: Iterable[str], keep: Callable[[str], object]) -> Iterator[str]:
    for line in lines:
        keep(line)
        yield line


@contextmanager
def ended_with_us(processes: list[subprocess.Popen[Any]]) -> Iterator[None]:
    """Processes in groups of their own: they end with the block, by SIGINT first, as Airflow ends its children then.

    SIGTERM is a KeyboardInterrupt in the block, as SIGINT is.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        end(processes)


def end_with_parent() -> Callable[[], None]:
    """For `preexec_fn`: the new process gets SIGINT when this one is killed and can end nothing itself (Linux only)."""
    library = ctypes.CDLL(None, use_errno=True)  # loaded here: after the fork nothing may be
    parent = os.getpid()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs are started with it ignored
        if sys.platform == "linux":
            library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
            if os.getppid() != parent:  # it died before
                os._exit(1)

    return prepare


def end(processes: list[subprocess.Popen[Any]], patience: float = 30.0) -> None:
    """End processes with their groups: SIGINT, and after `patience` seconds SIGKILL for what is left of a group."""
    for process in processes:
        _signal(process, signal.SIGINT)
    deadline = time.monotonic() + patience
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the group is empty
        os.killpg(process.pid, number)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

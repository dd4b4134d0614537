"""Airflow's processes, PostgreSQL and localaws under the stack's guardian, each of which may be ended and started anew.

The guardian ends everything when this process ends, however it does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import boto3
import httpx
import psutil
from botocore.config import Config

from tests.conftest import ROOT
from tests.e2e.conftest import Checkout
from tests.faults import settings
from tests.faults.database import Database
from tools.stack import airflow_settings, ports
from tools.stack.airflow_settings import LocalAwsAccess
from tools.stack.errors import StackError
from tools.stack.rest import AirflowApi
from tools.stack.state import Home, StateFolder, take_lock
from tools.stack.supervision import ComponentSpec, Signals, Supervision

T = TypeVar("T")
TRIGGERERS = ("triggerer-1", "triggerer-2")
AIRFLOW = ("api-server", "dag-processor", "scheduler", *TRIGGERERS)
MODEL = "plain"


def poll(question: Callable[[], T | None], what: str, seconds: float, pause: float = 0.1) -> T:
    """Ask until there is an answer; the pause only saves the processor, the question decides."""
    deadline = time.monotonic() + seconds
    while not (found := question()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(pause)
    return found


class Stack:
    """A context manager: everything is started on entering and ended on leaving."""

    def __init__(
        self, signals: Signals | None = None, *, keep: bool = False, add: Callable[[Checkout], None] | None = None
    ) -> None:
        self._signals = signals or Signals()
        self._keep = keep
        self._add = add
        self._times_started: dict[str, int] = {}

    def __enter__(self) -> Stack:
        self.folder = Path(tempfile.mkdtemp(prefix="sagewind-faults-"))
        self.folder.chmod(0o755)  # PostgreSQL may run as another user
        self.port, self.aws_port, database_port = ports.choose(3)
        self.checkout = Checkout(self.folder / "checkout")
        self.database = Database(self.folder / "postgres", database_port)
        self.home = Home(StateFolder(self.folder / "state"), "up")
        self.calls = self.folder / "calls.jsonl"
        self.home.state.prepare()
        self.home.make_folders()
        self.secrets = self.home.state.secrets()
        self._lock = take_lock(self.home)
        mark, log = "faults." + self.home.state.id, self.log("guardian")
        self.supervision = Supervision(mark, self._lock, self._signals, log, self.home.components)
        try:
            self._prepare()
            self._start_all()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        for name in AIRFLOW:
            if process := self.process(name):
                resume([process, *process.children(recursive=True)])
        if process := self.process("postgres"):
            self.database.stop(process.pid)
        left = self.supervision.stop()
        self._lock.close()
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        if left:
            raise StackError(f"These processes could not be ended: {', '.join(left)}")

    def log(self, name: str) -> Path:
        """Where a component writes."""
        return self.home.logs / f"{name}.log"

    def _prepare(self) -> None:
        airflow_settings.write_configuration(self.home, self.secrets)
        checkout = self.checkout
        checkout.add_model(MODEL)
        if self._add:
            self._add(checkout)
        for other in ("census", "tumor"):  # parsing them would only take time
            (checkout.root / f"dags/{other}.py").unlink()

    def _start_all(self) -> None:
        self.database.create()
        self.start("postgres")
        self.start("localaws")
        poll(self.database.answers, "PostgreSQL", settings.START_SECONDS)
        self.start("migrate")
        code = poll(lambda: self._ended("migrate"), "the migration", settings.START_SECONDS)
        if code != "0":
            raise StackError(f"airflow db migrate ended with {code}: see {self.log('migrate')}")
        self.start("api-server")
        self.start("dag-processor")
        self.aws: LocalAwsAccess = poll(self._aws, "localaws", settings.START_SECONDS)
        self.start("scheduler")
        for name in TRIGGERERS:
            self.start(name)
        self.api = AirflowApi(f"http://127.0.0.1:{self.port}")
        poll(self.api.answers, "the API server", settings.START_SECONDS)
        self.ask(lambda api: api.login(self.secrets.user, self.secrets.password))
        self.api.warm_up()
        poll(lambda: self.database.rows("SELECT 1 FROM dag LIMIT 1"), "the DAGs", settings.START_SECONDS)

    def _aws(self) -> LocalAwsAccess | None:
        return LocalAwsAccess.from_exports(self.supervision.output("localaws-1"))

    def _ended(self, name: str) -> str | None:
        code = self.supervision.exited(f"{name}-1")
        return None if code is None else str(code)

    def start(self, name: str) -> None:
        """Start a component, or start it again."""
        number = self._times_started[name] = self._times_started.get(name, 0) + 1
        id_, argv = f"{name}-{number}", self._command(name)
        environment = {"PATH": os.environ["PATH"]} if name == "postgres" else self._environment(name)
        cwd = Path("/") if name == "postgres" else ROOT
        component = ComponentSpec(id_, argv, environment, self.log(name), cwd=cwd, capture=name == "localaws")
        self.supervision.start(component, ends=True)
        poll(
            lambda: id_ in self.supervision.pids() or self.supervision.exited(id_) is not None,
            id_,
            settings.START_SECONDS,
            pause=0.02,
        )

    def _command(self, name: str) -> list[str]:
        if name == "postgres":
            return self.database.command()
        if name == "localaws":
            places = ["--port", str(self.aws_port), "--state", str(self.home.localaws), "--call-log", str(self.calls)]
            return [sys.executable, "-m", "localaws", *places, *settings.LOCALAWS]
        options = {"migrate": ["db", "migrate"], "api-server": ["api-server"], "dag-processor": ["dag-processor"]}
        command = options.get(name, [name.split("-")[0], "--skip-serve-logs"])
        return [sys.executable, "-m", "tools.stack.component", *command]

    def _environment(self, name: str) -> dict[str, str]:
        root = self.checkout.root
        if name == "localaws":
            return airflow_settings.inherited(os.environ) | {"PYTHONPATH": str(root)}
        found = airflow_settings.environment(self.home, project=root, port=self.port)
        found |= {f"AIRFLOW__{section}__{key}".upper(): value for (section, key), value in settings.AIRFLOW.items()}
        found |= {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database.url, "PYTHONPATH": f"{root}{os.pathsep}{ROOT}"}
        if name == "scheduler" or name in TRIGGERERS:
            found["AIRFLOW_CONN_AWS_DEFAULT"] = self.aws.connection()
        return found

    def process(self, name: str) -> psutil.Process | None:
        """The living main process of a component."""
        pid = self.supervision.pids().get(f"{name}-{self._times_started.get(name, 0)}")
        if pid is None or self.supervision.exited(f"{name}-{self._times_started[name]}") is not None:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        return None

    def revive(self) -> list[str]:
        """Start again what has ended by itself, as a service manager does; the names."""
        dead = [name for name in ("localaws", *AIRFLOW) if self.process(name) is None]
        for name in dead:
            self.start(name)
        return dead

    def ask(self, question: Callable[[AirflowApi], T], seconds: float = settings.START_SECONDS) -> T:
        """An answer of Airflow's API, for which a killed or paused server is waited for."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return question(self.api)
            except (StackError, httpx.HTTPError):
                if time.monotonic() > deadline:
                    raise
            self.revive()
            time.sleep(0.3)

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Start a run; one that was started by a request whose answer got lost is not started twice."""

        def once(api: AirflowApi) -> bool:
            try:
                api.trigger(dag_id, run_id, conf)
            except StackError as error:
                if "409" not in str(error):
                    raise
            return True

        self.ask(once)

    def client(self, service: str) -> Any:
        """A boto3 client of localaws."""
        session = boto3.Session(self.aws.access_key, self.aws.secret_key, region_name=self.aws.region)
        patient = Config(retries={"mode": "standard", "total_max_attempts": 12}, proxies={})  # it may be restarting
        return session.client(service, endpoint_url=self.aws.endpoint_url, config=patient)


def resume(processes: list[psutil.Process]) -> None:
    """Let stopped processes go on; those that are gone need it no more."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.resume()

"""Starts the components of a stack in the order that is fastest, and waits until it can be used.

The api-server is the longest to start, so it goes first, together with the local AWS endpoint; the processes that need
the endpoint's credentials (scheduler and triggerer, from which tasks and triggers inherit) start when it prints them.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from tools.stack import airflow_settings
from tools.stack.airflow_settings import LocalAwsAccess
from tools.stack.errors import StackError, check_free_space
from tools.stack.ports import HOST
from tools.stack.processes import Mark, end_all
from tools.stack.progress import Printer
from tools.stack.rest import AirflowApi, one_line
from tools.stack.state import Home, process_facts, same_process, take_lock, write_private
from tools.stack.supervision import PROJECT, ComponentSpec, Signals, Supervision

START_SECONDS = 300.0
"""How long the stack may take to start; on a loaded machine many times the usual ten seconds."""
IMAGES = ("--images", str(PROJECT / "plugins/sagewind/images"))
"""Adds the images of this project to those that come with the local AWS endpoint."""
SETUP_SECONDS = 3600.0
"""How long the image environments may take to build: they are downloaded once."""


@dataclass(frozen=True)
class LaunchPlan:
    """What to start and where. The last three are different than the project's own only in tests.

    `scheduled`: whether a model file's cron starts runs of DAGs that are not paused.
    """

    home: Home
    port: int
    aws_port: int
    scheduled: bool = field(default=True, kw_only=True)
    project: Path = PROJECT
    localaws: Sequence[str] = (sys.executable, "-m", "localaws")
    pull: bool = True

    @property
    def url(self) -> str:
        """Address of Airflow's UI and API."""
        return f"http://{HOST}:{self.port}"


class Stack:
    """A started stack. `close` (or leaving the context) ends it unless it was detached."""

    def __init__(self, plan: LaunchPlan, signals: Signals, printer: Printer) -> None:
        self.plan = plan
        self.printer = printer
        self.setup_seconds = 0.0
        self.api = AirflowApi(plan.url)
        self.secrets = plan.home.state.secrets()
        self._signals = signals
        self._lock: IO[str] | None = None
        self._supervision: Supervision | None = None

    @property
    def supervision(self) -> Supervision:
        """The processes; only inside the context."""
        if self._supervision is None:
            raise RuntimeError("the stack is not open")
        return self._supervision

    def __enter__(self) -> Stack:
        try:
            self._lock = take_lock(self.plan.home)
            sweep(self.plan.home)
            self._prepare()
            stack_id = Supervision.new_id(stack_prefix(self.plan.home))
            log = self.plan.home.logs / "guardian.log"
            home = self.plan.home
            self._supervision = Supervision(
                stack_id, self._lock, self._signals, log, home.components, printer=self.printer
            )
            self._record(detached=False)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, grace: float | None = None) -> None:
        """End everything that belongs to the stack, unless it was detached. A second call finds nothing to do."""
        left: list[str] = []
        if self._supervision is not None:
            left = self._supervision.stop(grace)
            if not self._supervision.detached:
                self.plan.home.remove_record()
        if self._lock is not None:
            self._lock.close()
        if left:
            raise StackError(f"These processes could not be ended: {', '.join(left)}; end them by hand.")

    def _prepare(self) -> None:
        home = self.plan.home
        if home.kind == "run":
            home.renew()
        home.make_folders()
        check_free_space(home.root)
        airflow_settings.write_configuration(home, self.secrets)
        self._check_settings()

    def _check_settings(self) -> None:
        """Refuse a wrong setting of the project now: the DAG files would, but `up` shows no import errors."""
        if not any(name.startswith(airflow_settings.KEPT_PREFIX) for name in os.environ):
            return
        env = self._airflow_environment()
        argv = [sys.executable, "-m", "sagewind.settings"]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, cwd=PROJECT)
        if done.returncode != 0:
            raise StackError(done.stderr.strip().splitlines()[-1])

    def _record(self, *, detached: bool, **links: str | None) -> None:
        supervision = self.supervision
        guardian = supervision.pids().get("guardian")
        self.plan.home.write_record(
            stack=supervision.stack,
            detached=detached,
            url=self.plan.url,
            aws=f"http://{HOST}:{self.plan.aws_port}",
            ports=[self.plan.port, self.plan.aws_port],
            front=process_facts(os.getpid()),
            warden=process_facts(supervision.warden),
            guardian=process_facts(guardian) if guardian else None,
            **links,
        )

    def start(self) -> LocalAwsAccess:
        """Start everything; returns the way to the local AWS endpoint when Airflow takes triggers."""
        self._start_aws()
        self._prepare_database()
        self._start_airflow("api-server")
        self._start_airflow("dag-processor")
        aws = self.supervision.wait("the local AWS endpoint", self._aws_ready, START_SECONDS)
        write_private(self.plan.home.exports, aws.exports())
        self.printer.line(f"local AWS endpoint ready at {aws.endpoint_url}")
        connection = {"AIRFLOW_CONN_AWS_DEFAULT": aws.connection()}
        self._start_airflow("scheduler", "--skip-serve-logs", extra=connection)
        self.supervision.wait("Airflow's API", lambda: self.api.answers() or None, START_SECONDS)
        self._start_airflow("triggerer", "--skip-serve-logs", extra=connection)
        self.supervision.wait("Airflow's login", self._logged_in, START_SECONDS)
        self.api.warm_up()
        self._await_images()
        self.supervision.settled()
        self._record(detached=False)
        return aws

    def _logged_in(self) -> bool:
        self.api.login(self.secrets.user, self.secrets.password)
        return True

    def detach(self, report: Path | None = None) -> None:
        """Leave the stack running after this process, with the `report` of the run that it was started for."""
        page = status_page(self.plan.localaws, self.plan.home)
        self._record(detached=True, page=page, report=report.resolve().as_uri() if report else None)
        self.supervision.detach()

    def _aws_ready(self) -> LocalAwsAccess | None:
        return LocalAwsAccess.from_exports(self.supervision.output("localaws"))

    def _start_aws(self) -> None:
        plan = self.plan
        env = airflow_settings.inherited(os.environ) | {"PYTHONPATH": str(PROJECT)}
        state = ["--port", str(plan.aws_port), "--state", str(plan.home.localaws)]
        self._component("localaws", [*plan.localaws, "serve", *IMAGES, *state], env, capture=True)
        if plan.pull:
            self._component("images", [*plan.localaws, "pull", *IMAGES], env, capture=True, ends=True)

    def _await_images(self) -> None:
        """Wait for the image environments; only the time spent waiting here counts as set-up."""
        if not self.plan.pull:
            return
        begun = self.printer.seconds
        self.supervision.wait("the image environments", self._images_built, SETUP_SECONDS, detail=self._images_so_far)
        self.setup_seconds += self.printer.seconds - begun

    def _images_built(self) -> bool | None:
        return True if self.supervision.exited("images") == 0 else None

    def _images_so_far(self) -> str:
        built = [line.split("\t")[0] for line in self.supervision.output("images")]
        return f" (built once; ready: {one_line(', '.join(built)) or 'none yet'})"

    def _prepare_database(self) -> None:
        """Put a migrated database in place: a copy of the template, which the first start of a version makes."""
        home = self.plan.home
        version = importlib.metadata.version("apache-airflow")
        template = home.state.template(version)
        stamp = home.airflow / "database-version"
        if home.database.exists():
            home.state.check_database(home.database)
            if not stamp.exists() or stamp.read_text() != version:
                self._migrate(home.database)
        else:
            if not template.exists():
                self._build_template(template)
            home.state.check_database(template)
            shutil.copyfile(template, home.database)
            home.database.chmod(0o600)
        stamp.write_text(version)

    def _build_template(self, template: Path) -> None:
        template.parent.mkdir(mode=0o700, exist_ok=True)
        part = template.with_suffix(".part")
        for leftover in template.parent.glob(f"{part.name}*"):
            leftover.unlink()
        self._migrate(part)
        with closing(sqlite3.connect(part)) as database:
            # Readers and the writer do not wait for each other: five processes share this file. The mode stays with it.
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        part.replace(template)

    def _migrate(self, database: Path) -> None:
        begun = self.printer.seconds
        target = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}"}
        self._start_airflow("db", "migrate", extra=target, ends=True)
        what = "Airflow's database (migrated once per version)"
        self.supervision.wait(what, lambda: self.supervision.exited("db"), START_SECONDS)
        self.setup_seconds += self.printer.seconds - begun

    def _start_airflow(
        self, command: str, *options: str, extra: dict[str, str] | None = None, ends: bool = False
    ) -> None:
        argv = [sys.executable, "-m", "tools.stack.component", command, *options]
        self._component(command, argv, self._airflow_environment() | (extra or {}), ends=ends)

    def _airflow_environment(self) -> dict[str, str]:
        plan = self.plan
        env = airflow_settings.environment(plan.home, project=plan.project, port=plan.port)
        return env if plan.scheduled else env | {"SAGEWIND_SCHEDULES": "off"}

    def _component(
        self, name: str, argv: Sequence[str], env: dict[str, str], *, capture: bool = False, ends: bool = False
    ) -> None:
        log = self.plan.home.logs / f"{name}.log"
        self.supervision.start(ComponentSpec(name, argv, env, log, capture=capture), ends=ends)


def status_page(localaws: Sequence[str], home: Home) -> str | None:
    """The link to the endpoint's status page as the endpoint itself tells it; None if it has none."""
    aws = LocalAwsAccess.from_exports(home.exports.read_text().splitlines())
    env = airflow_settings.inherited(os.environ) | {"PYTHONPATH": str(PROJECT)} | (aws.variables() if aws else {})
    done = subprocess.run([*localaws, "page"], env=env, capture_output=True, text=True, check=False, cwd=PROJECT)
    return done.stdout.strip() if done.returncode == 0 else None


def stack_prefix(home: Home) -> str:
    """The part of the marker that all stacks of one home share."""
    return f"{home.state.id}.{home.kind}"


def sweep(home: Home) -> None:
    """End what earlier stacks of this home have left behind. Only with the lock held: then none of them is wanted."""
    warden = (home.read_record() or {}).get("warden") or {}
    session = warden.get("pid")
    if session is not None and psutil.pid_exists(session) and not same_process(warden):
        session = None  # the number has been given to another process, so nothing of that session was left
    mark = Mark(f"{stack_prefix(home)}.", session, any_run=True, since=warden.get("created", 0.0) - 1.0)
    left = end_all(mark, descendants=False)
    if left:
        raise StackError(f"Processes of an earlier stack cannot be ended: {', '.join(left)}; end them by hand.")

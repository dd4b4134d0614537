"""Puts the parts together on one port, and takes them down again in the right order."""

from __future__ import annotations

import fcntl
import logging
import re
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import botocore.session

from localaws import logformat, registry, resources
from localaws.context import Context, EndpointSettings
from localaws.engine.images import Images
from localaws.engine.runner import Runner
from localaws.engine.sandbox import NoSandbox, choose, without_sandbox
from localaws.engine.scheduler import Scheduler
from localaws.faults import Faults
from localaws.front.auth import Environ, state_credentials
from localaws.front.calls import CallLog
from localaws.front.dispatch import Application
from localaws.front.http_server import HttpServer
from localaws.front.wire import StartResponse
from localaws.logs import Logs, Metrics
from localaws.moto_services import MotoServices
from localaws.profile import FAST, Profile
from localaws.quotas import Quotas
from localaws.s3.app import s3_app
from localaws.s3.store import S3Store
from localaws.store import Store

log = logging.getLogger("localaws")

THREADS = 64  # requests answered at once; invocations (runtime.AT_ONCE, WAITING) must leave some to their containers
ACCOUNT = "123456789012"
# What an account has in its directory; a reset deletes this and nothing else: a user may keep other files there.
ACCOUNT_FILES = (
    "async", "endpoints", "jobs", "logs", "s3", "state.sqlite3", "state.sqlite3-shm", "state.sqlite3-wal",
)  # fmt: skip


class StateInUse(Exception):
    """Another endpoint works on the same state directory."""


@dataclass(frozen=True)
class Options:
    """What the command line sets; see `__main__`. Port 0 takes a free one; times in seconds, `memory` in GiB."""

    state: Path
    images: tuple[Path, ...]
    cache: Path
    port: int = 0
    host: str = "127.0.0.1"
    region: str = "us-east-1"
    jobs: int | None = None
    cpus: float | None = None
    memory: float | None = None
    warm: bool = True
    grace: float = 120.0
    sandbox: str = "auto"
    allowed_hosts: tuple[str, ...] = ()
    profile: Profile = FAST
    quotas: Quotas = field(default_factory=Quotas)
    call_log: Path | None = None


class Endpoint:
    """A running local AWS endpoint.

    The port is bound when the object exists, `start` begins to answer, `close` ends jobs, model servers and
    the port. Raises StateInUse, ImageError, ValueError (sandbox) or OSError (port) with one sentence.
    """

    def __init__(self, options: Options) -> None:
        # Jobs run elsewhere than the endpoint: a relative path would mean another place to them.
        options = replace(
            options,
            state=options.state.resolve(),
            images=tuple(directory.resolve() for directory in options.images),
            cache=options.cache.resolve(),
        )
        _check_region(options.region)
        try:
            options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (options.state / "lock").open("w")
        except OSError as error:
            raise ValueError(
                f"--state {options.state} is no directory that can be written to ({error.strerror}): name another"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise StateInUse(
                f"{options.state} is used by another endpoint: stop that one or name another --state"
            ) from None
        resources.load()
        images = Images(options.images, options.cache)
        sandbox = choose(options.sandbox)
        if options.sandbox == "auto" and sandbox.name == NoSandbox.name:
            log.warning("%s", without_sandbox())
        self._options = options
        self._application: Application | None = None
        self._moto = MotoServices(ACCOUNT, options.region)
        self._changing = threading.Lock()
        self._open = threading.Event()  # not while the account is changed: new requests wait for the new one
        self._open.set()
        self._closed = False
        self._server = HttpServer((options.host, options.port), self._answer, THREADS)
        _listen(self._server, options)
        try:
            runner = Runner(sandbox, hidden=[options.state], warm=options.warm)
            self.ctx = self._context(images, runner, _newest_account(options.state))
        except BaseException:
            self._server.stop()  # its threads would keep the process from ending
            self._lock.close()
            raise
        self._thread = threading.Thread(target=self._server.serve, name="http", daemon=True)

    def _context(self, images: Images, runner: Runner, state: Path) -> Context:
        from localaws.serving.runtime import runtime_app  # a tenth of a second that the other commands need not spend

        options, moto = self._options, self._moto
        key, secret = state_credentials(options.state)
        config = EndpointSettings(
            region=options.region, account=ACCOUNT, host=options.host, port=self._server.bind_addr[1],
            state=state, access_key=key, secret_key=secret, grace=options.grace,
            allowed_hosts=options.allowed_hosts,
        )  # fmt: skip
        s3 = S3Store(state / "s3", region=options.region, account=ACCOUNT)
        ctx = Context(
            config=config,
            store=Store(state / "state.sqlite3"),
            s3=s3,
            images=images,
            runner=runner,
            jobs=Scheduler(
                options.jobs,
                options.grace,
                shutdown_grace=options.profile.shutdown_grace,
                cpus=options.cpus,
                memory=options.memory,
            ),
            logs=Logs(moto, state / "logs"),
            metrics=Metrics(moto),
            clock=time.time,
            faults=Faults(),
            profile=options.profile,
            quotas=options.quotas,
        )
        calls = _call_log(options.call_log, ctx) if options.call_log else None
        s3_front = s3_app(s3, hosts=("localhost", *options.allowed_hosts))
        self._application = Application(ctx, moto, s3_front, runtime_app(ctx), self.reset, calls)
        return ctx

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self._open.wait()
        assert self._application is not None  # set before the server answers
        if logformat.access.isEnabledFor(logging.INFO):
            return logformat.logged(self._application, environ, start_response)
        return self._application(environ, start_response)

    def start(self) -> None:
        """Bring back what an earlier run left, then answer requests."""
        _forget_others(self._options.state, self.ctx.config.state)
        # What jobs of an earlier run had in their directories when they were killed is of no use any more.
        shutil.rmtree(self.ctx.config.state / "jobs", ignore_errors=True)
        for hook in registry.START_HOOKS:
            hook(self.ctx)
        self._thread.start()
        # Importing moto takes most of a second: better now than when the first job writes its first line.
        threading.Thread(target=self.ctx.logs.load, name="load-logs", daemon=True).start()

    def close(self) -> None:
        """End everything: jobs first (their states are written), then model servers, then the port."""
        with self._changing:  # a reset that is under way is ended, a later one is refused
            self._closed = True
        self.ctx.jobs.shutdown()
        self.ctx.runner.shutdown(self._grace)
        self._server.stop()
        if self._thread.is_alive():
            self._thread.join()
        self.ctx.s3.close()
        self.ctx.store.close()
        self._lock.close()

    def reset(self) -> None:
        """End all work and begin with an empty account, on the same port and with the same credentials.

        What comes meanwhile waits for the new account. Prepared parents of images stay. The new account has a
        directory of its own: threads of the old one that are late (a download, an upload) find their store closed and
        write nowhere else. moto's state is that of the whole process, and so is its end.
        """
        with self._changing:
            if self._closed:
                raise RuntimeError("the endpoint is shutting down: its account stays as it is")
            self._open.clear()
            try:
                self._change()
            finally:
                self._open.set()
            _forget_others(self._options.state, self.ctx.config.state)
        log.info("the account is empty again")

    def _change(self) -> None:
        old = self.ctx
        old.jobs.shutdown()
        runner = old.runner.succeed(self._grace)
        self._moto = self._moto.succeed()
        old.s3.close()
        old.store.close()
        self.ctx = self._context(old.images, runner, _next_account(self._options.state))

    @property
    def _grace(self) -> float:
        return min(self.ctx.config.grace, self.ctx.profile.shutdown_grace)

    def environment(self) -> dict[str, str]:
        """What a client needs in its environment to reach this endpoint."""
        config = self.ctx.config
        return {
            "AWS_ENDPOINT_URL": config.endpoint,
            "AWS_ACCESS_KEY_ID": config.access_key,
            "AWS_SECRET_ACCESS_KEY": config.secret_key,
            "AWS_DEFAULT_REGION": config.region,
        }


def _check_region(region: str) -> None:
    """Raise ValueError for a region that AWS does not have: some services would not know it when they are asked."""
    if region == Options.region:
        return  # looking it up takes half a second
    session = botocore.session.get_session()
    known = {r for p in session.get_available_partitions() for r in session.get_available_regions("sts", p)}
    if region not in known:
        raise ValueError(f"--region {region} is no region of AWS; there are: {', '.join(sorted(known))}")


def _listen(server: HttpServer, options: Options) -> None:
    """Take the port; ValueError when that is not possible."""
    try:
        server.prepare()
    except OSError as error:
        where = f"port {options.port} of {options.host}"
        if "Address already in use" in str(error):
            raise ValueError(
                f"{where} is taken by another program, perhaps another localaws: end it, or choose another with --port"
            ) from None
        reason = re.findall(r"\[Errno -?\d+\] ([^)]+)", str(error)) or [str(error)]
        raise ValueError(
            f"{where} cannot be listened on ({reason[-1]}): choose others with --host and --port"
        ) from None


def _call_log(path: Path, ctx: Context) -> CallLog:
    try:
        return CallLog(path, ctx.clock)
    except OSError as error:
        raise ValueError(f"--call-log {path} cannot be written ({error.strerror}): name another file") from None


def _accounts(state: Path) -> dict[int, Path]:
    """The directories that resets have made, by number; before the first one the state directory itself is it."""
    found = {path.name.removeprefix("account-"): path for path in state.glob("account-*")}
    return {int(number): path for number, path in found.items() if number.isdecimal()}


def _newest_account(state: Path) -> Path:
    accounts = _accounts(state)
    return accounts[max(accounts)] if accounts else state


def _next_account(state: Path) -> Path:
    made = state / f"account-{max(_accounts(state), default=0) + 1}"
    made.mkdir(mode=0o700)
    return made


def _forget_others(state: Path, account: Path) -> None:
    """Delete what earlier accounts have left, also those of a run that was killed while it did this."""
    if account == state:
        return
    others = [path for path in _accounts(state).values() if path != account]
    for path in (*others, *(state / name for name in ACCOUNT_FILES)):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

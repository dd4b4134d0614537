"""Puts the parts together on one port, and takes them down again in the right order."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

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
from localaws.serving.runtime import runtime_app
from localaws.store import Store

log = logging.getLogger("localaws")

THREADS = 64  # requests answered at once; invocations (runtime.AT_ONCE, WAITING) must leave some to their containers
ACCOUNT = "123456789012"


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
        options.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (options.state / "lock").open("w")
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
        self._application: Application | None = None
        self._server = HttpServer((options.host, options.port), self._answer, THREADS)
        self._server.prepare()
        self.ctx = self._context(options, images, Runner(sandbox, hidden=[options.state], warm=options.warm))
        self._thread = threading.Thread(target=self._server.serve, name="http", daemon=True)

    def _context(self, options: Options, images: Images, runner: Runner) -> Context:
        key, secret = state_credentials(options.state)
        config = EndpointSettings(
            region=options.region, account=ACCOUNT, host=options.host, port=self._server.bind_addr[1],
            state=options.state, access_key=key, secret_key=secret, grace=options.grace,
            allowed_hosts=options.allowed_hosts,
        )  # fmt: skip
        moto = MotoServices(ACCOUNT, options.region)
        s3 = S3Store(options.state / "s3", region=options.region, account=ACCOUNT)
        ctx = Context(
            config=config,
            store=Store(options.state / "state.sqlite3"),
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
            logs=Logs(moto, options.state / "logs"),
            metrics=Metrics(moto),
            clock=time.time,
            faults=Faults(),
            profile=options.profile,
            quotas=options.quotas,
        )
        calls = CallLog(options.call_log, ctx.clock) if options.call_log else None
        s3_front = s3_app(s3, hosts=("localhost", *options.allowed_hosts))
        self._application = Application(ctx, moto, s3_front, runtime_app(ctx), calls)
        return ctx

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        assert self._application is not None  # set before the server answers
        if logformat.access.isEnabledFor(logging.INFO):
            return logformat.logged(self._application, environ, start_response)
        return self._application(environ, start_response)

    def start(self) -> None:
        """Bring back what an earlier run left, then answer requests."""
        # What jobs of an earlier run had in their directories when they were killed is of no use any more.
        shutil.rmtree(self.ctx.config.state / "jobs", ignore_errors=True)
        for hook in registry.START_HOOKS:
            hook(self.ctx)
        self._thread.start()
        # Importing moto takes most of a second: better now than when the first job writes its first line.
        threading.Thread(target=self.ctx.logs.load, name="load-logs", daemon=True).start()

    def close(self) -> None:
        """End everything: jobs first (their states are written), then model servers, then the port."""
        self.ctx.jobs.shutdown()
        self.ctx.runner.shutdown(min(self.ctx.config.grace, self.ctx.profile.shutdown_grace))
        self._server.stop()
        if self._thread.is_alive():
            self._thread.join()
        self.ctx.s3.close()
        self.ctx.store.close()
        self._lock.close()

    def environment(self) -> dict[str, str]:
        """What a client needs in its environment to reach this endpoint."""
        config = self.ctx.config
        return {
            "AWS_ENDPOINT_URL": config.endpoint,
            "AWS_ACCESS_KEY_ID": config.access_key,
            "AWS_SECRET_ACCESS_KEY": config.secret_key,
            "AWS_DEFAULT_REGION": config.region,
        }

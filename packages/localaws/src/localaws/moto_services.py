"""The AWS services that are not ours: moto's implementations, in this process, loaded when first needed.

Importing moto takes most of a second, so nothing here is imported when the endpoint starts. Logs and metrics are put
into its backends, the HTTP front hands it the requests for these services.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

from localaws.coverage import Behaviour
from localaws.errors import RequestRefused

BEHAVIOURS = (
    Behaviour("temporary credentials end when `sts:AssumeRole` said so: `ExpiredTokenException` with status 403, "
              "`ExpiredToken` in the query protocol (403) and S3 (400)", "documented",
              "Common Errors of SageMaker and STS; Amazon S3 API Reference, Error responses"),
)  # fmt: skip

StartResponse = Callable[..., Any]


class AccountEnded(Exception):
    """What was to be written belongs to an account that has been emptied meanwhile."""


class MotoServices:
    """moto's WSGI application and its backends, by service name.

    moto keeps its state once per process: whoever changes it does so in `held`, so that nothing of an account that was
    ended is written into the next one.
    """

    def __init__(self, account: str, region: str, app: Any = None) -> None:
        self.account = account
        self.region = region
        self._app = app
        self._lock = threading.Lock()
        self._nobody = threading.Condition()
        self._holders = 0
        self._ended = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the account from being emptied; raises AccountEnded when it was."""
        with self._nobody:
            if self._ended:
                raise AccountEnded("the account was emptied: nothing of its past is written any more")
            self._holders += 1
        try:
            yield
        finally:
            with self._nobody:
                self._holders -= 1
                self._nobody.notify_all()

    def succeed(self) -> MotoServices:
        """Forget everything in all of moto once nobody holds it; gives the facade of the new account."""
        with self._nobody:
            self._ended = True
            self._nobody.wait_for(lambda: not self._holders)
        # What was never imported has no state. moto itself writes none when it is imported.
        if "moto.core" in sys.modules:
            from moto.core.base_backend import BackendDict
            from moto.core.model_instances import reset_model_data

            BackendDict.reset()
            reset_model_data()
        return MotoServices(self.account, self.region, self._app)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request whose signature has been checked."""
        if self._app is None:
            with self._lock:
                if self._app is None:
                    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

                    self._app = DomainDispatcherApplication(create_backend_app)
        with self.held():
            answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    def backend(self, service: str, region: str | None = None) -> Any:
        """A service's state; `region` "global" or "aws" where the service has none."""
        from moto.backends import get_backend

        return get_backend(service)[self.account][region or self.region]  # type: ignore[call-overload]

    def session_secret(self, access_key: str, now: float) -> tuple[str, str] | None:
        """Secret key and session token of credentials that `sts:AssumeRole` handed out; None if unknown.

        RequestRefused when they have expired at `now` (epoch seconds); moto itself never looks at that.
        """
        if self._app is None:
            return None
        from moto.backends import get_backend

        for backends in get_backend("sts").values():
            for backend in backends.values():
                role = backend.get_assumed_role_from_access_key(access_key)
                if role is not None:
                    if role.expiration.replace(tzinfo=UTC).timestamp() <= now:
                        raise RequestRefused("expired", "The security token included in the request is expired")
                    return role.secret_access_key, role.session_token
        return None

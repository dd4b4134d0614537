"""The AWS services that are not ours: moto's implementations, in this process, loaded when first needed.

Importing moto takes most of a second, so nothing here is imported when the endpoint starts. Logs and metrics are put
into its backends, the HTTP front hands it the requests for these services.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
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


class MotoServices:
    """moto's WSGI application and its backends, by service name."""

    def __init__(self, account: str, region: str) -> None:
        self.account = account
        self.region = region
        self._app: Any = None
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request whose signature has been checked."""
        if self._app is None:
            with self._lock:
                if self._app is None:
                    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

                    self._app = DomainDispatcherApplication(create_backend_app)
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

"""What every operation is handed: the endpoint's parts and its fixed settings.

The parts themselves (store, s3, engine, logs, faults, quotas) never see it: they are handed what they need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localaws.faults import Faults
from localaws.profile import FAST, Profile
from localaws.quotas import Quotas

if TYPE_CHECKING:
    from localaws.engine.images import Images
    from localaws.engine.runner import Runner
    from localaws.engine.scheduler import Scheduler
    from localaws.logs import Logs, Metrics
    from localaws.s3.store import S3Store
    from localaws.store import Store


@dataclass(frozen=True)
class EndpointSettings:
    """Settings of one running endpoint; `grace` is the time in seconds between SIGTERM and SIGKILL."""

    region: str
    account: str
    host: str
    port: int
    state: Path
    access_key: str
    secret_key: str = field(repr=False)
    grace: float = 120.0
    allowed_hosts: tuple[str, ...] = ()

    @property
    def endpoint(self) -> str:
        """The URL at which clients, and the jobs themselves, reach this endpoint."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def arn(self, kind: str, name: str) -> str:
        """The ARN of a SageMaker resource, e.g. `arn("training-job", "x")`; names are lower case in ARNs."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name.lower()}"


@dataclass(frozen=True)
class Context:
    """The parts that operations work with."""

    config: EndpointSettings
    store: Store
    s3: S3Store
    images: Images
    runner: Runner
    jobs: Scheduler
    logs: Logs
    metrics: Metrics
    clock: Callable[[], float]
    faults: Faults = field(default_factory=Faults)
    profile: Profile = FAST
    quotas: Quotas = field(default_factory=Quotas)
    parts: dict[str, Any] = field(default_factory=dict)  # what a package makes once for this context

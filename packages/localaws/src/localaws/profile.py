"""How AWS-like the endpoint's times are: at once (the default), or slow and late as AWS is; each can be set by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from localaws.coverage import Behaviour

DEFAULT_PAGE = 10  # the API's default for MaxResults, the items of a page
MOST_SECONDS = 86400.0


def _time(seconds: float, meaning: str) -> Any:
    return field(default=seconds, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Profile:
    """Times in seconds; the first three are zero where all is as fast as the machine is.

    `page`: items of a page of a list at most, however many were asked for.
    """

    name: str = "fast"
    job_start: float = _time(0.0, "a job's `Starting` before its data are downloaded, or no capacity is found for it")
    endpoint_start: float = _time(0.0, "an endpoint's `Creating` or `Updating` before its servers start")
    list_lag: float = _time(0.0, "until a new resource is in lists")
    shutdown_grace: float = _time(5.0, "between SIGTERM and SIGKILL of jobs and servers when the endpoint itself ends")
    ping_every: float = _time(5.0, "between two health checks of a model server")
    hung: float = _time(30.0, "without any answer, after which a model server is killed and started again")
    restart_longest: float = _time(30.0, "the longest pause before a model server that ends again and again is started")
    recovery: float = _time(20.0, "how long a request waits for a model server that is being started again")
    serverless_idle: float = _time(300.0, "without a request, after which a serverless variant ends its server")
    capture_flush: float = _time(2.0, "until captured requests are in S3")
    page: int | None = None

    def asked(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """The request as it is answered: a list's page may be shorter than asked for, then with a NextToken."""
        if self.page is None or not operation.startswith(("List", "Search")):
            return request
        return {**request, "MaxResults": min(self.page, request.get("MaxResults", DEFAULT_PAGE))}

    def with_times(self, given: Sequence[str]) -> Profile:
        """The same with other times, each `NAME=SECONDS`; ValueError with one sentence."""
        times: dict[str, Any] = {}
        for text in given:
            name, _, seconds = text.partition("=")
            if name not in TIMES or not re.fullmatch(r"\d+(\.\d+)?", seconds) or float(seconds) > MOST_SECONDS:
                raise ValueError(
                    f"--time '{text}' is not of the form NAME=SECONDS with seconds from 0 to {MOST_SECONDS:.0f} and "
                    f"one of the names {', '.join(TIMES)}"
                )
            times[name.replace("-", "_")] = float(seconds)
        return replace(self, **times)


#: What can be set by name: its default without a profile, and its meaning.
TIMES: dict[str, tuple[float, str]] = {
    each.name.replace("_", "-"): (each.default, each.metadata["meaning"])  # type: ignore[misc]
    for each in fields(Profile)
    if each.metadata
}
FAST = Profile()
AWS = Profile("aws", job_start=30.0, endpoint_start=60.0, list_lag=5.0, page=5)
PROFILES = {profile.name: profile for profile in (FAST, AWS)}
BEHAVIOURS = (
    Behaviour(
        "how long anything takes: seconds here; with `--profile aws` a job starts after half a minute", "assumed"
    ),
    Behaviour("with `--profile aws` lists show a new resource after five seconds", "assumed"),
    Behaviour(
        "with `--profile aws` a page of a list holds five items, whatever MaxResults says",
        "documented",
        "ListTrainingJobs, MaxResults: the maximum number of training jobs to return in the response",
    ),
)

"""How AWS-like the endpoint's times are: at once (the default), or slow and late as AWS is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from include.localaws.coverage import Behaviour

DEFAULT_PAGE = 10  # the API's default for MaxResults, the items of a page


@dataclass(frozen=True)
class Profile:
    """Delays in seconds; all zero: as fast as the machine is. A job that finds no capacity fails after `start`, too."""

    name: str = "fast"
    start: float = 0.0  # a job's `Starting` before its data are downloaded
    endpoint: float = 0.0  # an endpoint's `Creating` or `Updating` before its servers start
    list_lag: float = 0.0  # a new resource is not in lists before this time has passed
    page: int | None = None  # items of a page of a list at most, however many were asked for

    def asked(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """The request as it is answered: a list's page may be shorter than asked for, then with a NextToken."""
        if self.page is None or not operation.startswith(("List", "Search")):
            return request
        return {**request, "MaxResults": min(self.page, request.get("MaxResults", DEFAULT_PAGE))}


FAST = Profile()
AWS = Profile("aws", start=30.0, endpoint=60.0, list_lag=5.0, page=5)
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

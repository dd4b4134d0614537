"""One task owns one job: fingerprints, owner tags, and the decision to create, attach or start the next generation.

The rows O1 to O30 are those of docs/decisions/0025-who-owns-a-job.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sagewind import tags
from sagewind.errors import TaskRefused
from sagewind.facts import tags as keys
from sagewind.facts.kinds import JobApi
from sagewind.pipeline.names import environment, job_name


def fingerprint(request: Mapping[str, Any]) -> str:
    """Sixteen hex digits of a hash over the request without its tags and tokens.

    Members that botocore would fill in by itself (idempotency tokens) never enter the hash; it has no other defaults
    (checked against its model by a test).
    """
    content = {key: value for key, value in request.items() if key not in ("Tags", "ClientToken", "ClientRequestToken")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Owner:
    """Who owns what a task creates. `expires` is an ISO time after which housekeeping may remove it, or empty."""

    model: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    expires: str = ""

    @property
    def task(self) -> dict[str, Any]:
        """The task instance in the API server's terms, as plain JSON."""
        return {
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "task_id": self.task_id,
            "map_index": self.map_index,
            "try_number": self.try_number,
        }

    def tags(self, *, generation: int = 1, fingerprint: str = "") -> list[dict[str, str]]:
        """Tags as AWS takes them; empty values are left out."""
        return tags.made(
            {
                keys.ENVIRONMENT: environment(),
                keys.MODEL: self.model,
                keys.DAG: self.dag_id,
                keys.RUN: self.run_id,
                keys.TASK: self.task_id if self.map_index < 0 else f"{self.task_id}/{self.map_index}",
                keys.TRY: str(self.try_number),
                keys.GENERATION: str(generation),
                keys.FINGERPRINT: fingerprint,
                keys.EXPIRES: self.expires,
            }
        )

    def job_name(self, kind: JobApi, step: str, generation: int) -> str:
        """Name of this task's job in the given generation."""
        return job_name(
            self.model,
            step,
            dag_id=self.dag_id,
            run_id=self.run_id,
            task_id=self.task_id,
            map_index=self.map_index,
            generation=generation,
            limit=kind.name_limit,
        )


Action = Literal["create", "attach", "next", "replace", "await_end"]


@dataclass(frozen=True)
class FoundJob:
    """What is known about the job of the current generation when a try begins.

    `status` is None if there is no such job. `same`: its fingerprint is the request's. `cleared`: somebody cleared the
    task since that job was started, or the run is another one of the same id. `handed`: its task returned it. `judged`:
    an earlier try found that it ended badly and that another generation may follow. `stop`: why one of us stopped it.
    """

    name: str
    status: str | None
    same: bool = True
    cleared: bool = False
    handed: bool = False
    judged: bool = False
    stop: str = ""


def decide(job: FoundJob) -> Action:
    """What to do about the job of the current generation.

    `create` and `attach` keep the generation, `next` starts another one, `replace` stops the job first, `await_end`
    waits for the end of a stop that is under way. TaskRefused if a job of the same name was made from another request
    without a clear (O28).
    """
    if job.status is None:
        return "create"  # O1, O2, O22
    if job.status in ("Failed", "Stopped"):
        return "next" if job.cleared or job.judged else "attach"  # O9, O16, O17; O5
    if job.cleared and job.status == "Stopping":
        return "await_end"  # O30
    if not job.same:
        return _other_request(job)
    if job.status == "Completed" and job.cleared and job.handed:
        return "next"  # O7
    return "attach"  # O3, O4, O6, O8, O12


def _other_request(job: FoundJob) -> Action:
    if not job.cleared:
        raise TaskRefused(
            f"job {job.name} is {job.status} but was started from another request: clear the task to start it anew"
        )
    return "next" if job.status == "Completed" else "replace"


def check_rendered(request: Any, where: str = "request") -> None:
    """Refuse a rendered request that holds an empty value, a `None` or an unrendered template."""
    if isinstance(request, Mapping):
        for key, value in request.items():
            check_rendered(value, f"{where}.{key}")
    elif isinstance(request, list | tuple):
        for index, value in enumerate(request):
            check_rendered(value, f"{where}[{index}]")
    elif isinstance(request, str):
        parts = request.replace("://", "/").split("/")
        if not request.strip() or "{{" in request or "None" in parts:
            raise TaskRefused(f"{where} is {request!r} after rendering: an earlier task did not return what it needs")

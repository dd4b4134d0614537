"""One task owns one job: fingerprints, owner tags, and the decision to create, attach or start the next generation."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from include.pipeline.names import job_name
from sagewind.errors import Refused
from sagewind.kinds import JobKind, KindName

TAG = "sagewind:"
_TAG_LIMIT = 256
#: Characters of ids that AWS does not take in tag values (Airflow's run ids may hold a tilde).
_NOT_IN_TAGS = re.compile(r"[^\w .:/=+\-@]")


def fingerprint(request: Mapping[str, Any]) -> str:
    """Sixteen hex digits of a hash over the request without its tags."""
    content = {key: value for key, value in request.items() if key != "Tags"}
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

    def tags(self, *, generation: int = 1, fingerprint: str = "") -> list[dict[str, str]]:
        """Tags as AWS takes them; empty values are left out."""
        values = {
            "model": self.model,
            "dag": self.dag_id,
            "run": self.run_id,
            "task": self.task_id if self.map_index < 0 else f"{self.task_id}/{self.map_index}",
            "try": str(self.try_number),
            "generation": str(generation),
            "fingerprint": fingerprint,
            "expires": self.expires,
        }
        return [
            {"Key": TAG + key, "Value": _NOT_IN_TAGS.sub("_", value)[:_TAG_LIMIT]}
            for key, value in values.items()
            if value
        ]

    def job_name(self, kind: JobKind, step: str, generation: int) -> str:
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


Action = Literal["create", "attach", "next", "replace"]


def decide(*, status: str | None, same: bool, cleared: bool, name: str) -> Action:
    """What to do about the job of the current generation.

    `status` is None if there is none; `same` says that its fingerprint is the request's; `cleared` that somebody
    cleared the task since that job was started. `create` and `attach` keep the generation, `next` starts another one,
    `replace` stops the job first. Refused if a job of the same name was made from another request without a clear.
    """
    if status is None:
        return "create"
    if status in ("Failed", "Stopped"):
        return "next"
    if not same:
        if not cleared:
            raise Refused(
                f"job {name} is {status} but was started from another request: clear the task to start it anew"
            )
        return "next" if status == "Completed" else "replace"
    if status == "Completed" and cleared:
        return "next"
    return "attach"


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
            raise Refused(f"{where} is {request!r} after rendering: an earlier task did not return what it needs")


__all__ = ["TAG", "Action", "KindName", "Owner", "check_rendered", "decide", "fingerprint"]

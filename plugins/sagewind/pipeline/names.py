"""Names of everything a run creates: deterministic, legal for SageMaker, never from the clock.

Every name of a run contains the run's hash, so that what belongs to a run is found by `NameContains` even when the
task that made it died before it could say so.
"""

from __future__ import annotations

import hashlib
import os
import re

from sagewind.facts.calls import NAME_LIMIT

_ILLEGAL = re.compile(r"[^a-zA-Z0-9]+")


def digest(*parts: str, length: int) -> str:
    """First `length` hex digits of a hash over `parts`; distinct tuples stay distinct (lengths are hashed too)."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def environment() -> str:
    """Name of this Airflow among those that share an AWS account (`SAGEWIND_ENVIRONMENT`), or empty."""
    return os.environ.get("SAGEWIND_ENVIRONMENT", "")


def run_hash(dag_id: str, run_id: str) -> str:
    """Eight hex digits that stand for one DAG run of this environment in every name.

    Two Airflows of one account have the same DAG and run ids: without the environment they would share their jobs.
    """
    here = environment()
    return digest(*((here,) if here else ()), dag_id, run_id, length=8)


def slug(text: str) -> str:
    """`text` with every run of characters that SageMaker names do not allow as one hyphen, none at the ends."""
    return _ILLEGAL.sub("-", text).strip("-")


def run_key(dag_id: str, run_id: str) -> str:
    """A readable and unique S3 key part for one run, e.g. `manual-2026-11-20T03-00-00-1a2b3c4d`."""
    kind = slug(run_id.replace("+00:00", ""))[:48].strip("-")
    return f"{kind}-{run_hash(dag_id, run_id)}"


def _fit(prefix: str, tail: str, limit: int) -> str:
    room = limit - len(tail) - 1
    return f"{slug(prefix)[:room].strip('-')}-{tail}"


def job_name(
    model: str,
    step: str,
    *,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int = -1,
    generation: int = 1,
    limit: int = NAME_LIMIT,
) -> str:
    """Name of the SageMaker job of one task and generation: the idempotency key of a paid job.

    Raises ValueError if a part is empty: an empty value would let two tasks share a job.
    """
    parts = {"model": model, "step": step, "dag_id": dag_id, "run_id": run_id, "task_id": task_id}
    for key, value in parts.items():
        if not value:
            raise ValueError(f"a job name needs {key}, found an empty value")
    tail = digest(task_id, str(map_index), str(generation), length=4)
    return _fit(f"{model}-{step}", f"{run_hash(dag_id, run_id)}{tail}", limit)


def resource_name(model: str, step: str, *, dag_id: str, run_id: str, fingerprint: str) -> str:
    """Name of a model, endpoint config or other resource of a run: other contents get another name."""
    for key, value in {
        "model": model,
        "dag_id": dag_id,
        "run_id": run_id,
        "fingerprint": fingerprint,
    }.items():
        if not value:
            raise ValueError(f"a resource name needs {key}, found an empty value")
    prefix = f"{model}-{step}" if step else model
    return _fit(prefix, f"{run_hash(dag_id, run_id)}{fingerprint[:4]}", NAME_LIMIT)


def rehearsal_endpoint(model: str, *, dag_id: str, run_id: str) -> str:
    """Name of the endpoint that a lifecycle run deploys for itself."""
    return _fit(f"{model}-rehearsal", run_hash(dag_id, run_id), NAME_LIMIT)

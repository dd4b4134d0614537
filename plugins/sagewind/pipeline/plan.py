"""The plan of a run: every place and name that its tasks share, computed once from the model file and the run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sagewind.facts import job_json
from sagewind.facts.algorithms import JOBS_IMAGE
from sagewind.facts.version import VERSION
from sagewind.pipeline import images, names
from sagewind.pipeline.spec import AwsSpec, ModelSpec

#: The partition of every region whose registries are known; `images.uri` refuses the others.
PARTITION = "aws"

#: Keys of a model file's `data` that are not in that of job.json: where the rows come from, and the run's seed.
NOT_FOR_JOBS = {"source", "seed"}


def role_arn(aws: AwsSpec, account: str) -> str:
    """ARN of the jobs' role; an ARN in the model file is taken as it is."""
    if aws.role.startswith("arn:"):
        return aws.role
    return f"arn:{PARTITION}:iam::{account}:role/{aws.role}"


def bucket(aws: AwsSpec, account: str, region: str) -> str:
    """The model file's bucket, or the project's own one of this account and region."""
    return aws.bucket or f"sagewind-{account}-{region}"


def make(
    spec: ModelSpec,
    *,
    dag_id: str,
    run_id: str,
    account: str,
    region: str,
    source: str,
    window_start: datetime | None,
    window_end: datetime,
    code_hash: str,
    rehearsal: bool,
) -> dict[str, Any]:
    """The plan as plain JSON values. A rehearsal deploys and registers under names of its own run."""
    place = bucket(spec.aws, account, region)
    root = f"s3://{place}/{spec.aws.prefix}"
    key = names.run_key(dag_id, run_id)
    prefix = f"{root}/{spec.name}/runs/{key}"
    own = names.rehearsal_endpoint(spec.name, dag_id=dag_id, run_id=run_id)
    return {
        "version": VERSION,
        "model": spec.name,
        "bucket": place,
        "prefix": prefix,
        "code": f"{root}/code/{code_hash}",
        "sourcedir": f"{root}/{spec.name}/source/{code_hash}",
        "config": f"{prefix}/config",
        "capture": f"{prefix}/capture" if rehearsal else f"{root}/{spec.name}/capture",
        "scores": f"{root}/{spec.name}/scores/{key}",
        "region": region,
        "account": account,
        "role_arn": role_arn(spec.aws, account),
        "run_key": key,
        "run_hash": names.run_hash(dag_id, run_id),
        "images": images.uris(sorted({JOBS_IMAGE, spec.train.image}), region),
        "names": {"endpoint": own if rehearsal else spec.name, "group": own if rehearsal else spec.name},
        "source": source,
        "window": {
            "start": window_start.isoformat() if window_start else "",
            "end": window_end.isoformat(),
        },
    }


def job_config(spec: ModelSpec, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Content of job.json, which every job program reads."""
    data, evaluate, window = spec.data, spec.evaluate, plan["window"]
    config = job_json.JobConfig(
        model=spec.name,
        run_key=plan["run_key"],
        problem=spec.problem,
        seed=data.seed,
        window=job_json.read(job_json.WindowConfig, {key: time or None for key, time in window.items()}, "window"),
        data=job_json.read(job_json.DataConfig, data.model_dump(mode="json", exclude=NOT_FOR_JOBS), "data"),
        evaluate=job_json.EvaluateConfig(gates=evaluate.gates, threshold=evaluate.threshold),
    )
    return job_json.to_document(config)

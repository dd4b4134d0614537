"""`sagemaker_housekeeping`: account hygiene, a dry run by default."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from airflow.sdk import DAG, Param

from sagewind.operators.housekeeping import HousekeepingOperator
from sagewind.pipeline.errors import ModelFileError
from sagewind.pipeline.load import load_model, model_names
from sagewind.pipeline.names import slug
from sagewind.pipeline.project import MODELS
from sagewind.workflows import project
from sagewind.workflows.common import START, defaults

DOC = """### Account hygiene

Looks at everything that carries Sagewind's owner tags: resources past their expiry, endpoints that nobody asks, jobs
without an owner. Tells by default; removes when `dry_run` is off (for scheduled runs: `SAGEWIND_HOUSEKEEPING=remove` in
the environment of the dag-processor). What has no owner tag is never touched.
"""


def housekeeping_dag() -> DAG:
    """The DAG; it looks where the model files of the project of the calling DAG file say."""
    models = project.of_caller() / MODELS
    params = {
        "dry_run": Param(
            # The scheduled runs take the default: who trusts it lets them remove, without touching a file.
            os.environ.get("SAGEWIND_HOUSEKEEPING") != "remove",
            type="boolean",
            title="Dry run",
            description="Tell what would be removed and remove nothing",
        )
    }
    with DAG(
        "sagemaker_housekeeping",
        description="Owner tags, expiry, idle endpoints, orphan jobs",
        doc_md=DOC,
        tags={"sagewind", "hygiene"},
        schedule="@hourly",
        start_date=START,
        catchup=False,
        max_active_runs=1,
        params=params,
        default_args=defaults("sagewind"),
    ) as dag:
        for connection, region in sorted(_places(models), key=str):
            HousekeepingOperator(
                task_id="-".join(["sweep", slug(connection), *([region] if region else [])]),
                dry="{{ params.dry_run }}",
                connection=connection,
                region=region,
            )
    return dag


def _places(models: Path) -> set[tuple[str, str | None]]:
    """Every connection and region that a model file names. A wrong model file is told by its own DAG file."""
    places: set[tuple[str, str | None]] = {("aws_default", None)}
    for name in model_names(models):
        with suppress(ModelFileError):
            spec = load_model(name, models)
            places.add((spec.aws.connection, spec.aws.region))
    return places

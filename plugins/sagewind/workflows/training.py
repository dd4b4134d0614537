"""`<model>_training`: production. Cron, drift event, UI and backfill start it; it updates the one endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, AssetOrTimeSchedule, Param, chain

from sagewind.operators.flow import ShallDeployOperator
from sagewind.operators.serving import RestoreOperator
from sagewind.pipeline.spec import ModelSpec
from sagewind.workflows import assets
from sagewind.workflows.chain import Chain
from sagewind.workflows.common import make_dag, source_param, timetable

DOC = """### Training and deployment of `{name}`

{description}

Each interval, a backfill's too, has jobs, names and data of its own. A
model that passes its gates is registered, and replaces what the endpoint `{name}` serves without a gap. Its version
is approved once the endpoint is verified; a failed update or verification puts back what served before, and the run is
red. Backfilled models are registered, neither deployed nor approved.
"""


def training_dag(spec: ModelSpec, project: Path) -> DAG:
    """The DAG; `project` is the folder below which the model file's scripts lie."""
    params = {
        "source": source_param(spec),
        "deploy": Param(
            "auto",
            type="string",
            enum=["auto", "always", "never"],
            title="Deploy",
            description="auto: unless this run is a backfill; always; never: register only",
        ),
    }
    doc = DOC.format(name=spec.name, description=spec.description)
    # One run at a time: two would update the same endpoint (backfills have a limit of their own and do not deploy).
    with make_dag(
        spec,
        "training",
        doc=doc,
        tags=["production"],
        schedule=_schedule(spec),
        params=params,
        max_active_runs=1,
    ) as dag:
        make = Chain(spec, rehearsal=False)
        prepare, gate, register, shall = make.prepare(), make.gate(), make.register(), _shall_deploy(make)
        chain(make.ingest(project), prepare, make.fit(), make.evaluate(), gate, register)
        chain(prepare, make.baseline(), register)
        if spec.approve == "manual":
            asked, approved = make.approval()
            chain(register, asked)
            chain(approved, shall)
        else:
            chain(register, shall)
        make.end([gate, register, *_last(make, shall)], everything=False)
    return dag


def _schedule(spec: ModelSpec) -> Any:
    """Cron or drift event, whichever the model file asks for; both fit on one DAG with backfills."""
    events = [assets.drift(spec.name)] if spec.monitor.on_violation == "retrain" else []
    cron = timetable(spec.schedule)
    if cron is None:
        return events or None
    return AssetOrTimeSchedule(timetable=cron, assets=events) if events else cron


def _shall_deploy(make: Chain) -> ShallDeployOperator:
    wish = "never" if make.spec.deploy.mode == "none" else "{{ params.deploy }}"
    return ShallDeployOperator(task_id="shall_deploy", task_group=make.group("serving"), wish=wish, **make.common)


def _last(make: Chain, shall: ShallDeployOperator) -> list[Any]:
    """From the model to a verified and approved endpoint, and the way back."""
    deploy, ready, verify, approve = make.deploy(), make.endpoint_ready(), make.verify(), make.approve()
    event = assets.endpoint(make.spec.name)
    deployed = EmptyOperator(
        task_id="deployed",
        task_group=make.group("serving"),
        outlets=[event],
        doc_md=f"Publishes the event `{event.uri}`: a new version serves, verified.",
    )
    # A teardown: it also runs when somebody marks the run as failed between update and verification.
    restore = RestoreOperator(
        task_id="restore",
        task_group=make.group("clean_up"),
        endpoint=make.spec.name,
        **make.common,
    ).as_teardown(on_failure_fail_dagrun=True)
    chain(shall, make.create_model(), make.endpoint_config(), deploy, ready, verify, approve, deployed)
    chain([deploy, ready, verify], restore)
    return [deployed, restore]

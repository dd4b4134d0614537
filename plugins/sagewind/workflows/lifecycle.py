"""`<model>_lifecycle`: the whole chain once, under names of its own run, leaving nothing behind."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG, BaseOperator, Param, chain

from sagewind.facts import contract
from sagewind.operators.checks import BatchCheckOperator, ShiftBatchOperator, VerdictOperator
from sagewind.pipeline.requests import processing, serving
from sagewind.pipeline.spec import ModelSpec
from sagewind.sensors.capture import CaptureSensor
from sagewind.workflows.chain import Chain
from sagewind.workflows.common import make_dag, seen_by_sensor, source_param

DOC = """### Rehearsal of the whole life of `{name}`

{description}

Fetches and prepares the data, trains or tunes, evaluates, passes the gates, registers, deploys an endpoint of its own,
proves row by row that it serves what was evaluated, transforms a batch, holds the captured traffic and a shifted batch
against the baseline, and deletes everything it made, whatever happened. Nothing of the production endpoint is touched.
"""
#: Requests that the verification sends at least; the monitor then checks this traffic.
REQUESTS = 110


def lifecycle_dag(spec: ModelSpec, project: Path) -> DAG:
    """The DAG; `project` is the folder below which the model file's scripts lie."""
    params = {
        "source": source_param(spec),
        "keep": Param(
            False,
            type="boolean",
            title="Keep everything",
            description="Skip the teardown: the endpoint stays and, on AWS, bills by the hour",
        ),
    }
    doc = DOC.format(name=spec.name, description=spec.description)
    with make_dag(spec, "lifecycle", doc=doc, tags=["rehearsal"], schedule=None, params=params) as dag:
        make = Chain(spec, rehearsal=True)
        prepare, baseline = make.prepare(), make.baseline()
        gate, register, create_model = make.gate(), make.register(), make.create_model()
        verify, approve = make.verify(), make.approve()
        chain(make.ingest(project), prepare, make.fit(), make.evaluate(), gate, register)
        chain(prepare, baseline, register)
        if spec.approve == "manual":
            asked, approved = make.approval()
            chain(register, asked)
            chain(approved, create_model)
        else:
            chain(register, create_model)
        chain(create_model, make.endpoint_config(), make.deploy(), make.endpoint_ready(), verify, approve)
        leaves = [
            gate,
            approve,
            _batch(make, create_model),
            _normal_traffic(make, verify),
            _shifted_batch(make, prepare, baseline),
        ]
        make.end(leaves, everything=True)
    return dag


def _batch(make: Chain, create_model: BaseOperator) -> BatchCheckOperator:
    source, scores = make.refs.prepared(contract.BATCH), "{{ plan.prefix }}/batch"
    model_name = "{{ results.create_model.name }}"
    request = serving.transform(make.spec, model_name=model_name, source=source, output=scores)
    check = BatchCheckOperator(
        task_id="batch_check",
        task_group=make.group("checks"),
        source=source,
        scores=scores,
        **make.common,
    )
    chain(create_model, make.batch_transform(request), check)
    return check


def _normal_traffic(make: Chain, verify: BaseOperator) -> VerdictOperator:
    folder = "{{ plan.prefix }}/monitor_normal"
    request = processing.check_captured(
        make.spec, make.refs, captured="{{ plan.capture }}", baseline=make.refs.baseline, output=folder
    )
    captured = CaptureSensor(
        task_id="captured",
        task_group=make.group("checks"),
        folder=seen_by_sensor("ingest", "capture"),
        requests=REQUESTS,
        limit_hours=1,
        **make.watching,
    )
    check = make.job(
        "monitor_normal",
        "checks",
        "processing",
        request,
        doc="Holds the requests of the verification against the baseline: nothing may be found.",
    )
    verdict = VerdictOperator(
        task_id="verdict_normal",
        task_group=make.group("checks"),
        folder=folder,
        expect="ok",
        **make.common,
    )
    chain(verify, captured, check, verdict)
    return verdict


def _shifted_batch(make: Chain, prepare: BaseOperator, baseline: BaseOperator) -> VerdictOperator:
    batch, folder = "{{ plan.prefix }}/shifted", "{{ plan.prefix }}/monitor_shifted"
    shift = ShiftBatchOperator(
        task_id="shift_batch",
        task_group=make.group("checks"),
        rows=f"{make.refs.prepared(contract.BATCH)}/{contract.BATCH_CSV}",
        schema=f"{make.refs.prepared(contract.SCHEMA)}/{contract.SCHEMA_JSON}",
        target=batch,
        **make.common,
    )
    request = processing.check_batch(make.spec, make.refs, batch=batch, baseline=make.refs.baseline, output=folder)
    check = make.job(
        "monitor_shifted",
        "checks",
        "processing",
        request,
        doc="Holds the shifted batch against the baseline: the shifted columns must be found.",
    )
    verdict = VerdictOperator(
        task_id="verdict_shifted",
        task_group=make.group("checks"),
        folder=folder,
        expect="shifted",
        **make.common,
    )
    chain(prepare, shift, check, verdict)
    chain(baseline, check)
    return verdict

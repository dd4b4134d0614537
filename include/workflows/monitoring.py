"""`<model>_monitoring`: captured traffic of a window against the baseline of the version that serves it."""

from __future__ import annotations

from airflow.sdk import DAG, CronDataIntervalTimetable, chain

from include.pipeline.requests import processing
from include.pipeline.spec import ModelSpec
from include.workflows import assets
from include.workflows.common import Chain, make_dag, window_params
from sagewind.capture import VERIFICATION
from sagewind.operators.checks import VerdictOperator
from sagewind.operators.flow import DriftOperator, TrafficOperator
from sagewind.operators.registry import ServingVersionOperator

DOC = """### Monitoring of `{name}`

{description}

Holds the requests that the endpoint `{name}` captured in this run's window against the baseline of the version that
it serves. Violations are told column by column; they publish the event `drift://{name}` if the model file says
`retrain`.
A window without traffic is skipped: it is neither good nor bad.
"""


def monitoring_dag(spec: ModelSpec) -> DAG:
    """The DAG."""
    cron = spec.monitor.schedule
    schedule = CronDataIntervalTimetable(cron, timezone="UTC") if cron else None
    doc = DOC.format(name=spec.name, description=spec.description)
    params = window_params()
    with make_dag(spec, "monitoring", doc=doc, tags=["production"], schedule=schedule, params=params) as dag:
        make = Chain(spec, rehearsal=False)
        folder = "{{ plan.prefix }}/monitor"
        traffic = TrafficOperator(
            task_id="traffic",
            folder="{{ plan.capture }}/{{ plan.names.endpoint }}",
            manifest="{{ plan.prefix }}/traffic.manifest",
            **make.common,
        )
        request = processing.check_captured(
            spec,
            make.refs,
            captured="{{ results.traffic.manifest }}",
            baseline="{{ results.serving.baseline }}",
            output=folder,
            manifest=True,
            settings={
                "start_time": "{{ plan.window.start or '1970-01-01T00:00:00+00:00' }}",
                "end_time": "{{ plan.window.end }}",
                "excluded_inference_id_prefix": VERIFICATION,
            },
        )
        verdict = VerdictOperator(task_id="verdict", folder=folder, **make.common)
        chain(
            make.ingest(with_data=False),
            traffic,
            ServingVersionOperator(task_id="serving", endpoint="{{ plan.names.endpoint }}", **make.common),
            make.job("check", "processing", request),
            verdict,
        )
        if spec.monitor.on_violation == "retrain":
            drift = DriftOperator(
                task_id="drift", verdict_task="verdict", outlets=[assets.drift(spec.name)], **make.common
            )
            chain(verdict, drift)
        make.end([verdict], everything=False)
    return dag

"""`<model>_monitoring`: captured traffic of a window against the baselines of the version that serves it."""

from __future__ import annotations

from airflow.sdk import DAG, BaseOperator, TriggerRule, chain

from sagewind.capture import VERIFICATION
from sagewind.facts import contract
from sagewind.operators.checks import VerdictOperator
from sagewind.operators.flow import DriftOperator, TrafficOperator
from sagewind.operators.quality import JudgedVersionOperator, LabelledTrafficOperator, QualityVerdictOperator
from sagewind.operators.registry import ServingVersionOperator
from sagewind.pipeline.requests import processing
from sagewind.pipeline.spec import ModelSpec
from sagewind.workflows import assets
from sagewind.workflows.chain import Chain
from sagewind.workflows.common import make_dag, timetable, window_params

DOC = """### Monitoring of `{name}`

{description}

Holds the requests that the endpoint `{name}` captured in this run's window against the baselines of the version that
it serves: {checks}. Violations are told one by one; they publish the event `drift://{name}` if the model file says
`retrain`.
A window without traffic, or without labels where these are asked for, is skipped: it is neither good nor bad.
"""
WORDS = {
    "data_quality": "the requests' data (`check`, `verdict`)",
    "model_quality": "the predictions, with labels that came later (`quality_check`, `quality_verdict`)",
}
CAPTURE = "{{ plan.capture }}/{{ plan.names.endpoint }}"


def monitoring_dag(spec: ModelSpec) -> DAG:
    """The DAG."""
    schedule, checks = timetable(spec.monitor.schedule), spec.monitor.checks
    shown = ", ".join(words for check, words in WORDS.items() if check in checks)
    doc = DOC.format(name=spec.name, description=spec.description, checks=shown)
    params = window_params()
    with make_dag(spec, "monitoring", doc=doc, tags=["production"], schedule=schedule, params=params) as dag:
        make = Chain(spec, rehearsal=False)
        ingest = make.ingest()
        branches = {"data_quality": _data_quality, "model_quality": _model_quality}
        verdicts = [branch(make, ingest) for check, branch in branches.items() if check in checks]
        if spec.monitor.on_violation == "retrain":
            drift = DriftOperator(
                task_id="drift",
                task_group=make.group("checks"),
                verdict_tasks=[verdict.task_id for verdict in verdicts],
                outlets=[assets.drift(spec.name)],
                # One event for all checks; one that was skipped or failed does not silence another.
                trigger_rule=TriggerRule.ALL_SUCCESS if len(verdicts) == 1 else TriggerRule.ALL_DONE,
                **make.common,
            )
            chain(verdicts, drift)
        make.end(verdicts, everything=False)
    return dag


def _data_quality(make: Chain, ingest: BaseOperator) -> BaseOperator:
    """The window's requests against the training data; returns the verdict's task."""
    folder = "{{ plan.prefix }}/monitor"
    traffic = TrafficOperator(
        task_id="traffic",
        task_group=make.group("data"),
        folder=CAPTURE,
        manifest="{{ plan.prefix }}/traffic.manifest",
        **make.common,
    )
    request = processing.check_captured(
        make.spec,
        make.refs,
        captured="{{ results.traffic.manifest }}",
        baseline="{{ results.serving.baseline }}",
        output=folder,
        manifest=True,
        settings={
            contract.START_TIME: "{{ plan.window.start or '1970-01-01T00:00:00+00:00' }}",
            contract.END_TIME: "{{ plan.window.end }}",
            contract.EXCLUDED_INFERENCE_IDS: VERIFICATION,
        },
    )
    serving = ServingVersionOperator(
        task_id="serving",
        task_group=make.group("data"),
        endpoint="{{ plan.names.endpoint }}",
        **make.common,
    )
    doc = "Holds the window's requests against the data that the serving version was trained on."
    check = make.job("check", "checks", "processing", request, doc=doc)
    verdict = VerdictOperator(task_id="verdict", task_group=make.group("checks"), folder=folder, **make.common)
    chain(ingest, traffic, serving, check, verdict)
    return verdict


def _model_quality(make: Chain, ingest: BaseOperator) -> BaseOperator:
    """The delayed window's predictions against their labels; a branch of its own that returns the verdict's task."""
    folder, monitor = "{{ plan.prefix }}/monitor_quality", make.spec.monitor
    labelled = LabelledTrafficOperator(
        task_id="labelled_traffic",
        task_group=make.group("data"),
        folder=CAPTURE,
        ground_truth=str(monitor.ground_truth),
        delay_hours=monitor.label_delay,
        manifest="{{ plan.prefix }}/labelled_traffic.manifest",
        label_manifest="{{ plan.prefix }}/labels.manifest",
        **make.common,
    )
    judged = JudgedVersionOperator(
        task_id="judged_version",
        task_group=make.group("data"),
        endpoint="{{ plan.names.endpoint }}",
        traffic_task="labelled_traffic",
        **make.common,
    )
    request = processing.check_labelled(
        make.spec,
        make.refs,
        captured="{{ results.labelled_traffic.manifest }}",
        labels="{{ results.labelled_traffic.labels }}",
        baseline="{{ results.judged_version.quality }}",
        output=folder,
        settings={
            contract.START_TIME: "{{ results.judged_version.start }}",
            contract.END_TIME: "{{ results.judged_version.end }}",
            contract.EXCLUDED_INFERENCE_IDS: VERIFICATION,
        },
    )
    doc = "Joins the requests with their labels and holds the predictions against the version's evaluation."
    check = make.job("quality_check", "checks", "processing", request, doc=doc)
    verdict = QualityVerdictOperator(
        task_id="quality_verdict",
        task_group=make.group("checks"),
        folder=folder,
        **make.common,
    )
    chain(ingest, labelled, judged, check, verdict)
    return verdict

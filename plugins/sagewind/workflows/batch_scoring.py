"""`<model>_batch_scoring`: scores of the newest approved model, without a live endpoint."""

from __future__ import annotations

from airflow.sdk import DAG, chain

from sagewind.operators.checks import BatchCheckOperator
from sagewind.operators.flow import PublishOperator
from sagewind.operators.registry import NewestApprovedOperator
from sagewind.operators.resources import ResourceOperator
from sagewind.pipeline import source
from sagewind.pipeline.requests import serving
from sagewind.pipeline.spec import ModelSpec
from sagewind.workflows.chain import Chain
from sagewind.workflows.common import make_dag, text_param, timetable, value

DOC = """### Batch scoring with `{name}`

{description}

Takes the newest approved version, scores every row of the source (feature columns in training order, no header),
checks that every row came back with a number, and publishes the scores under a place of this run.
"""


def batch_scoring_dag(spec: ModelSpec) -> DAG:
    """The DAG."""
    params = {
        "rows": text_param(
            "Rows to score",
            "an s3:// prefix without a slash at the end",
            spec.batch.source or "the test rows of the version that scores",
            pattern=source.field(source.S3_PREFIX),
            maxLength=1023,  # SageMaker takes one more, and a slash is added
        )
    }
    schedule = timetable(spec.batch.schedule)
    doc = DOC.format(name=spec.name, description=spec.description)
    with make_dag(spec, "batch_scoring", doc=doc, tags=["production"], schedule=schedule, params=params) as dag:
        make = Chain(spec, rehearsal=False)
        default = spec.batch.source or "{{ results.newest.prefix }}/prepare/batch"
        rows = "{% if params.rows %}{{ params.rows }}{% else %}" + default + "{% endif %}"
        scores = "{{ plan.prefix }}/batch"
        newest = NewestApprovedOperator(task_id="newest", task_group=make.group("data"), group=spec.name, **make.common)
        request = serving.transform(
            spec,
            model_name="{{ results.create_model.name }}",
            source=f"{rows}/",  # without the slash, `data` would also mean `data-old`
            output=scores,
        )
        check = BatchCheckOperator(
            task_id="batch_check", task_group=make.group("checks"), source=rows, scores=scores, **make.common
        )
        publish = PublishOperator(
            task_id="publish",
            task_group=make.group("release"),
            source=scores,
            target="{{ plan.scores }}",
            **make.common,
        )
        chain(
            make.ingest(),
            newest,
            ResourceOperator(
                task_id="create_model",
                task_group=make.group("serving"),
                resource="model",
                request=serving.approved_model(spec, make.refs, package_arn=value("newest", "arn")),
                **make.common,
            ),
            make.batch_transform(request),
            check,
            publish,
        )
        make.end([publish], everything=False)
    return dag

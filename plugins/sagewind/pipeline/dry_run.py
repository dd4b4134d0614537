"""`python -m sagewind.pipeline.dry_run MODEL`: print every request of a run and what it may cost; nothing is sent."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sagewind.pipeline import bundle, names, plan, prices
from sagewind.pipeline.errors import ModelFileError
from sagewind.pipeline.load import load_model
from sagewind.pipeline.project import MODELS, nearest
from sagewind.pipeline.refs import RunRefs
from sagewind.pipeline.requests import processing, registry, serving, training, tuning
from sagewind.pipeline.spec import ModelSpec

ACCOUNT = "123456789012"
RUN = "dry-run"


#: Operation -> field of the name that the owning task adds.
_NAME_FIELDS = {
    "CreateProcessingJob": "ProcessingJobName",
    "CreateTrainingJob": "TrainingJobName",
    "CreateHyperParameterTuningJob": "HyperParameterTuningJobName",
    "CreateTransformJob": "TransformJobName",
    "CreateModel": "ModelName",
    "CreateEndpointConfig": "EndpointConfigName",
}


def named(spec: ModelSpec, task: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """The request with the name that the task gives it (owner tags are added as well when it is sent)."""
    field = _NAME_FIELDS.get(operation)
    if field is None:
        return request
    run: dict[str, Any] = {"dag_id": f"{spec.name}_training", "run_id": RUN}
    if operation in ("CreateModel", "CreateEndpointConfig"):
        return {field: names.resource_name(spec.name, "", fingerprint="0000", **run), **request}
    limit = names.TUNING_NAME_LIMIT if operation.startswith("CreateHyper") else names.JOB_NAME_LIMIT
    step = task.replace("_", "-")
    return {field: names.job_name(spec.name, step, task_id=task, limit=limit, **run), **request}


def requests(spec: ModelSpec, refs: RunRefs, made: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(task, operation, request) for every call of a training run that creates something, in order."""
    for task, operation, request in _requests(spec, refs, made):
        yield task, operation, named(spec, task, operation, request)


def _requests(spec: ModelSpec, refs: RunRefs, made: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    prefix, group = made["prefix"], made["names"]["group"]
    yield "prepare", "CreateProcessingJob", processing.prepare(spec, refs)
    yield "baseline", "CreateProcessingJob", processing.baseline(spec, refs)
    if spec.tune:
        yield "tune", "CreateHyperParameterTuningJob", tuning.tune(spec, refs)
    else:
        yield "train", "CreateTrainingJob", training.train(spec, refs)
    yield "evaluate", "CreateProcessingJob", processing.evaluate(spec, refs)
    yield "register", "CreateModelPackageGroup", {"ModelPackageGroupName": group, **registry.group(spec)}
    yield "register", "CreateModelPackage", registry.package(spec, refs, group_name=group)
    yield "create_model", "CreateModel", serving.model(spec, refs)
    model_name = refs.result("create_model", "name")
    yield "endpoint_config", "CreateEndpointConfig", serving.endpoint_config(spec, refs, model_name=model_name)
    endpoint = {"EndpointName": made["names"]["endpoint"], "EndpointConfigName": model_name}
    yield "deploy", "CreateEndpoint", endpoint
    transform = serving.transform(
        spec, model_name=model_name, source=f"{prefix}/prepare/batch", output=f"{prefix}/batch"
    )
    yield "batch_transform", "CreateTransformJob", transform


def stand_ins(spec: ModelSpec, made: dict[str, Any]) -> dict[tuple[str, str], str]:
    """What tasks of a real run would return."""
    arn = f"arn:{plan.partition(made['region'])}:sagemaker:{made['region']}:{made['account']}"
    return {
        (spec.fit_task, "artifact"): f"{made['prefix']}/{spec.fit_task}/{spec.name}-best/output/model.tar.gz",
        ("register", "arn"): f"{arn}:model-package/{made['names']['group']}/1",
        ("create_model", "name"): names.resource_name(
            spec.name, "", dag_id=f"{spec.name}_training", run_id=RUN, fingerprint="0000"
        ),
    }


def make_plan(spec: ModelSpec, project: Path, region: str, rehearsal: bool = False) -> dict[str, Any]:
    """The plan of an imagined run."""
    return plan.make(
        spec,
        dag_id=f"{spec.name}_training",
        run_id=RUN,
        account=ACCOUNT,
        region=region,
        source=spec.data.source,
        window_start=None,
        window_end=datetime(2026, 1, 1, tzinfo=UTC),
        code_hash=bundle.digest(bundle.job_files(), bundle.script_files(spec.train, project)),
        rehearsal=rehearsal,
    )


def render(spec: ModelSpec, project: Path, region: str) -> str:
    """The whole print-out."""
    made = make_plan(spec, project, region)
    refs = plan.refs(made, stand_ins(spec, made))
    lines = [f"# {spec.name}: requests of a training run in {region}; nothing is sent", ""]
    for task, operation, request in requests(spec, refs, made):
        lines += [f"## {task}: {operation}", json.dumps(request, indent=2), ""]
    lines.append("## What it may cost (US dollars, us-east-1 on demand, every job at its time limit)")
    for line in prices.estimate(spec):
        cost = "unknown" if line.dollars is None else f"{line.dollars:8.2f}"
        lines.append(f"{line.what:10} {line.machines:3} x {line.instance.type:16} {cost}")
    daily = prices.endpoint_dollars_per_day(spec)
    shown = "unknown" if daily is None else f"{daily:.2f} a day, used or not, until it is deleted"
    lines.append(f"endpoint   {spec.deploy.instance.count:3} x {spec.deploy.instance.type:16} {shown}")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Command line; exit code 2 on a model file that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m sagewind.pipeline.dry_run", description=__doc__)
    parser.add_argument("model", help="name of a file in include/models")
    parser.add_argument("--region", default="us-east-1", help="AWS region (default: %(default)s)")
    arguments = parser.parse_args(argv)
    project = nearest(Path.cwd()) or Path.cwd()
    try:
        sys.stdout.write(render(load_model(arguments.model, project / MODELS), project, arguments.region))
    except ModelFileError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

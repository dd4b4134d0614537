"""How a training job runs: channels in, program, model out; its status and every step of it with times."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from include.localaws import execution, s3data
from include.localaws.context import Context
from include.localaws.metrics import MetricReader, definitions
from include.localaws.outcome import Outcome, decide
from include.localaws.scheduler import Ticket
from include.localaws.states import Transitions

KIND = "training-job"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
METRIC_NAMESPACE = "/aws/sagemaker/TrainingJobs"
TRANSITIONS = Transitions(
    {
        ("InProgress", "finish"): "Completed",
        ("InProgress", "fail"): "Failed",
        ("InProgress", "stop"): "Stopping",
        ("InProgress", "stopped"): "Stopped",  # at its time limit
        ("Stopping", "stopped"): "Stopped",
        ("Stopping", "finish"): "Completed",  # it had ended before the stop reached it
        ("Stopping", "fail"): "Failed",
    }
)
STEPS = ("Starting", "Downloading", "Training", "Uploading")
SECONDARY = Transitions(
    {
        **{(before, "next"): after for before, after in pairwise(STEPS)},
        **{(step, "stop"): "Stopping" for step in STEPS},
        **{
            (step, end): end
            for step in (*STEPS, "Stopping")
            for end in ("Completed", "Failed", "Stopped", "MaxRuntimeExceeded")
        },
    }
)
MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}


def first_step(now: float) -> list[dict[str, Any]]:
    """SecondaryStatusTransitions of a job that was just created."""
    return [{"Status": "Starting", "StartTime": now, "StatusMessage": MESSAGES["Starting"]}]


def advanced(steps: list[dict[str, Any]], status: str, now: float) -> list[dict[str, Any]]:
    """The steps with the last one ended and a new one begun; a last status begins and ends at once."""
    ended = [*steps[:-1], {**steps[-1], "EndTime": now}]
    new = {"Status": status, "StartTime": now, "StatusMessage": MESSAGES[status]}
    if status in SECONDARY.terminal:
        new["EndTime"] = now
    return [*ended, new]


def next_step(ctx: Context, name: str, **changes: Any) -> None:
    """Go on to the next step; a job that is being stopped stays Stopping."""
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        assert found is not None
        if found.body["SecondaryStatus"] != "Stopping":
            status = SECONDARY.next(found.body["SecondaryStatus"], "next")
            steps = advanced(found.body["SecondaryStatusTransitions"], status, ctx.clock())
            changes |= {"SecondaryStatus": status, "SecondaryStatusTransitions": steps}
        ctx.store.update(KIND, name, **changes)


def finish(ctx: Context, name: str, outcome: Outcome, **changes: Any) -> None:
    """Write a job's end: status, last step, times and reason."""
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        assert found is not None
        body, now = found.body, ctx.clock()
        status = SECONDARY.next(body["SecondaryStatus"], outcome.secondary)
        changes |= {
            "SecondaryStatus": status,
            "SecondaryStatusTransitions": advanced(body["SecondaryStatusTransitions"], status, now),
            "FailureReason": outcome.reason,
        }
        if start := body.get("TrainingStartTime"):
            seconds = math.ceil(now - start)
            changes |= {
                "TrainingEndTime": now, "TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds,
            }  # fmt: skip
        ctx.store.transition(KIND, name, TRANSITIONS, outcome.event, **changes)


def stop(ctx: Context, name: str) -> bool:
    """Begin to stop a job; False when its status forbids it."""
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        if found is None or not TRANSITIONS.allows(found.status, "stop"):
            return False
        steps = advanced(found.body["SecondaryStatusTransitions"], "Stopping", ctx.clock())
        ctx.store.transition(
            KIND, name, TRANSITIONS, "stop", SecondaryStatus="Stopping", SecondaryStatusTransitions=steps
        )
    ctx.jobs.stop(KIND, name)
    return True


def submit(ctx: Context, name: str) -> Ticket:
    """Put a stored job into the schedule."""
    return ctx.jobs.submit(KIND, name, lambda ticket: run(ctx, ticket))


def model_uri(request: dict[str, Any]) -> str:
    """Where the model goes: an archive, or a prefix when it is not to be packed."""
    output = request["OutputDataConfig"]
    packed = output.get("CompressionType", "GZIP") == "GZIP"
    home = s3data.join(output["S3OutputPath"], request["TrainingJobName"], "output")
    return f"{home}/model.tar.gz" if packed else f"{home}/model/"


def run(ctx: Context, ticket: Ticket) -> None:
    """Do the whole work of a job and write its end."""
    name = ticket.name
    found = ctx.store.get(KIND, name)
    assert found is not None
    request = found.body
    root = execution.job_root(ctx, KIND, name)
    try:
        reader = _reader(ctx, request)
        outcome = execution.conclude(ctx, ticket, lambda: _work(ctx, ticket, request, found.arn, root, reader))
        finish(ctx, name, outcome, FinalMetricDataList=reader.final() or None)
    finally:
        execution.remove_root(ctx, KIND, name)


def _reader(ctx: Context, request: dict[str, Any]) -> MetricReader:
    algorithm = request["AlgorithmSpecification"]
    image = ctx.images.resolve(algorithm["TrainingImage"])
    dimensions = {"TrainingJobName": request["TrainingJobName"]}
    return MetricReader(
        definitions(algorithm.get("MetricDefinitions", ()), image.metrics),
        lambda name, value, moment: ctx.metrics.put(METRIC_NAMESPACE, name, value, dimensions, timestamp=moment),
    )


def _work(ctx: Context, ticket: Ticket, request: dict[str, Any], arn: str, root: Path, reader: MetricReader) -> Outcome:
    algorithm = request["AlgorithmSpecification"]
    image = ctx.images.resolve(algorithm["TrainingImage"])
    next_step(ctx, ticket.name, TrainingStartTime=ctx.clock())
    _lay_out(ctx, request, root)
    env = {
        **execution.base_environment(ctx),
        "TRAINING_JOB_NAME": ticket.name,
        "TRAINING_JOB_ARN": arn,
        **request.get("Environment", {}),
    }
    argv = execution.command(
        image, "train", algorithm.get("ContainerEntrypoint", ()), algorithm.get("ContainerArguments", ())
    )
    next_step(ctx, ticket.name)
    with ctx.logs.open(LOG_GROUP, f"{ticket.name}/algo-1-{int(ctx.clock())}") as log:

        def on_line(line: str) -> None:
            log.write(line)
            reader.feed(line, ctx.clock())

        ended = execution.attend(
            ctx,
            ticket,
            argv=argv,
            env=env,
            root=root,
            image=image,
            on_line=on_line,
            network=not request.get("EnableNetworkIsolation", False),
            limit=request["StoppingCondition"]["MaxRuntimeInSeconds"],
        )
    outcome = decide(ended, execution.read_text(root / "output" / "failure"))
    if outcome.artifacts:
        next_step(ctx, ticket.name)
        _upload(ctx, request, root)
    return outcome


def _lay_out(ctx: Context, request: dict[str, Any], root: Path) -> None:
    """The directories, configuration files and channels of the container contract."""
    for folder in ("input/config", "input/data", "model", "output/data", "code", "checkpoints"):
        (root / folder).mkdir(parents=True)
    config = root / "input" / "config"
    channels = {}
    for channel in request.get("InputDataConfig", ()):
        source = channel["DataSource"]["S3DataSource"]
        given = {
            "ContentType": channel.get("ContentType"),
            "TrainingInputMode": "File",
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        channels[channel["ChannelName"]] = {k: v for k, v in given.items() if v is not None}
    execution.write_json(config / "hyperparameters.json", request.get("HyperParameters", {}))
    execution.write_json(config / "inputdataconfig.json", channels)
    instance = request["ResourceConfig"]["InstanceType"]
    execution.write_json(config / "resourceconfig.json", execution.resource_config(instance))
    for channel in request.get("InputDataConfig", ()):
        source = channel["DataSource"]["S3DataSource"]
        folder = root / "input" / "data" / channel["ChannelName"]
        s3data.fetch(ctx.s3, source["S3DataType"], source["S3Uri"], folder)


def _upload(ctx: Context, request: dict[str, Any], root: Path) -> None:
    uri = model_uri(request)
    packed = uri.endswith(".tar.gz")
    if packed:
        s3data.upload_archive(ctx.s3, root / "model", uri, root.with_name("model.tar.gz"))
    else:
        s3data.upload_tree(ctx.s3, root / "model", uri)
    output = root / "output" / "data"
    if output.is_dir() and any(output.iterdir()):
        home = s3data.join(request["OutputDataConfig"]["S3OutputPath"], request["TrainingJobName"], "output")
        if packed:
            s3data.upload_archive(ctx.s3, output, f"{home}/output.tar.gz", root.with_name("output.tar.gz"))
        else:
            s3data.upload_tree(ctx.s3, output, f"{home}/output/")

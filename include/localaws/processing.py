"""How a processing job runs: inputs in, program, outputs out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from include.localaws import execution, s3data
from include.localaws.context import Context
from include.localaws.outcome import REASON_LENGTH, Outcome, decide
from include.localaws.scheduler import Ticket
from include.localaws.states import Transitions

KIND = "processing-job"
LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
LOCAL_ROOT = Path("/")  # where paths below /opt/ml are checked, before a job has a directory
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


def submit(ctx: Context, name: str) -> None:
    """Put a stored job into the schedule."""
    ctx.jobs.submit(KIND, name, lambda ticket: run(ctx, ticket))


def run(ctx: Context, ticket: Ticket) -> None:
    """Do the whole work of a job and write its end."""
    name = ticket.name
    found = ctx.store.get(KIND, name)
    assert found is not None
    request = found.body
    root = execution.job_root(ctx, KIND, name)
    try:
        outcome = execution.conclude(ctx, ticket, lambda: _work(ctx, ticket, request, found.arn, root))
        message = execution.read_text(root / "output" / "message")[:REASON_LENGTH]
        ctx.store.transition(
            KIND, name, TRANSITIONS, outcome.event, ProcessingEndTime=ctx.clock(),
            FailureReason=outcome.reason, ExitMessage=message or None,
        )  # fmt: skip
    finally:
        execution.remove_root(ctx, KIND, name)


def _work(ctx: Context, ticket: Ticket, request: dict[str, Any], arn: str, root: Path) -> Outcome:
    application = request["AppSpecification"]
    image = ctx.images.resolve(application["ImageUri"])
    ctx.store.update(KIND, ticket.name, ProcessingStartTime=ctx.clock())
    _lay_out(ctx, request, arn, root)
    env = {
        **execution.base_environment(ctx),
        "PROCESSING_JOB_NAME": ticket.name,
        "PROCESSING_JOB_ARN": arn,
        **request.get("Environment", {}),
    }
    argv = execution.command(
        image, "process", application.get("ContainerEntrypoint", ()), application.get("ContainerArguments", ())
    )
    stream = f"{ticket.name}/algo-1-{int(ctx.clock())}"
    with ctx.logs.open(LOG_GROUP, stream) as log:
        ended = execution.attend(
            ctx,
            ticket,
            argv=argv,
            env=env,
            root=root,
            image=image,
            on_line=log.write,
            network=not request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
            limit=request["StoppingCondition"]["MaxRuntimeInSeconds"],
        )
    outcome = decide(ended, execution.read_text(root / "output" / "failure"))
    if outcome.artifacts:
        for output in request.get("ProcessingOutputConfig", {}).get("Outputs", ()):
            s3 = output["S3Output"]
            s3data.upload_tree(ctx.s3, execution.inside(root, s3["LocalPath"]), s3["S3Uri"])
    return outcome


def _lay_out(ctx: Context, request: dict[str, Any], arn: str, root: Path) -> None:
    """The directories, configuration files and inputs of the container contract."""
    cluster = request["ProcessingResources"]["ClusterConfig"]
    config = {"ProcessingJobArn": arn, **request}
    execution.write_json(root / "config" / "processingjobconfig.json", config)
    execution.write_json(root / "config" / "resourceconfig.json", execution.resource_config(cluster["InstanceType"]))
    (root / "output").mkdir()
    for output in request.get("ProcessingOutputConfig", {}).get("Outputs", ()):
        execution.inside(root, output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)
    for given in request.get("ProcessingInputs", ()):
        s3 = given["S3Input"]
        s3data.fetch(ctx.s3, s3["S3DataType"], s3["S3Uri"], execution.inside(root, s3["LocalPath"]))

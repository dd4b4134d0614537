"""Names of the tags, and of a model package's properties, that we write on SageMaker's things and read again."""

from __future__ import annotations

#: How each of our tags and properties begins.
PREFIX = "sagewind:"

#: Who owns a thing: which Airflow of the account, model, DAG, run, task (with `/<map index>` if it is mapped), try.
ENVIRONMENT, MODEL, DAG, RUN, TASK, TRY = "environment", "model", "dag", "run", "task", "try"
#: Which job of its task it is, and the hash of the request that it was made from.
GENERATION, FINGERPRINT = "generation", "fingerprint"
#: ISO time after which housekeeping may remove it.
EXPIRES = "expires"
#: Why one of us stopped the job; that its task has returned it.
STOP, HANDED = "stop", "handed"
#: Of an endpoint config: ARN of the version that it serves, and the config that served before.
PACKAGE, PREVIOUS = "package", "previous"
#: Properties of a model package: hash of its run, S3 folders of the run and of the monitor's baseline.
RUN_HASH, RUN_FOLDER, BASELINE = "run_hash", "prefix", "baseline"


def full(key: str) -> str:
    """The whole name, as AWS holds it."""
    return PREFIX + key


def ours(held: dict[str, str]) -> dict[str, str]:
    """Of all tags or properties of a thing those that are ours, without the prefix."""
    return {key.removeprefix(PREFIX): value for key, value in held.items() if key.startswith(PREFIX)}

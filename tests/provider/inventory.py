"""What the provider has for SageMaker, read from its modules; what of it is refused here, by name."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import botocore.session
from airflow.providers.amazon.aws import waiters
from airflow.providers.amazon.aws.operators import sagemaker as operators
from airflow.providers.amazon.aws.sensors import sagemaker as sensors
from airflow.providers.amazon.aws.triggers import sagemaker as triggers

# Kinds of resources that the endpoint refuses; each must end with its sentence (test_refused.py).
REFUSED = {
    "SageMakerAutoMLOperator",
    "SageMakerAutoMLSensor",
    "SageMakerCreateExperimentOperator",
    "SageMakerCreateNotebookOperator",
    "SageMakerStartNoteBookOperator",
    "SageMakerStopNotebookOperator",
    "SageMakerDeleteNotebookOperator",
    "SageMakerStartPipelineOperator",
    "SageMakerStopPipelineOperator",
    "SageMakerPipelineSensor",
    "SageMakerPipelineTrigger",
    "PipelineExecutionComplete",
    "PipelineExecutionStopped",
    "ImageCreated",
    "ImageDeleted",
    "ImageUpdated",
    "ImageVersionCreated",
    "ImageVersionDeleted",
    "NotebookInstanceDeleted",
    "NotebookInstanceInService",
    "NotebookInstanceStopped",
}
# SageMaker Unified Studio is another service (DataZone): its operators do not talk to this endpoint.
OTHER_SERVICES = {"sagemaker_unified_studio", "sagemaker_unified_studio_notebook"}


def classes(module: ModuleType) -> dict[str, type[Any]]:
    """The classes that users of a module meet: defined there, not a base of others."""
    found = {name: value for name, value in vars(module).items() if inspect.isclass(value)}
    own = {name: value for name, value in found.items() if value.__module__ == module.__name__}
    bases = {base for value in own.values() for base in value.__bases__}
    return {
        name: value
        for name, value in own.items()
        if value not in bases and not name.startswith("_") and name.startswith("SageMaker")
    }


OPERATORS = classes(operators)
SENSORS = classes(sensors)
TRIGGERS = classes(triggers)


def provider_waiters() -> list[str]:
    """The waiters that the provider adds to boto3's."""
    file = Path(str(waiters.__file__)).with_name("sagemaker.json")
    return list(json.loads(file.read_text())["waiters"])


def boto_waiters() -> list[str]:
    """boto3's own waiters of the service."""
    return list(botocore.session.get_session().get_waiter_model("sagemaker").waiter_names)


def everything() -> set[str]:
    """All names that tests must have run: classes, what a deferred operator goes on with, waiters."""
    resumed = {f"{name}.execute_complete" for name, value in OPERATORS.items() if hasattr(value, "execute_complete")}
    return {*OPERATORS, *SENSORS, *TRIGGERS, *resumed, *provider_waiters(), *boto_waiters()}

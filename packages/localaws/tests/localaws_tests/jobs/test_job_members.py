"""No member of a Create request is ignored: each is acted on, echoed only, or refused, and listed as such.

The members come from botocore's model: one that a new version brings fails here until somebody decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import botocore.session
import pytest

from localaws.resources import processing_job, training_job

HONOURED = {
    "CreateTrainingJob": (
        "TrainingJobName",
        "HyperParameters",
        "AlgorithmSpecification.TrainingImage",
        "AlgorithmSpecification.TrainingInputMode",
        "AlgorithmSpecification.MetricDefinitions",
        "AlgorithmSpecification.ContainerEntrypoint",
        "AlgorithmSpecification.ContainerArguments",
        "InputDataConfig.ChannelName",
        "InputDataConfig.ContentType",
        "InputDataConfig.CompressionType",
        "InputDataConfig.RecordWrapperType",
        "InputDataConfig.InputMode",
        "InputDataConfig.ShuffleConfig",
        "InputDataConfig.DataSource.S3DataSource.S3DataType",
        "InputDataConfig.DataSource.S3DataSource.S3Uri",
        "InputDataConfig.DataSource.S3DataSource.S3DataDistributionType",
        "InputDataConfig.DataSource.S3DataSource.AttributeNames",
        "InputDataConfig.DataSource.S3DataSource.InstanceGroupNames",
        "OutputDataConfig.S3OutputPath",
        "OutputDataConfig.CompressionType",
        "ResourceConfig.InstanceType",
        "ResourceConfig.InstanceCount",
        "ResourceConfig.InstanceGroups",
        "ResourceConfig.KeepAlivePeriodInSeconds",
        "StoppingCondition.MaxRuntimeInSeconds",
        "StoppingCondition.MaxWaitTimeInSeconds",
        "Tags",
        "EnableNetworkIsolation",
        "EnableManagedSpotTraining",
        "CheckpointConfig",
        "Environment",
        "RetryStrategy",
    ),
    "CreateProcessingJob": (
        "ProcessingJobName",
        "ProcessingInputs.InputName",
        "ProcessingInputs.S3Input",
        "ProcessingOutputConfig.Outputs.OutputName",
        "ProcessingOutputConfig.Outputs.S3Output",
        "ProcessingResources.ClusterConfig.InstanceCount",
        "ProcessingResources.ClusterConfig.InstanceType",
        "StoppingCondition",
        "AppSpecification",
        "Environment",
        "NetworkConfig.EnableNetworkIsolation",
        "Tags",
    ),
}
MODULES = {"CreateTrainingJob": training_job, "CreateProcessingJob": processing_job}


def leaves(shape: Any, path: str = "") -> Iterator[str]:
    """The dotted paths of all members that hold no further structure."""
    if shape.type_name == "list":
        yield from leaves(shape.member, path)
    elif shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from leaves(member, f"{path}.{name}" if path else name)
    else:
        yield path


def covered(path: str, by: tuple[str, ...]) -> list[str]:
    return [entry for entry in by if path == entry or path.startswith(f"{entry}.")]


@pytest.mark.parametrize("operation", MODULES)
def test_every_member_is_acted_on_echoed_or_refused(operation: str) -> None:
    module: ModuleType = MODULES[operation]
    model = botocore.session.get_session().get_service_model("sagemaker")
    paths = set(leaves(model.operation_model(operation).input_shape))
    lists = (module.UNSUPPORTED, module.ECHOED, HONOURED[operation])
    assert [p for p in sorted(paths) if not any(covered(p, by) for by in lists)] == []
    both = [p for p in paths if covered(p, module.UNSUPPORTED) and covered(p, module.ECHOED)]
    assert both == []
    for by in lists:  # nothing in the lists that the model does not have
        assert [entry for entry in by if not any(covered(p, (entry,)) for p in paths)] == []

"""CreateTrainingJob requests, and the training part that tuning shares."""

from __future__ import annotations

import json
from typing import Any

from sagewind.facts import contract
from sagewind.pipeline.refs import RunRefs
from sagewind.pipeline.requests.common import container_network, kms, s3_channel, stopping
from sagewind.pipeline.spec import ModelSpec

#: Where the channel `code` lands; the toolkit takes its program from there, so an isolated container needs no network.
CODE_CHANNEL = f"{contract.ROOT}/input/data/{contract.CODE}/sourcedir.tar.gz"
#: Metrics that a training script prints as `name=value` (see plugins/sagewind/jobs/train.py).
SCRIPT_METRICS = tuple(
    f"validation:{name}" for name in ("auc", "accuracy", "logloss", "f1", "weighted_f1", "rmse", "mae", "mse", "r2")
)


def hyperparameters(spec: ModelSpec, *, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """Hyper-parameters as the strings that SageMaker passes; a script's are JSON, as AWS's toolkit expects."""
    plain = {key: value for key, value in spec.train.hyperparameters.items() if key not in leave_out}
    if spec.train.script is None:
        return {key: _text(value) for key, value in plain.items()}
    toolkit = {"sagemaker_program": spec.train.program, "sagemaker_submit_directory": CODE_CHANNEL}
    return {key: json.dumps(value) for key, value in {**plain, **toolkit}.items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def algorithm_specification(spec: ModelSpec, refs: RunRefs) -> dict[str, Any]:
    """Image and input mode; metric patterns for scripts (AWS knows those of its built-in algorithms)."""
    specification: dict[str, Any] = {
        "TrainingImage": refs.images[spec.train.image],
        "TrainingInputMode": "File",
    }
    if spec.train.script is not None:
        names = dict.fromkeys((*SCRIPT_METRICS, *((spec.tune.objective.metric,) if spec.tune else ())))
        specification["MetricDefinitions"] = [{"Name": name, "Regex": f"{name}=([-+0-9.eE]+)"} for name in names]
    return specification


def definition(spec: ModelSpec, refs: RunRefs) -> dict[str, Any]:
    """What a training job and the trainings of a tuning job have in common."""
    channels = [
        s3_channel(contract.TRAIN, refs.prepared(contract.TRAIN)),
        s3_channel(contract.VALIDATION, refs.prepared(contract.VALIDATION)),
    ]
    if spec.train.script is not None:
        channels.append(s3_channel(contract.CODE, refs.sourcedir, content_type=None))
    return {
        "InputDataConfig": channels,
        "OutputDataConfig": {
            "S3OutputPath": f"{refs.prefix}/{spec.fit_task}",
            **kms(spec.aws, "KmsKeyId"),
        },
        "ResourceConfig": {
            "InstanceCount": spec.train.instance.count,
            "InstanceType": spec.train.instance.type,
            "VolumeSizeInGB": spec.train.instance.volume_gb,
            **kms(spec.aws, "VolumeKmsKeyId"),
        },
        "RoleArn": refs.role_arn,
        "StoppingCondition": stopping(spec.train.instance),
        **container_network(spec.aws),
    }


def train(spec: ModelSpec, refs: RunRefs) -> dict[str, Any]:
    """One training with the hyper-parameters of the model file."""
    return {
        "AlgorithmSpecification": algorithm_specification(spec, refs),
        "HyperParameters": hyperparameters(spec),
        **definition(spec, refs),
    }

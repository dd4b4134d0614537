"""The SM_* environment and the arguments of a script-mode training program.

Source: ENVIRONMENT_VARIABLES.md of aws/sagemaker-training-toolkit.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container_toolkit import base

PLATFORM_PREFIX = "sagemaker_"
PLATFORM_NAMES = ("default_user_module_name", "_tuning_objective_metric")
HOMOGENEOUS = "homogeneousCluster"
_ONLY_AS_A_WHOLE = (
    *("channel_input_dirs", "hyperparameters", "additional_framework_parameters", "job_name", "is_master", "topology"),
    *("master_hostname", "is_smddpmprun_installed", "is_smddprun_installed", "distribution_hosts"),
    "is_modelparallel_enabled",
)
"""Members of SM_TRAINING_ENV that have no variable of their own."""


def decode_hyperparameters(raw: dict[str, str]) -> dict[str, Any]:
    """SageMaker passes texts; what is JSON becomes its value (the SDK encodes all), the rest stays text."""
    return {name: _decode(value) for name, value in raw.items()}


def _decode(value: Any) -> Any:
    try:
        return json.loads(value)
    except (ValueError, TypeError):
        return value


def command_arguments(hyperparameters: dict[str, Any]) -> list[str]:
    """`--name value` by name; one-letter names get one dash, mappings become `k=v,k=v`."""
    arguments = []
    for name in sorted(hyperparameters):
        value = hyperparameters[name]
        if isinstance(value, dict):
            value = ",".join(f"{k}={v}" for k, v in sorted(value.items()))
        arguments += [f"--{name}" if len(name) > 1 else f"-{name}", "" if value is None else str(value)]
    return arguments


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class TrainingEnvironment:
    """The snapshot of a training container that script mode hands to the user's program."""

    hyperparameters: dict[str, Any]
    platform: dict[str, Any]
    resources: dict[str, Any]
    channels: dict[str, Any]

    @classmethod
    def read(cls) -> "TrainingEnvironment":
        """From the files under input/config."""
        every = decode_hyperparameters(base.read_config("hyperparameters", {}))
        platform = {k: v for k, v in every.items() if k.startswith(PLATFORM_PREFIX) or k in PLATFORM_NAMES}
        return cls(
            hyperparameters={k: v for k, v in every.items() if k not in platform},
            platform=platform,
            resources=base.read_config("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1"]}),
            channels=base.read_config("inputdataconfig", {}),
        )

    @property
    def program(self) -> str | None:
        """The user's entry point: SAGEMAKER_PROGRAM or the hyperparameter sagemaker_program."""
        return os.environ.get("SAGEMAKER_PROGRAM") or self.platform.get("sagemaker_program")

    @property
    def source(self) -> str:
        """Where the user's code comes from: s3://, a tar.gz, a directory; the code directory when none is named."""
        named = self.platform.get("sagemaker_submit_directory") or os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY")
        return str(named or base.code_dir())

    def _values(self) -> dict[str, Any]:
        """What SM_TRAINING_ENV shows as a whole and SM_* one by one."""
        root, resources = base.base_dir(), self.resources
        hosts, host = resources["hosts"], resources["current_host"]
        groups = {group["instance_group_name"]: group for group in resources.get("instance_groups", [])}
        group = resources.get("current_group_name", HOMOGENEOUS)
        program = self.program or ""
        known = ("sagemaker_program", "sagemaker_submit_directory", "sagemaker_region", "sagemaker_job_name")
        known += ("sagemaker_container_log_level", "sagemaker_enable_cloudwatch_metrics", "sagemaker_s3_output")
        return {
            "additional_framework_parameters": {
                k: v for k, v in self.platform.items() if k not in (*known, *PLATFORM_NAMES)
            },
            "channel_input_dirs": {name: str(base.channel_dir(name)) for name in self.channels},
            "current_host": host,
            "current_instance_group": group,
            "current_instance_group_hosts": groups.get(group, {}).get("hosts", []),
            "current_instance_type": resources.get("current_instance_type", "local"),
            "distribution_hosts": [],
            "distribution_instance_groups": [],
            "framework_module": None,
            "hosts": hosts,
            "hyperparameters": self.hyperparameters,
            "input_config_dir": str(root / "input" / "config"),
            "input_data_config": self.channels,
            "input_dir": str(root / "input"),
            "instance_groups": list(groups),
            "instance_groups_dict": groups,
            "is_hetero": len(groups) > 1,
            "is_master": host == hosts[0],
            "is_modelparallel_enabled": None,
            "is_smddpmprun_installed": False,
            "is_smddprun_installed": False,
            "job_name": os.environ.get("TRAINING_JOB_NAME") or self.platform.get("sagemaker_job_name"),
            "log_level": self.platform.get("sagemaker_container_log_level", 20),
            "master_hostname": hosts[0],
            "model_dir": str(base.model_dir()),
            "module_dir": self.source,
            "module_name": program.removesuffix(".py"),
            "network_interface_name": resources.get("network_interface_name", "eth0"),
            "num_cpus": os.cpu_count() or 1,
            "num_gpus": 0,
            "num_neurons": 0,
            "output_data_dir": str(root / "output" / "data"),
            "output_dir": str(root / "output"),
            "output_intermediate_dir": str(root / "output" / "intermediate"),
            "resource_config": resources,
            "topology": [],
            "user_entry_point": self.program,
        }

    def variables(self) -> dict[str, str]:
        """The SM_* variables."""
        values = self._values()
        shown: dict[str, Any] = {name: value for name, value in values.items() if name not in _ONLY_AS_A_WHOLE}
        shown |= {
            "channels": sorted(self.channels),
            "framework_params": values["additional_framework_parameters"],
            "hps": self.hyperparameters,
            "training_env": values,
            "user_args": command_arguments(self.hyperparameters),
        }
        shown |= {f"channel_{name}": path for name, path in values["channel_input_dirs"].items()}
        shown |= {f"hp_{name}": value for name, value in self.hyperparameters.items()}
        return {f"SM_{name.upper()}": _text(value) for name, value in shown.items()}

    def make_directories(self) -> None:
        """The directories that a program may write to without making them."""
        for path in ("model", "output/data", "output/intermediate"):
            (base.base_dir() / Path(path)).mkdir(parents=True, exist_ok=True)

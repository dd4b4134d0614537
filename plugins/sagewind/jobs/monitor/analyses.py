"""Which program does which `analysis_type`; each is loaded only when it is asked for."""

from __future__ import annotations

import os
from importlib import import_module

from sagewind.facts import contract
from sagewind.jobs.job import UserError

#: Value of the setting `analysis_type` -> "module:function" of the program.
ANALYSES = {
    "DATA_QUALITY": "sagewind.jobs.monitor.data_quality:main",
    "MODEL_QUALITY": "sagewind.jobs.quality.analyze:main",
    # These two values are ours: AWS has a container of its own for them.
    "MODEL_BIAS": "sagewind.jobs.bias.analyze:main",
    "MODEL_EXPLAINABILITY": "sagewind.jobs.explain.analyze:main",
}
DEFAULT = "DATA_QUALITY"


def main() -> None:
    """Run the analysis that the environment names."""
    kind = os.environ.get(contract.ANALYSIS_TYPE) or DEFAULT
    if kind not in ANALYSES:
        raise UserError(f"the setting {contract.ANALYSIS_TYPE} is {kind!r}: use one of {', '.join(ANALYSES)}")
    module, function = ANALYSES[kind].split(":")
    getattr(import_module(module), function)()

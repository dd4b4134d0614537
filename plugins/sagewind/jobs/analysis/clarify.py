"""What the analyses of bias and of explanations take over from SageMaker Clarify: folders, files, kinds of tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sagewind.facts import contract
from sagewind.jobs.job import UserError

DATA = f"{contract.ROOT}/processing/input/data"
OUTPUT = f"{contract.ROOT}/processing/output"
ANALYSIS_CONFIG = "analysis_config"
ANALYSIS_JSON = "analysis.json"
#: Where Clarify's containers find the file (SDK); a monitoring schedule may name it otherwise, then any JSON counts.
FOLDER, FILE = f"{contract.ROOT}/processing/input/config", "analysis_config.json"
FORMATS = {
    "text/csv": '{"csv": {"header": %s}}',
    "application/jsonlines": '{"json": {"lines": true}}',
    "application/x-parquet": '{"parquet": {}}',
}


def find() -> Path:
    """The configuration's file: the variable `analysis_config`, else the one in the input folder `config`."""
    given = os.environ.get(ANALYSIS_CONFIG)
    if given:
        return contract.resolve(given)
    folder = contract.resolve(FOLDER)
    others = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return folder / FILE if (folder / FILE).exists() or not others else others[0]


def table_format(dataset_type: str, headers: Sequence[str]) -> str:
    """The `dataset_format` that stands for the configuration's dataset_type; UserError if it is none that is known."""
    if dataset_type not in FORMATS:
        raise UserError(f"{FILE}: dataset_type is {dataset_type!r}: use one of {', '.join(FORMATS)}")
    form = FORMATS[dataset_type]
    return form % ("false" if headers else "true") if "%s" in form else form

"""Loading model files: YAML in, ModelSpec out, and errors that name file, key, what was found and what is allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from include.pipeline.errors import ModelFileError
from include.pipeline.paths import MODELS
from include.pipeline.spec import ModelSpec


def model_names(folder: Path = MODELS) -> list[str]:
    """Names of the model files in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_model(name: str, folder: Path = MODELS) -> ModelSpec:
    """Read `<folder>/<name>.yaml`; ModelFileError with one sentence per fault if it cannot be used."""
    path = folder / f"{name}.yaml"
    shown = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        known = ", ".join(model_names(folder)) or "none"
        raise ModelFileError(f"{shown}: there is no such model file (models: {known})") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ModelFileError(f"{shown}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ModelFileError(f"{shown}: found {type(content).__name__}, expected keys such as name, data, train")
    try:
        spec = ModelSpec.model_validate(content)
    except ValidationError as error:
        raise ModelFileError("; ".join(_sentence(shown, fault) for fault in error.errors())) from None
    if spec.name != name:
        raise ModelFileError(f"{shown}: name is {spec.name!r}, it must be the file's name {name!r}")
    return spec


def _sentence(shown: str, fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"]) or "the file"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "missing":
        return f"{shown}: {key} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{shown}: {key} is not a key that this file may have"
    found = fault["input"]
    if isinstance(found, str | int | float | bool) or found is None:
        return f"{shown}: {key} is {found!r}: {message}"
    return f"{shown}: {key}: {message}"


def json_schema() -> str:
    """JSON Schema of model files, for editors."""
    return json.dumps(ModelSpec.model_json_schema(), indent=2) + "\n"

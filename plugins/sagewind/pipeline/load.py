"""Loading model files: YAML in, ModelSpec out, and errors that name file, key, what was found and what is allowed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from sagewind.pipeline.errors import ModelFileError, did_you_mean
from sagewind.pipeline.spec import OF_OURS, SHIPPED, ModelSpec

_JOBS_OF_0_1 = Path("include/jobs")


def model_names(folder: Path) -> list[str]:
    """Names of the model files in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_model(name: str, folder: Path) -> ModelSpec:
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
        said = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise ModelFileError(f"{shown}: not valid YAML: {said}") from None
    if not isinstance(content, dict):
        raise ModelFileError(f"{shown}: found {type(content).__name__}, expected keys such as name, data, train")
    _take_0_1(content, shown, folder.parent.parent)
    try:
        spec = ModelSpec.model_validate(content)
    except ValidationError as error:
        raise ModelFileError(f"{shown}: {'; '.join(_sentence(fault) for fault in _faults(error))}") from None
    if spec.name != name:
        raise ModelFileError(f"{shown}: name is {spec.name!r}, it must be the file's name {name!r}")
    return spec


def _take_0_1(content: dict[str, Any], shown: str, project: Path) -> None:
    """Name shipped programs as version 0.2 does where the file has the path that they had in a checkout of 0.1.

    A file of that name in the project is the user's own and is taken as it is.
    """
    train = content.get("train")
    if not isinstance(train, dict):
        return
    for key in ("script", "serve"):
        path = Path(str(train.get(key)))
        name = f"{OF_OURS}{path.stem}"
        if path.parent == _JOBS_OF_0_1 and name in SHIPPED and not (project / path).is_file():
            warnings.warn(
                f"{shown}: train.{key} is '{path}', where version 0.1 had this program: {name} is taken; write that, "
                "as version 0.3 will not know the path",
                FutureWarning,
                stacklevel=2,
            )
            train[key] = name


def _faults(error: ValidationError) -> list[Any]:
    """All faults but that of a list which is too short only because its items are at fault."""
    found = error.errors()
    inner = {fault["loc"][:-1] for fault in found}
    return [fault for fault in found if fault["type"] != "too_short" or fault["loc"] not in inner]


def _sentence(fault: Any) -> str:
    """One fault as pydantic describes it (type, loc, msg, input) in our words."""
    key = ".".join(str(part) for part in fault["loc"])
    message, found = str(fault["msg"]).removeprefix("Value error, "), fault["input"]
    if not key:
        return message
    if fault["type"] == "missing":
        return f"{key} is missing"
    if fault["type"] == "extra_forbidden":
        allowed = _allowed(fault["loc"][:-1])
        hint = did_you_mean(str(fault["loc"][-1]), allowed) or f"use one of {', '.join(allowed)}"
        return f"{key} is not a key that this file may have: {hint}"
    if fault["type"] == "string_type" and isinstance(found, bool | int | float):
        return f"{key} is {found!r}, which YAML does not read as a text: write it in quotes"
    if fault["type"] == "tuple_type":
        return f"{key} is {found!r}: write a list, such as [{found}]"
    if fault["type"] == "too_short":
        return f"{key} is empty: name at least one, or leave the key out"
    if isinstance(found, str | int | float | bool) or found is None:
        return f"{key} is {found!r}: {message}"
    return f"{key}: {message}"


def _allowed(path: tuple[Any, ...]) -> list[str]:
    """Keys that the section at `path` may have."""
    section: type[BaseModel] = ModelSpec
    for part in path:
        annotation = section.model_fields[str(part)].annotation
        options = [annotation, *get_args(annotation)]
        section = next(item for item in options if isinstance(item, type) and issubclass(item, BaseModel))
    return list(section.model_fields)


def json_schema() -> str:
    """JSON Schema of model files, for editors."""
    return json.dumps(ModelSpec.model_json_schema(), indent=2) + "\n"

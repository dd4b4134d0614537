"""Script mode of serving: the user's model_fn, input_fn, predict_fn, output_fn or transform_fn, with AWS's defaults."""

import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from container_toolkit import base, codec, source
from container_toolkit.base import UserError, log
from container_toolkit.server import Answer, default_accept, serve

DEFAULT_PROGRAM = "inference.py"


def main() -> None:
    """Load the user's module and model, then listen; an error in either ends the program with a readable reason."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    module = load_module()
    handler = ScriptHandler(module)
    try:
        handler.load(base.model_dir())
    except Exception as error:
        traceback.print_exc()
        raise UserError(f"model_fn of {module.__file__} failed: {type(error).__name__}: {error}") from None
    log(f"Model loaded by {module.__file__}")
    serve(handler)


def load_module() -> ModuleType:
    """The module that SAGEMAKER_PROGRAM names, from SAGEMAKER_SUBMIT_DIRECTORY or the model's own code directory."""
    program = os.environ.get("SAGEMAKER_PROGRAM", DEFAULT_PROGRAM)
    named = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY") or str(base.model_dir() / "code")
    plain = Path(named).is_dir()
    directory = Path(named) if plain else source.prepare(named, base.code_dir())
    path = directory / (program if program.endswith(".py") else f"{program}.py")
    if not path.is_file():
        there = ", ".join(sorted(entry.name for entry in directory.iterdir())) or "nothing"
        raise UserError(
            f"The inference program {path.name} is not in {directory}, which holds {there}: set SAGEMAKER_PROGRAM to "
            "its name or put it into code/ of the model archive."
        )
    source.check_requirements(directory)
    return import_file(path, directory)


def import_file(path: Path, directory: Path) -> ModuleType:
    """Import one file so that it can import what lies beside it."""
    importlib.invalidate_caches()
    _FINDER.directories.append(str(directory))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        traceback.print_exc()
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from None
    return module


class _BesideFinder:
    """Finds modules in the user's directory, after the installed ones have been looked for."""

    def __init__(self) -> None:
        self.directories: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(name, self.directories) if path is None else None


_FINDER = _BesideFinder()
sys.meta_path.append(_FINDER)  # type: ignore[arg-type]


class ScriptHandler:
    """The user's functions around one loaded model."""

    def __init__(self, module: ModuleType) -> None:
        name = module.__file__
        self._model: Any = None
        self._model_fn = getattr(module, "model_fn", None)
        self._transform_fn = getattr(module, "transform_fn", None)
        parts = {part: getattr(module, part, None) for part in ("input_fn", "predict_fn", "output_fn")}
        if self._model_fn is None:
            raise UserError(f"{name} has no model_fn: please provide a model_fn implementation that loads the model.")
        if self._transform_fn and any(parts.values()):
            raise UserError(
                f"{name}: cannot use transform_fn implementation with input_fn, predict_fn, and/or output_fn"
            )
        self._input_fn = parts["input_fn"] or default_input_fn
        self._predict_fn = parts["predict_fn"] or default_predict_fn
        self._output_fn = parts["output_fn"] or codec.encode

    def load(self, directory: Path) -> None:
        """Call model_fn."""
        self._model = self._model_fn(str(directory))

    def __call__(self, body: bytes, content_type: str | None, accept: str | None) -> Answer:
        """415 and 406 for formats that nobody knows; errors of the user's functions become 500 in the server."""
        kind = content_type or codec.JSON
        wanted = default_accept(accept, codec.JSON)
        plain = kind.split(";")[0].strip().lower()
        content: bytes | str = body.decode("utf-8") if plain in (codec.JSON, codec.CSV) else body
        if self._transform_fn:
            return _answer(self._transform_fn(self._model, content, kind, wanted), wanted)
        try:
            data = self._input_fn(content, kind)
        except codec.UnsupportedFormat as error:
            return 415, "text/plain", str(error).encode()
        prediction = self._predict_fn(data, self._model)
        try:
            return _answer(self._output_fn(prediction, wanted), wanted)
        except codec.UnsupportedFormat as error:
            return 406, "text/plain", str(error).encode()


def default_input_fn(body: bytes | str, content_type: str) -> Any:
    """An array; single precision for the text formats, as in AWS's container."""
    import numpy as np

    array = codec.decode(body, content_type)
    kind = content_type.split(";")[0].strip().lower()
    if array.ndim == 1:
        array = array.reshape(1, -1)
    return array.astype(np.float32) if kind in (codec.JSON, codec.CSV) else array


def default_predict_fn(data: Any, model: Any) -> Any:
    """model.predict."""
    return model.predict(data)


def _answer(result: Any, wanted: str) -> Answer:
    """What a user's function returned: a body, or a body and its content type."""
    body, kind = result if isinstance(result, tuple) else (result, wanted)
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes | bytearray):
        raise TypeError(f"the answer must be text or bytes, not {type(body).__name__}: serialize it in output_fn")
    return 200, kind, bytes(body)

"""Paths of the container contract, its configuration files, and how a program says why it failed."""

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn


class UserError(Exception):
    """Something the user can put right; the text is one sentence and becomes the job's FailureReason."""


def hide(*modules: str) -> None:
    """Let later imports of these fail in this process.

    xgboost and pyarrow load pandas and scikit-learn where they are installed, only to know their types: 2 s that a
    program without user code need not wait for. What a prepared parent has imported already stays.
    """
    for name in modules:
        if name not in sys.modules:
            sys.modules[name] = None  # type: ignore[assignment]


def base_dir() -> Path:
    """/opt/ml, or SAGEMAKER_BASE_DIR where no private /opt/ml could be made."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def model_dir() -> Path:
    """Where training leaves the model and serving finds it."""
    return base_dir() / "model"


def code_dir() -> Path:
    """Where the user's code is unpacked."""
    return base_dir() / "code"


def channel_dir(name: str) -> Path:
    """The data of one input channel."""
    return base_dir() / "input" / "data" / name


def read_config(name: str, default: Any = None) -> Any:
    """A file of input/config; `default` stands in for a missing one, without it that is an error."""
    path = base_dir() / "input" / "config" / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if default is None:
            raise UserError(f"{path} is missing: the job has no {name}.") from None
        return default
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}.") from None


def write_failure(text: str) -> None:
    """Leave the reason where SageMaker looks for it, unless the user's code has left one already."""
    path = base_dir() / "output" / "failure"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text(text, encoding="utf-8")


def fail(text: str) -> NoReturn:
    """End the program with exit code 1 and a reason."""
    log(text)
    write_failure(text)
    sys.exit(1)


def log(text: str) -> None:
    """One line for the job's log."""
    print(text, file=sys.stderr, flush=True)

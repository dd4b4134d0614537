"""How every job program starts and ends: one sentence for a user's error, the exit code, the message file."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagewind.facts import contract


class UserError(Exception):
    """Something the user can put right. Its text is one sentence: what is wrong, where, what was found, what to do."""


def write_message(text: str) -> None:
    """Leave `text` where SageMaker takes a processing job's ExitMessage from."""
    path = contract.message_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def run(program: Callable[[], None]) -> int:
    """Run a program and return its exit code: 0, or 1 with the reason in the message file and on stderr.

    A defect of ours keeps its traceback in the log; the message file then holds its last line, so that the job's
    ExitMessage is never empty.
    """
    try:
        program()
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        write_message(str(error))
        return 1
    except Exception as error:
        traceback.print_exc()
        write_message(f"{program.__module__} failed: {type(error).__name__}: {error}")
        return 1
    return 0


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in `path`; UserError naming `what` if the file is absent, unreadable or not an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"no file {path} ({what}): give the job the input that holds it") from error
    except ValueError as error:
        raise UserError(f"{what} ({path.name}) is not JSON: {error}; write it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{what} ({path.name}) holds a JSON {type(value).__name__}, it must be an object")
    return value


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused, since they are no JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")

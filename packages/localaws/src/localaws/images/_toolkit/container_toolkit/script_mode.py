"""Script mode of training: the user's program runs with hyperparameters as arguments and SM_* as environment."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

from container_toolkit import base, source
from container_toolkit.environment import TrainingEnvironment, command_arguments

# SageMaker shows the first 1,024 characters of the failure file: the message must come before the command.
_MESSAGE_CHARACTERS = 700
_TAIL_LINES = 40
_PATIENCE = 2.0  # seconds: a process that the program has left behind keeps stderr open, the job does not wait for it
_ERROR_LINE = re.compile(r"^[\w.]*(?:Error|Exception|Exit|Interrupt|Warning)\b", re.MULTILINE)


def main() -> None:
    """The `train` program of an image that has no algorithm of its own."""
    environment = TrainingEnvironment.read()
    if not environment.program:
        raise base.UserError(
            "No training program is named: set the hyperparameter sagemaker_program (and sagemaker_submit_directory)."
        )
    run(environment)


def run(environment: TrainingEnvironment) -> None:
    """Fetch the user's code and run it to its end; this process then ends with 0 or 1, as AWS's toolkit does."""
    program = str(environment.program)
    environment.make_directories()
    directory = source.prepare(environment.source, base.code_dir())
    source.check_requirements(directory)
    command = user_command(directory, program) + command_arguments(environment.hyperparameters)
    variables = environment.variables()
    base.log(f"Invoking user training script: {shlex.join(command)}")
    code, tail = execute(command, directory, variables)
    if code != 0:
        base.fail(failure_text(code, tail, command))
    (base.base_dir() / "output" / "success").touch()
    base.log("Reporting training SUCCESS")


def user_command(directory: Path, program: str) -> list[str]:
    """How the entry point is started: a package with setup.py as a module, a .py file as a program, else by a shell."""
    if (directory / "setup.py").is_file():
        return [sys.executable, "-m", program.removesuffix(".py").replace("/", ".")]
    if not (directory / program).is_file():
        there = ", ".join(sorted(path.name for path in directory.iterdir())) or "nothing"
        raise base.UserError(f"sagemaker_program is {program!r}, but the source directory holds {there}.")
    if program.endswith(".py"):
        return [sys.executable, program]
    return ["/bin/sh", "-c", f'chmod +x {shlex.quote(program)} && exec ./{shlex.quote(program)} "$@"', program]


def execute(command: list[str], directory: Path, variables: dict[str, str]) -> tuple[int, str]:
    """Run the command; its output goes to ours as it comes, the end of its stderr is returned with the exit code.

    SIGTERM (a stop or time limit) is passed on, so that the program can save its model.
    """
    path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
    process = _start(command, directory, {**os.environ, **variables, "PYTHONPATH": path})
    signal.signal(signal.SIGTERM, lambda number, _frame: process.send_signal(number))
    tail: deque[bytes] = deque(maxlen=_TAIL_LINES)
    reader = threading.Thread(target=_tee, args=(process.stderr, tail), daemon=True)
    reader.start()
    code = process.wait()
    reader.join(_PATIENCE)
    return code, b"".join(tuple(tail)).decode("utf-8", "replace")


def _start(command: list[str], directory: Path, variables: dict[str, str]) -> Any:
    """The program as a child; forked where this process itself was forked with the libraries imported already."""
    prepared = sys.modules.get("prepared_parent")
    forked = prepared and prepared.start(command, str(directory), variables)
    return forked or subprocess.Popen(command, cwd=directory, env=variables, stderr=subprocess.PIPE)


def _tee(stream: Any, tail: deque[bytes]) -> None:
    for line in stream:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
        tail.append(line)


def failure_text(code: int, tail: str, command: list[str]) -> str:
    """The text of the failure file in the form of AWS's toolkit: class, exit code, message, command."""
    starts = [found.start() for found in _ERROR_LINE.finditer(tail)]
    message = (tail[starts[-1] :] if starts else tail[-_MESSAGE_CHARACTERS:]).strip()[:_MESSAGE_CHARACTERS]
    extra = '\nExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"' if code in (-9, 137) else ""
    number = 128 - code if code < 0 else code
    return (
        f'ExecuteUserScriptError:\nExitCode {number}\nErrorMessage "{message}"{extra}\nCommand "{shlex.join(command)}"'
    )

"""The `process` program: what a processing job runs when its request names no ContainerEntrypoint.

AWS's prebuilt images have no processing program of their own: their entry point would train or serve. Here the
ContainerArguments are taken as the command (a first argument ending in .py is run by the image's Python); without
arguments the one .py file under processing/input/code is run.
"""

import os
import sys

from container_toolkit import base


def main() -> None:
    """Replace this process by the program, so that signals and the exit code are its own."""
    arguments = sys.argv[1:] or [_only_program()]
    if arguments[0].endswith(".py"):
        arguments = [sys.executable, *arguments]
    prepared = sys.modules.get("prepared_parent")
    if prepared and arguments[0] == sys.executable:
        prepared.replace(arguments)
    try:
        os.execvp(arguments[0], arguments)  # noqa: S606 - the user's own program
    except OSError as error:
        _fail(f"The processing program {arguments[0]!r} cannot be started: {error.strerror}.")


def _only_program() -> str:
    directory = base.base_dir() / "processing" / "input" / "code"
    programs = sorted(str(path) for path in directory.glob("*.py"))
    if len(programs) != 1:
        found = ", ".join(programs) or "none"
        _fail(
            "A processing job in this image needs a ContainerEntrypoint, ContainerArguments that name a program, or "
            f"exactly one .py file in {directory}; found {found}."
        )
    return programs[0]


def _fail(text: str) -> None:
    message = base.base_dir() / "output" / "message"
    message.parent.mkdir(parents=True, exist_ok=True)
    message.write_text(text, encoding="utf-8")
    base.log(text)
    sys.exit(1)

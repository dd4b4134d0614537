"""Run by test_cli.py with the AWS CLI on its path: commands that share nothing but the CLI's imports.

Each line of the input holds the arguments of one command, as JSON; each line of the output its code and what it wrote.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

from awscli.clidriver import main


def run(arguments: list[str]) -> dict[str, object]:
    """Run the command in a process of its own, as a shell does."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv[1:] = arguments
            sys.exit(main())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for written in (out, err):
            written.seek(0)
        return {"returncode": code, "stdout": out.read().decode(), "stderr": err.read().decode()}


for line in sys.stdin:
    sys.stdout.write(json.dumps(run(json.loads(line))) + "\n")
    sys.stdout.flush()

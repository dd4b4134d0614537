"""`localaws reset`: end all work of a running endpoint and empty its account."""

from __future__ import annotations

import argparse
import sys

from localaws.faults_command import check_environment, send

PATH = "/_localaws/reset"


def run(argv: list[str]) -> int:
    """Ask for it and wait until it is done; 1 and a sentence when it is refused. Raises OSError."""
    argparse.ArgumentParser(
        "localaws reset",
        description="End every job and model server, and forget all that the account holds: jobs, endpoints, buckets, "
        "logs, metrics, roles, faults. The endpoint and its credentials, which stay the same, are those of the "
        "environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.",
    ).parse_args(argv)
    check_environment()
    status, answer = send("POST", PATH)
    if status >= 400:
        sys.stderr.write(f"localaws: {answer.get('message', answer)}\n")
        return 1
    return 0

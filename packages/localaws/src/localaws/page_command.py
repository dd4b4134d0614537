"""`localaws page`: the link to the status page of a running endpoint."""

from __future__ import annotations

import argparse
import os
import sys
from urllib.parse import urlsplit

from localaws.faults_command import PATH, check_environment, send
from localaws.front.statuspage import USER, password


def run(argv: list[str]) -> int:
    """Print the link, with user name and password; ValueError when the environment names no endpoint."""
    argparse.ArgumentParser(
        "localaws page",
        description="Print the link to the status page of the endpoint that AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY name. The link holds the page's password, which only shows pages.",
    ).parse_args(argv)
    check_environment()
    status, answer = send("GET", PATH)  # a wrong secret would give a link that opens nothing
    if status != 200:
        sys.stderr.write(f"localaws: {answer.get('message', answer)}\n")
        return 1
    parts = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    sys.stdout.write(f"{parts.scheme}://{USER}:{password(secret)}@{parts.netloc}/\n")
    return 0

"""`python -m include.localaws page`: the link to the status page of a running endpoint."""

from __future__ import annotations

import argparse
import os
import sys
from urllib.parse import urlsplit

from include.localaws.front.statuspage import USER, password


def run(argv: list[str]) -> int:
    """Print the link, with user name and password; ValueError when the environment names no endpoint."""
    argparse.ArgumentParser(
        "python -m include.localaws page",
        description="Print the link to the status page. The endpoint and its credentials are those of the environment: "
        "AWS_ENDPOINT_URL, AWS_SECRET_ACCESS_KEY. The link holds the page's password, which only shows pages.",
    ).parse_args(argv)
    needed = ("AWS_ENDPOINT_URL", "AWS_SECRET_ACCESS_KEY")
    if missing := [name for name in needed if not os.environ.get(name)]:
        raise ValueError(f"{', '.join(missing)} must be set: eval the lines that the endpoint printed when it started")
    parts = urlsplit(os.environ[needed[0]])
    sys.stdout.write(f"{parts.scheme}://{USER}:{password(os.environ[needed[1]])}@{parts.netloc}/\n")
    return 0

"""The command line: `python -m include.localaws --state DIR` and `python -m include.localaws pull`."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import sys
import threading
from pathlib import Path

from include.localaws.auth import given_credentials
from include.localaws.images import ImageError, Images
from include.localaws.server import Endpoint, Options, StateInUse

DEFAULT_IMAGES = Path(__file__).resolve().parent.parent / "images"


def _default_cache() -> Path:
    return Path(os.environ.get("SAGEWIND_CACHE") or Path.home() / ".cache" / "sagewind")


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images", type=Path, action="append", help="directory of images (repeatable; default: include/images)"
    )
    parser.add_argument(
        "--cache", type=Path, default=_default_cache(), help="where image environments are kept (default: %(default)s)"
    )


def _serve_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m include.localaws",
        description="A local AWS endpoint that executes SageMaker jobs. `pull` builds image environments.",
    )
    parser.add_argument("--port", type=int, default=4566, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--state", type=Path, required=True, help="directory that keeps everything")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--jobs", type=int, help="jobs that run at once (default: number of CPUs + 1)")
    parser.add_argument(
        "--grace", type=float, default=120.0, help="seconds between SIGTERM and SIGKILL (default: %(default)s)"
    )
    parser.add_argument(
        "--sandbox", default="auto", choices=["auto", "bubblewrap", "namespaces", "moved"], help="how jobs are isolated"
    )
    parser.add_argument("--allow-host", action="append", default=[], help="further Host names that are served")
    _common(parser)
    return parser


def pull(argv: list[str]) -> int:
    """Build the environments of all or the named images; 1 when one cannot be built."""
    parser = argparse.ArgumentParser("python -m include.localaws pull", description="Build image environments.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="images to build (default: all)")
    _common(parser)
    options = parser.parse_args(argv)
    status = 0
    images = Images(options.images or [DEFAULT_IMAGES], options.cache)
    for image in [images.by_name(name) for name in options.names] or images.images:
        try:
            sys.stdout.write(f"{image.name}\t{image.environment()}\n")
        except ImageError as error:
            sys.stderr.write(f"localaws: {error}\n")
            status = 1
    return status


def serve(argv: list[str]) -> int:
    """Run the endpoint until SIGTERM or SIGINT."""
    options = _serve_parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="localaws: %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    endpoint = Endpoint(
        Options(
            state=options.state.resolve(),
            images=tuple(p.resolve() for p in options.images or [DEFAULT_IMAGES]),
            cache=options.cache.resolve(),
            port=options.port,
            host=options.host,
            region=options.region,
            jobs=options.jobs,
            grace=options.grace,
            sandbox=options.sandbox,
            allowed_hosts=tuple(options.allow_host),
        )
    )
    endpoint.start()
    known = given_credentials() or ()  # who gave the credentials has them; a container's output ends in a log
    for name, value in endpoint.environment().items():
        if value not in known:
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    sys.stdout.flush()
    stop.wait()
    endpoint.close()
    return 0


def main(argv: list[str]) -> int:
    """Exit status 0, or 1 after one sentence about what is wrong."""
    try:
        return pull(argv[1:]) if argv[:1] == ["pull"] else serve(argv)
    except (ImageError, StateInUse, ValueError, OSError) as error:
        busy = "Address already in use" in str(error)
        said = (
            "the port is taken by another program: end it, or choose another port with --port" if busy else str(error)
        )
        sys.stderr.write(f"localaws: {said}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The command line: `localaws`, and its commands `pull`, `faults`, `reset` and `page`."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import math
import os
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from localaws import faults_command, logformat, page_command, reset_command
from localaws.engine.images import SHIPPED, ImageError, Images, NoPythonForImage, default_cache
from localaws.front.auth import given_credentials
from localaws.profile import FAST, PROFILES, TIMES
from localaws.quotas import Quotas
from localaws.server import Endpoint, Options, StateInUse

log = logging.getLogger("localaws")

HELP = """\
commands (each has --help; without one, and with `serve`, the endpoint runs):
  pull [NAME ...]            build the image environments, so that the first job need not wait
  faults add|list|clear      let the next calls of an operation fail
  reset                      end all jobs and endpoints, and empty the account
  page                       print the link to the status page: jobs, endpoints and logs

When the port is bound it prints the lines `export AWS_ENDPOINT_URL=...`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`
and `AWS_DEFAULT_REGION`, and runs until SIGTERM or SIGINT. LOCALAWS_ACCESS_KEY_ID and LOCALAWS_SECRET_ACCESS_KEY give
other credentials than those of the state directory.
"""


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="further directory of images, asked before those that come with localaws (repeatable)",
    )
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="where image environments are kept (default: %(default)s)"
    )


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: it is a number from 0 to 65535")
    return number


def _times() -> str:
    width = max(len(name) for name in TIMES)
    return "\n".join(f"  {name:{width}}  {seconds:<5g}  {meaning}" for name, (seconds, meaning) in TIMES.items())


def _serve_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "localaws",
        description="A local AWS endpoint that executes SageMaker jobs.",
        epilog=f"{HELP}\nnames of --time, with the seconds of the fast profile:\n{_times()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    version = importlib.metadata.version("sagewind-localaws")
    parser.add_argument("--version", action="version", version=f"localaws {version}")
    parser.add_argument("--port", type=_port, default=4566, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--state", type=Path, default=os.environ.get("LOCALAWS_STATE") or None, metavar="DIR",
        help="directory that keeps everything (default: LOCALAWS_STATE, else one that is deleted at the end)",
    )  # fmt: skip
    parser.add_argument("--region", default="us-east-1", help="(default: %(default)s)")
    parser.add_argument(
        "--jobs", type=_count, metavar="N", help="processes of jobs at once (default: number of CPUs + 1)"
    )
    parser.add_argument(
        "--cpus", type=_positive, help="cores that jobs may ask for together (default: twice the machine's)"
    )
    parser.add_argument(
        "--memory", type=_positive, metavar="GIB", help="memory that jobs may ask for together (default: twice as much)"
    )
    parser.add_argument(
        "--cold", action="store_true", help="start every job anew, without a prepared parent process per image"
    )
    parser.add_argument(
        "--grace", type=float, default=120.0, help="seconds between SIGTERM and SIGKILL (default: %(default)s)"
    )
    parser.add_argument(
        "--sandbox", default="auto", choices=["auto", "bubblewrap", "namespaces", "none"], help="how jobs are isolated"
    )
    parser.add_argument("--allow-host", action="append", default=[], help="further Host names that are served")
    parser.add_argument(
        "--profile", default=FAST.name, choices=sorted(PROFILES), help="how AWS-like times are (default: %(default)s)"
    )
    parser.add_argument(
        "--time", action="append", default=[], metavar="NAME=SECONDS",
        help="another time than the profile's, e.g. job-start=3 (repeatable; names below)",
    )  # fmt: skip
    parser.add_argument(
        "--quota", action="append", default=[], metavar="TYPE/USE=N",
        help="most instances in use at once, e.g. ml.m5.xlarge/training=2 or all/endpoint=4 (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--call-log", type=Path, metavar="FILE", help="append a JSON line for each call of the SageMaker API"
    )
    parser.add_argument(
        "--until-eof", action="store_true",
        help="end too when standard input ends, as a pipe does with the program that holds its other end",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="log to standard error as JSON, one object per line")
    _common(parser)
    return parser


def pull(argv: list[str]) -> int:
    """Build the environments of all or the named images; 1 when one cannot be built."""
    parser = argparse.ArgumentParser("localaws pull", description="Build image environments.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="images to build (default: all)")
    _common(parser)
    options = parser.parse_args(argv)
    status = 0
    images = Images([*options.images, SHIPPED], options.cache)
    for image in [images.by_name(name) for name in options.names] or images.images:
        try:
            sys.stdout.write(f"{image.name}\t{image.environment()}\n")
        except ImageError as error:
            sys.stderr.write(f"localaws: {error}\n")
            # Without names "all" means all that this machine can have: an old image needs an old Python.
            status = status if isinstance(error, NoPythonForImage) and not options.names else 1
    return status


@contextmanager
def _told_to_stop(*, until_eof: bool) -> Iterator[Callable[[], object]]:
    """Gives what waits for SIGTERM, SIGINT or the end of standard input; also one that came before it was called.

    A signal may reach any thread, which does not wake the main thread from a lock, and a handler that takes a lock may
    meet the main thread holding it. So the interpreter itself writes into a pipe, and the main thread reads from it.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    if until_eof:
        threading.Thread(target=_at_end_of_input, args=(write,), name="until-eof", daemon=True).start()
    try:
        yield lambda: os.read(read, 1)
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)


def _at_end_of_input(told: int) -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os.write(told, b"x")


def serve(argv: list[str]) -> int:
    """Run the endpoint until SIGTERM or SIGINT."""
    options = _serve_parser().parse_args(argv)
    lines = logformat.configure(as_json=options.json)
    with ExitStack() as stack:
        wait = stack.enter_context(_told_to_stop(until_eof=options.until_eof))
        if options.state is None:
            folder = tempfile.TemporaryDirectory(prefix="localaws-", ignore_cleanup_errors=True)
            options.state = Path(stack.enter_context(folder))
            log.info("the state is in %s and is deleted at the end: --state DIR keeps it", options.state)
        _serve(options, lines, wait)
    return 0


def _serve(options: argparse.Namespace, lines: logformat.Lines, wait: Callable[[], object]) -> None:
    endpoint = Endpoint(
        Options(
            state=options.state,
            images=(*options.images, SHIPPED),
            cache=options.cache,
            port=options.port,
            host=options.host,
            region=options.region,
            jobs=options.jobs,
            cpus=options.cpus,
            memory=options.memory,
            warm=not options.cold,
            grace=options.grace,
            sandbox=options.sandbox,
            allowed_hosts=tuple(options.allow_host),
            profile=PROFILES[options.profile].with_times(options.time),
            quotas=Quotas.parse(options.quota),
            call_log=options.call_log,
        )
    )
    lines.hide(endpoint.ctx.config.secret_key)
    endpoint.start()
    known = given_credentials() or ()  # who gave the credentials has them; a container's output ends in a log
    for name, value in endpoint.environment().items():
        if value not in known:
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    sys.stdout.flush()
    wait()
    endpoint.close()


COMMANDS = {
    "serve": serve,
    "pull": pull,
    "faults": faults_command.run,
    "reset": reset_command.run,
    "page": page_command.run,
}


def main(argv: list[str]) -> int:
    """Exit status 0, or 1 after one sentence about what is wrong."""
    try:
        if not argv or argv[0].startswith("-"):
            return serve(argv)
        if argv[0] not in COMMANDS:
            raise ValueError(f"there is no command {argv[0]!r}; there are: {', '.join(COMMANDS)}")
        return COMMANDS[argv[0]](argv[1:])
    except (ImageError, StateInUse, ValueError, OSError) as error:
        sys.stderr.write(f"localaws: {error}\n")
        return 1


def command() -> int:
    """The program `localaws`."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(command())

"""The command line of the stack."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tools.stack import ports
from tools.stack.airflow_cli import run_airflow
from tools.stack.drift import DriftDemo
from tools.stack.errors import Interrupted, StackError, check_free_space, disk_full
from tools.stack.launch import LaunchPlan
from tools.stack.progress import Printer
from tools.stack.rehearsal import Rehearsal, RehearsalOrder
from tools.stack.standing import already_up, bring_down, bring_up, show_status
from tools.stack.state import Home, StateFolder
from tools.stack.supervision import PROJECT, Signals

UP_PORT = 8080
UP_AWS_PORT = 4566
PORT, AWS_PORT = "PORT (--port)", "AWS_PORT (--aws-port)"
"""As make and as the command line call them."""
EXIT_USER_ERROR = 2


def parser() -> argparse.ArgumentParser:
    """Arguments; the hidden ones replace parts of the stack in tests."""
    top = argparse.ArgumentParser("python -m tools.stack", description="Airflow and the local AWS endpoint as one.")
    commands = top.add_subparsers(dest="command", required=True, metavar="run|drift|up|down|status|airflow")
    run = commands.add_parser("run", help="run a model's lifecycle once, from data to teardown")
    run.add_argument("--model", default="tumor", help="a file of include/models (default: %(default)s)")
    run.add_argument("--keep", action="store_true", help="keep the endpoint and leave the stack up")
    drift = commands.add_parser("drift", help="deploy a model, shift its traffic, and see the drift named")
    drift.add_argument("--model", default="census", help="a file of include/models (default: %(default)s)")
    for command in (run, drift):
        command.add_argument("--source", help="other data than the model's file names (https://, s3://, file://, ...)")
        command.add_argument("--reports", type=Path, help=argparse.SUPPRESS)
    up = commands.add_parser("up", help="start a stack that stays")
    for command in (run, drift, up):
        command.add_argument(
            "--port", type=partial(ports.parse, option=PORT), help="of Airflow's UI; 0: a free one (up: 8080, run: 0)"
        )
        command.add_argument(
            "--aws-port",
            type=partial(ports.parse, option=AWS_PORT),
            help="of the local AWS endpoint; 0: a free one (up: 4566, run: 0)",
        )
        command.add_argument("--localaws", help=argparse.SUPPRESS)
    down = commands.add_parser("down", help="end what `up` or `run --keep` left running")
    status = commands.add_parser("status", help="say what is up")
    airflow = commands.add_parser("airflow", help="an Airflow command against the stack that is up")
    airflow.add_argument("arguments", nargs=argparse.REMAINDER, help="e.g. dags list")
    for command in (run, drift, up, airflow):
        command.add_argument(
            "--project", type=Path, default=PROJECT, help="the folder with dags and include (default: %(default)s)"
        )
    for command in (run, drift, up, down, status, airflow):
        command.add_argument(
            "--state", type=Path, default=PROJECT / ".sagewind", help="the state folder (default: %(default)s)"
        )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 success, 1 a run that failed, 2 something for the user to put right, 128+n a signal."""
    signals = Signals()
    signals.install()
    try:
        options = parser().parse_args(argv)
        return _dispatch(options, signals)
    except StackError as error:
        return _say(str(error), EXIT_USER_ERROR)
    except Interrupted as interrupted:
        return _say("Ended early: everything that was started has been ended.", 128 + interrupted.signum)
    except OSError as error:
        sentence = disk_full(error, options.state)
        if sentence is None:
            raise
        return _say(str(sentence), EXIT_USER_ERROR)


def _say(sentence: str, code: int) -> int:
    print(f"\n{sentence}", file=sys.stderr)
    return code


def _dispatch(options: argparse.Namespace, signals: Signals) -> int:
    printer = Printer()
    state = StateFolder(options.state.absolute())
    if options.command == "down":
        return bring_down(state, printer)
    if options.command == "status":
        return show_status(state, printer)
    if options.command == "airflow":
        return run_airflow(state, options.project.absolute(), options.arguments)
    if options.command in ("run", "drift"):
        keep = options.command == "run" and options.keep
        project = options.project.absolute()
        reports = options.reports or project / "reports"
        order = RehearsalOrder(options.model, keep, options.source, project, reports)
        order.check()
        check_free_space(state.root)
        state.prepare()
        order.validate()
        program = Rehearsal if options.command == "run" else DriftDemo
        return program(order, _plan(options, Home(state, "run")), printer, signals).run()
    home = Home(state, "up")
    if already_up(home, printer):
        return 0
    check_free_space(state.root)
    state.prepare()
    return bring_up(_plan(options, home), printer, signals)


def _plan(options: argparse.Namespace, home: Home) -> LaunchPlan:
    free = iter(ports.choose(2))
    default, aws_default = (0, 0) if home.kind == "run" else (UP_PORT, UP_AWS_PORT)
    port = default if options.port is None else options.port
    aws_port = aws_default if options.aws_port is None else options.aws_port
    replaced = shlex.split(options.localaws) if options.localaws else None
    plan = LaunchPlan(
        home,
        port=ports.require(port, "Airflow's UI", PORT) if port else next(free),
        aws_port=ports.require(aws_port, "the local AWS endpoint", AWS_PORT) if aws_port else next(free),
        project=options.project.absolute(),
    )
    if replaced is None:
        return plan
    return LaunchPlan(home, plan.port, plan.aws_port, plan.project, replaced, pull=False)

"""The arguments of the command `sagewind`."""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from sagewind.command import local
from sagewind.command.errors import CommandError
from sagewind.facts.version import VERSION
from sagewind.pipeline.errors import ModelFileError, SourceError
from sagewind.pipeline.project import MODELS, nearest


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = argparse.ArgumentParser(
        "sagewind", description="A model's whole life on Amazon SageMaker from Apache Airflow."
    )
    top.add_argument("--version", action="version", version=f"sagewind {VERSION}")
    commands = top.add_subparsers(dest="command", required=True, metavar="new|model|dry-run|run|up|mwaa|images")
    new = commands.add_parser("new", help="write a project: dags, include, requirements, compose file, Makefile")
    new.add_argument("folder", type=Path, help="an empty folder, or one that is not there yet")
    new.add_argument("--model", default="tumor", help="name of its first model (default: %(default)s)")
    new.add_argument("--wheels", type=Path, help="folder of wheels to bring along (default: none)")
    model = commands.add_parser("model", help="write a model file and its DAG file into the project")
    model.add_argument("name", help="name of the model")
    dry = commands.add_parser("dry-run", help="print the requests of a run and what it may cost; sends nothing")
    dry.add_argument("model", help="name of a file in include/models")
    dry.add_argument(
        "--dag", default="training", help="training, lifecycle, batch_scoring, monitoring (default: %(default)s)"
    )
    dry.add_argument("--region", help="AWS region (default: the model file's, else us-east-1)")
    run = commands.add_parser("run", help="run a model's life once, on this machine, against the local AWS endpoint")
    run.add_argument("model", help="name of a file in include/models")
    run.add_argument("--source", help="other data than the model's file names (https://, s3://, file://, ...)")
    up = commands.add_parser("up", help="Airflow and the local AWS endpoint on this machine, until Ctrl-C")
    up.add_argument("--port", type=_port, default=8080, help="of Airflow's UI (default: %(default)s)")
    up.add_argument("--aws-port", type=_port, default=4566, help="of the local AWS endpoint (default: %(default)s)")
    mwaa = commands.add_parser("mwaa", help="write what Amazon MWAA takes of a project; sends nothing")
    mwaa.add_argument("--wheel", type=Path, help="the wheel of sagewind (default: that in the project's folder wheels)")
    mwaa.add_argument("--out", type=Path, default=Path("build/mwaa"), help="where to write (default: %(default)s)")
    mwaa.add_argument("--requirements", type=Path, help="a file of further lines for requirements.txt")
    mwaa.add_argument("--offline", type=Path, help="folder of all wheels, for an environment without internet")
    for command in (model, dry, run, up, mwaa):
        command.add_argument(
            "--project", type=Path, help="the project (default: the nearest folder with include/models)"
        )
    commands.add_parser("images", help="print the folder of the images that come with sagewind, for localaws --images")
    return top


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write a number from 1 to 65535")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; exit code 0 success, 1 a run that failed, 2 something for the user to put right."""
    options = parser().parse_args(argv)
    warnings.formatwarning = lambda message, *_, **__: f"sagewind {options.command}: warning: {message}\n"
    try:
        return _dispatch(options)
    except (CommandError, ModelFileError, SourceError) as error:
        sys.stderr.write(f"sagewind {options.command}: {error}\n")
        return 2
    except BrokenPipeError:  # who read the output has seen enough
        return 1
    except OSError as error:  # a folder that is a file or may not be written, a full disk
        sys.stderr.write(f"sagewind {options.command}: cannot use {error.filename}: {error.strerror}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"sagewind {options.command}: interrupted; what it had started is ended\n")
        return 128 + signal.SIGINT


def _dispatch(options: argparse.Namespace) -> int:
    if options.command == "images":
        local.tell(str(local.IMAGES))
        return 0
    if options.command == "new":
        return _new(options)
    project = options.project.absolute() if options.project else nearest(Path.cwd())
    if project is None or not (project / MODELS).is_dir():
        raise CommandError(
            f"{project or Path.cwd()} is no project, as it has no {MODELS}: go into one, name it with --project, or "
            "write one with `sagewind new DIR`"
        )
    if options.command == "model":
        return _model(options.name, project)
    if options.command == "dry-run":
        return _dry_run(options, project)
    if options.command == "mwaa":
        return _mwaa(options, project)
    if options.command == "run":
        return local.run(project, options.model, options.source)
    from sagewind.command.up import up

    return up(project, options.port, options.aws_port)


def _new(options: argparse.Namespace) -> int:
    from sagewind.command import new_project

    made = new_project.create(options.folder, options.model, options.wheels)
    for path in made:
        local.tell(f"wrote {options.folder / path}")
    local.tell(f"next: cd {options.folder} && make run")
    return 0


def _model(name: str, project: Path) -> int:
    from sagewind.command import new_model

    for path in new_model.create(name, project):
        local.tell(f"wrote {path}")
    local.tell(f"next: make run MODEL={name}")
    return 0


def _mwaa(options: argparse.Namespace, project: Path) -> int:
    from sagewind.command import mwaa

    sys.stdout.write(mwaa.write(project, options.wheel, options.out, options.requirements, options.offline))
    return 0


def _dry_run(options: argparse.Namespace, project: Path) -> int:
    from sagewind.errors import TaskRefused  # imports Airflow: seconds that the other commands need not wait
    from sagewind.workflows import dry_run

    try:
        sys.stdout.write(dry_run.show(project, options.model, options.dag, options.region))
    except (ValueError, TaskRefused) as error:
        raise CommandError(str(error)) from None
    return 0


if __name__ == "__main__":
    sys.exit(main())

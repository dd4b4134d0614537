"""Script mode: environment and arguments as AWS's toolkit makes them, the user's code, the failure file."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import sys
import tarfile
from pathlib import Path

import pytest
from container_toolkit import script_mode, source
from container_toolkit.base import UserError
from container_toolkit.environment import TrainingEnvironment, command_arguments, decode_hyperparameters

from localaws_tests.images.conftest import MlDir

# What sagemaker-training 5.1.4 makes of the same three files.
RECORDED = json.loads((Path(__file__).parent / "training_toolkit.json").read_text())


def test_environment_and_arguments_equal_awss_toolkit(ml: MlDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINING_JOB_NAME", "job-1")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for name in ("hyperparameters", "inputdataconfig", "resourceconfig"):
        ml.write(f"input/config/{name}.json", RECORDED[name])
    environment = TrainingEnvironment.read()
    assert command_arguments(environment.hyperparameters) == RECORDED["arguments"]
    found = {name: value.replace(str(ml.root), "BASE") for name, value in environment.variables().items()}
    found["SM_TRAINING_ENV"] = json.loads(found["SM_TRAINING_ENV"])
    assert found == RECORDED["variables"]


def test_hyperparameters_are_decoded() -> None:
    raw = {"a": "1", "b": '"1"', "c": "text", "d": "true", "e": "[1]", "f": ""}
    assert decode_hyperparameters(raw) == {"a": 1, "b": "1", "c": "text", "d": True, "e": [1], "f": ""}


def test_a_job_without_a_program(ml: MlDir) -> None:
    ml.training({"alpha": "1"}, {})
    with pytest.raises(UserError, match="set the hyperparameter sagemaker_program"):
        script_mode.main()


TRAIN = """
import argparse, json, os, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float)
args = parser.parse_args()
if args.alpha > 1:
    raise ValueError(f"alpha is {args.alpha}, it must be at most 1")
import helper
text = f"{args.alpha} {helper.NAME} {os.environ['SM_CHANNELS']}"
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(text)
print("validation:auc=0.5")
"""


def packed(ml: MlDir, files: dict[str, str]) -> str:
    path = ml.root / "sourcedir.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return str(path)


def test_a_program_runs_with_its_arguments(ml: MlDir, capfd: pytest.CaptureFixture[str]) -> None:
    archive = packed(ml, {"train.py": TRAIN, "helper.py": "NAME = 'helped'"})
    names = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": json.dumps(archive)}
    ml.training({"alpha": "0.5", **names}, {"train": "1,2\n"})
    script_mode.main()
    assert ml.text("model/model.txt") == '0.5 helped ["train"]'
    assert "validation:auc=0.5" in capfd.readouterr().out
    assert not (ml.root / "output" / "failure").exists()


LEAVES = """
import pathlib, subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[2]).write_text(str(left.pid))
"""


def test_what_a_program_leaves_behind_is_not_waited_for(ml: MlDir, tmp_path: Path) -> None:
    archive = packed(ml, {"train.py": LEAVES})
    names = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": json.dumps(archive)}
    ml.training({"left": json.dumps(str(tmp_path / "left")), **names}, {"train": "1,2\n"})
    script_mode.main()
    left = int((tmp_path / "left").read_text())
    os.kill(left, signal.SIGKILL)  # raises where the program above would have been waited for
    assert (ml.root / "output" / "success").exists()


def test_a_failing_program_leaves_its_reason(ml: MlDir, capfd: pytest.CaptureFixture[str]) -> None:
    archive = packed(ml, {"train.py": TRAIN})
    names = {"sagemaker_program": "train.py", "sagemaker_submit_directory": archive}
    ml.training({"alpha": "2", **names}, {})
    with pytest.raises(SystemExit) as caught:
        script_mode.main()
    assert caught.value.code == 1
    assert ml.text("output/failure") == (
        "ExecuteUserScriptError:\nExitCode 1\n"
        'ErrorMessage "ValueError: alpha is 2.0, it must be at most 1"\n'
        f'Command "{shlex.quote(sys.executable)} train.py --alpha 2"'
    )
    assert "Traceback" in capfd.readouterr().err


def test_failure_texts() -> None:
    assert script_mode.failure_text(3, "nothing said", ["x"]) == (
        'ExecuteUserScriptError:\nExitCode 3\nErrorMessage "nothing said"\nCommand "x"'
    )
    assert "ExitCode 137\n" in script_mode.failure_text(-9, "", ["x"])
    assert "OutOfMemory" in script_mode.failure_text(-9, "", ["x"])
    assert len(script_mode.failure_text(1, "E" * 5000, ["x"])) < 1024


def test_the_entry_point_must_be_there(ml: MlDir) -> None:
    directory = ml.write("code/other.py", "").parent
    with pytest.raises(UserError, match=r"sagemaker_program is 'train.py', but the source directory holds other.py"):
        script_mode.user_command(directory, "train.py")


def test_a_shell_program(ml: MlDir) -> None:
    directory = ml.write("code/run.sh", '#!/bin/sh\necho "$1 $2" > out; exit 4\n').parent
    command = [*script_mode.user_command(directory, "run.sh"), "--a", "b c"]
    assert script_mode.execute(command, directory, {})[0] == 4
    assert (directory / "out").read_text() == "--a b c\n"


@pytest.mark.parametrize("name", ["../outside.py", "/tmp/outside.py"])
def test_an_archive_cannot_leave_its_directory(ml: MlDir, name: str) -> None:
    dest = ml.root / "code"
    with contextlib.suppress(UserError):  # the filter strips a leading slash and refuses the other
        source.prepare(packed(ml, {name: "x"}), dest)
    assert not (ml.root / "outside.py").exists()
    assert not Path("/tmp/outside.py").exists()


def test_local_sources(ml: MlDir, tmp_path: Path) -> None:
    ml.write("given/train.py", "pass")
    assert (source.prepare(str(ml.root / "given"), tmp_path / "a") / "train.py").read_text() == "pass"
    assert (source.prepare(str(ml.root / "given/train.py"), tmp_path / "b") / "train.py").is_file()
    (tmp_path / "b" / "train.py").write_text("kept")
    source.prepare(str(ml.root / "given"), tmp_path / "b")
    assert (tmp_path / "b" / "train.py").read_text() == "kept"
    with pytest.raises(UserError, match="names /absent, which does not exist"):
        source.prepare("/absent", tmp_path / "c")
    (ml.root / "broken.tar.gz").write_bytes(b"\x1f\x8bno")
    with pytest.raises(UserError, match=r"broken.tar.gz cannot be unpacked, it should be a .tar.gz"):
        source.prepare(str(ml.root / "broken.tar.gz"), tmp_path / "d")


def test_requirements_must_be_in_the_image(ml: MlDir) -> None:
    directory = ml.write("code/requirements.txt", "# a comment\n\npytest\npyyaml>=5\n").parent
    source.check_requirements(directory)
    for line, message in (("no-such-package==1", "has no no-such-package"), ("pytest==0.1", "has pytest ")):
        ml.write("code/requirements.txt", line)
        with pytest.raises(UserError, match=message):
            source.check_requirements(directory)

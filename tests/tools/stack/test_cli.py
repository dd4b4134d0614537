"""What a user can do wrong is answered in one sentence."""

from __future__ import annotations

import shutil
import signal
import socket
from pathlib import Path

import pytest

from tools.stack import cli, ports


@pytest.fixture(autouse=True)
def _signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip()


def test_unknown_model_lists_the_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "include/models").mkdir(parents=True)
    for name in ("census", "tumor"):
        (tmp_path / f"include/models/{name}.yaml").write_text("")
    code = cli.main(["run", "--model", "tumour", "--project", str(tmp_path), "--state", str(tmp_path / "s")])
    assert code == 2
    assert sentence(capsys) == "There is no model named 'tumour'; the models are: census, tumor."


def test_busy_port_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (free,) = ports.choose(1)
        assert cli.main(["up", "--state", str(tmp_path / "s"), "--aws-port", str(port), "--port", str(free)]) == 2
    assert sentence(capsys).startswith(f"The port {port} of the local AWS endpoint is taken")


def test_a_wrong_model_file_is_told_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "include/models").mkdir(parents=True)
    (tmp_path / "include/models/tumor.yaml").write_text("nmae: tumor\n")
    assert cli.main(["run", "--project", str(tmp_path), "--state", str(tmp_path / "s")]) == 2
    assert "nmae is not a key that this file may have: did you mean 'name'?" in sentence(capsys)


def test_half_written_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(cli.PROJECT / "include", tmp_path / "include")
    state = tmp_path / "s"
    state.mkdir()
    (state / "secrets.json").write_text("{")
    assert cli.main(["run", "--project", str(tmp_path), "--state", str(state)]) == 2
    assert f"delete the folder {state}" in sentence(capsys)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("RETRY_DELAY_SECONDS", "the setting [sagewind] retry_delay_seconds is 'abc': write a number from 0 to 86400"),
        (
            "POLL_FISRT_SECONDS",
            "poll_fisrt_seconds in section [sagewind] is no setting: did you mean 'poll_first_seconds'?",
        ),
    ],
)
def test_a_wrong_setting_is_told_before_anything_starts(
    name: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIRFLOW__SAGEWIND__{name}", "abc")
    assert cli.main(["up", "--state", str(tmp_path), "--port", "0", "--aws-port", "0"]) == 2
    assert sentence(capsys) == says


def test_down_and_status_without_a_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["down", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"Nothing is up on {tmp_path}.\n"
    assert cli.main(["status", "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"Nothing is up on {tmp_path}.\n"

"""The table of settings: what is read where, what is refused, and that the page tells the same."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from datetime import timedelta

import pytest
from airflow.sdk import DAG
from airflow.sdk.configuration import conf
from hypothesis import given
from hypothesis import strategies as st

from sagewind import settings
from sagewind.operators.approval import AskApprovalOperator
from sagewind.retrying import JobRetryPolicy
from sagewind.settings import POLL_FIRST, POLL_LONGEST, RETRIES, SETTINGS, TRIGGERER, Number
from sagewind.workflows import model_dags
from sagewind.workflows.chain import Chain
from sagewind.workflows.training import training_dag
from tests.conftest import ROOT
from tests.models import load_model

PAGE = ROOT / "docs/settings.md"
GUIDE = ROOT / "packages/localaws/docs/guide.md"
NUMBERS = [setting for setting in SETTINGS if isinstance(setting, Number)]


def variable(setting: settings.Number | settings.Switch) -> str:
    return settings.PREFIX + setting.name.upper()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_without_a_word_it_is_its_default_which_is_allowed(setting, monkeypatch: pytest.MonkeyPatch) -> None:
    assert setting.read() == setting.default
    monkeypatch.setenv(variable(setting), setting.shown)
    assert setting.read() == setting.default


def test_names_are_unique_and_those_of_numbers_end_in_their_unit() -> None:
    names = [setting.name for setting in SETTINGS]
    assert len(set(names)) == len(names)
    units = ("_seconds", "_hours")
    assert [number.name for number in NUMBERS if not number.name.endswith(units)] == ["retries"]


@given(st.sampled_from(NUMBERS), st.one_of(st.floats(), st.integers(), st.text("0123456789.-e nx", max_size=6)))
def test_what_is_allowed_is_read_and_all_else_is_refused_by_name(number: Number, written: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(number), str(written))
        lowest = number.lowest.read() if isinstance(number.lowest, Number) else number.lowest
        try:
            value = float(str(written))
        except ValueError:
            value = math.nan
        if lowest <= value <= number.highest and (value.is_integer() or not number.whole):
            assert number.read() == value
        else:
            with pytest.raises(ValueError) as caught:
                number.read()
            sentence = str(caught.value)
            assert sentence.startswith(f"the setting [sagewind] {number.name} is {str(written).strip()!r}: write a ")
            assert f"{lowest:g}" in sentence
            assert sentence.endswith(f"to {number.highest:g}")


@pytest.mark.parametrize(("word", "value"), [("False", False), ("true", True), ("0", False), (" T ", True)])
def test_a_switch_takes_the_words_that_airflow_takes(monkeypatch, word: str, value: bool) -> None:
    monkeypatch.setenv(variable(TRIGGERER), word)
    assert TRIGGERER.read() is value


def test_a_switch_refuses_another_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(TRIGGERER), "no")
    with pytest.raises(ValueError, match=r"\[sagewind\] triggerer is 'no': write True or False"):
        TRIGGERER.read()


def test_the_longest_pause_is_not_shorter_than_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(POLL_FIRST), "40")
    with pytest.raises(ValueError, match=r"poll_longest_seconds is 30, its default: write a number from 40 \(poll_fir"):
        POLL_LONGEST.read()
    monkeypatch.setenv(variable(POLL_LONGEST), "50")
    assert POLL_LONGEST.read() == 50


def test_the_configuration_file_is_read_and_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    conf.read_dict({"sagewind": {"retries": "7", "poll_first_seconds": "2"}})
    try:
        assert (RETRIES.count(), POLL_FIRST.read()) == (7, 2)
        settings.check()
        monkeypatch.setenv(variable(RETRIES), "8")
        assert RETRIES.count() == 8
        conf.set("sagewind", "pol_first_seconds", "2")
        with pytest.raises(
            ValueError, match=r"pol_first_seconds in section .* is no setting: did you mean 'poll_first_"
        ):
            settings.check()
    finally:
        conf.remove_section("sagewind")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("RETRY_DELAY_SECONDS", "soon", "retry_delay_seconds is 'soon': write a number from 0 to 86400"),
        ("FAULT_FIRST_SECONDS", "-1", "fault_first_seconds is '-1'"),  # which no DAG file uses itself
        ("RETRIES", "1.5", "retries is '1.5': write a whole number from 0 to 100"),
        ("WHATEVER", "4", "is no setting: use one of approval_look_again_seconds, capacity_first_seconds"),
        ("RETRY_DELAY", "4", r"retry_delay in section \[sagewind\] is no setting: did you mean 'retry_delay_seconds'"),
    ],
)
def test_a_wrong_setting_is_an_import_error(monkeypatch, name: str, value: str, sentence: str) -> None:
    monkeypatch.setenv(settings.PREFIX + name, value)
    with pytest.raises(ValueError, match=sentence):
        model_dags("tumor")


def test_retries_and_their_pauses_reach_tasks_and_the_policy_of_job_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.PREFIX + "RETRIES", "5")
    monkeypatch.setenv(settings.PREFIX + "RETRY_DELAY_SECONDS", "0.5")
    monkeypatch.setenv(settings.PREFIX + "RETRY_DELAY_LONGEST_SECONDS", "1.5")
    dag = training_dag(load_model("tumor"), ROOT)
    gate, prepare = dag.get_task("gate"), dag.get_task("prepare")
    assert (gate.retries, gate.retry_delay, gate.max_retry_delay) == (5, timedelta(seconds=0.5), timedelta(seconds=1.5))
    policy = prepare.retry_policy
    assert isinstance(policy, JobRetryPolicy)
    pauses = [policy._counted(times, "x").retry_delay for times in range(1, 6)]
    assert pauses == [timedelta(seconds=seconds) for seconds in (0.5, 1, 1.5, 1.5, 1.5)]
    assert policy._counted(6, "x").retry_delay is None


def test_a_question_looks_again_as_often_as_the_setting_or_its_own_argument_says(monkeypatch) -> None:
    monkeypatch.setenv(settings.PREFIX + "APPROVAL_LOOK_AGAIN_SECONDS", "7")
    with DAG("d", schedule=None):
        (asked, _), _ = Chain(load_model("tumor"), rehearsal=False).approval()
        own = AskApprovalOperator(
            task_id="own", subject="?", package_arn="a", connection="c", region=None, look_again=timedelta(seconds=3)
        )
    assert isinstance(asked, AskApprovalOperator)
    assert (asked.response_timeout, own.response_timeout) == (timedelta(seconds=7), timedelta(seconds=3))


def test_to_import_the_table_is_not_to_import_airflow() -> None:
    program = "import sys, sagewind.settings; sys.exit('airflow' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


def test_the_page_tells_of_every_setting_what_the_table_says() -> None:
    expected = [f"| `{s.name}` | {s.shown} | {s.allowed} | {s.read_by} | {s.meaning} |" for s in SETTINGS]
    names = "|".join(setting.name for setting in SETTINGS)
    found = [line for line in PAGE.read_text().splitlines() if re.match(rf"\| `({names})` \|", line)]
    assert found == expected


def test_the_page_tells_of_every_variable_of_the_environment() -> None:
    folders = ("plugins", "plugins/sagewind/workflows", "plugins/sagewind/pipeline")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    read = {name for file in files for name in re.findall(r"\bSAGEWIND_[A-Z]+", file.read_text())}
    listed = set(re.findall(r"^\| `(SAGEWIND_[A-Z]+)", PAGE.read_text(), re.MULTILINE))
    assert read == listed


def test_the_guide_of_the_local_endpoint_tells_of_its_variable() -> None:
    row = next(line for line in GUIDE.read_text().splitlines() if line.startswith("| `--cache` |"))
    assert "`~/.cache/localaws`" in row
    assert "`LOCALAWS_CACHE`" in row

"""The pytest plugin, as a project that uses it sees it: each test runs pytest in a directory of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from localaws import pytest_plugin
from localaws.testing import LocalAws
from localaws_tests.conftest import PACKAGE
from localaws_tests.serving_fixtures import Gate, Marked

EXAMPLES = PACKAGE / "examples"
HEAVY = ("moto", "boto3", "botocore", "optuna", "cheroot", "localaws.testing", "localaws.server")
Run = Callable[..., subprocess.CompletedProcess[str]]

# What the inner tests share: a job of the example's image, with a program that may be told to wait.
COMMON = """
import os, sys, time
import boto3, pytest

def train(name, entry="print('done')", **changes):
    boto3.client("sagemaker").create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": "mycompany/line:1", "TrainingInputMode": "File",
                                "ContainerEntrypoint": ["python3", "-c", entry]},
        RoleArn="arn:aws:iam::123456789012:role/any",
        OutputDataConfig={"S3OutputPath": "s3://data/models"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
        **changes,
    )
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "localaws.pytest_plugin", "--strict-markers", *arguments]


def environment() -> dict[str, str]:
    """Only this plugin is loaded: others of this environment import what they like."""
    return {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with the example's image and its setting."""
    made = tmp_path / "project"
    made.mkdir()
    shutil.copytree(EXAMPLES / "images", made / "images")
    shutil.copy(EXAMPLES / "pytest.ini", made)
    return made


@pytest.fixture
def run(project: Path) -> Run:
    """Run pytest on a module with this text."""

    def started(text: str, *arguments: str, settings: str = "") -> subprocess.CompletedProcess[str]:
        (project / "test_it.py").write_text(COMMON + textwrap.dedent(text))
        if settings:
            (project / "pytest.ini").write_text(f"[pytest]\n{settings}\n")
        where = f"--basetemp={project.parent / 'base'}"
        return subprocess.run(
            command(where, *arguments), cwd=project, env=environment(), capture_output=True, text=True, timeout=600
        )

    return started


def passed(done: subprocess.CompletedProcess[str], count: int) -> bool:
    return done.returncode == 0 and f"{count} passed" in done.stdout


@pytest.mark.long
def test_the_example_runs_in_an_empty_directory(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "copied")
    done = subprocess.run(
        command(), cwd=tmp_path / "copied", env=environment(), capture_output=True, text=True, timeout=600
    )
    assert passed(done, 5), done.stdout


def test_a_run_that_does_not_use_it_imports_nothing(project: Path) -> None:
    text = f"import sys\ndef test_it():\n    assert not [name for name in {HEAVY!r} if name in sys.modules]\n"
    (project / "test_it.py").write_text(text)
    done = subprocess.run(command(), cwd=project, env=environment(), capture_output=True, text=True, timeout=600)
    assert passed(done, 1), done.stdout
    entry = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert entry == {"localaws": "localaws.pytest_plugin"}


@pytest.mark.long
def test_the_page_about_it(run: Run) -> None:
    page = (PACKAGE / "docs" / "pytest.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    waits = """
        def test_boto3s_own_waiter(localaws):
            boto3.client("s3").create_bucket(Bucket="data")
            train("held", "import select; select.select([], [], [], 1)")
            sagemaker = boto3.client("sagemaker")
            sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="held")

        def test_the_shared_one(trained):
            assert trained.client("s3").list_buckets()["Buckets"] == []
        """
    done = run("\n".join(blocks) + textwrap.dedent(waits))
    assert passed(done, 4), done.stdout
    parser = Mock()
    pytest_plugin.pytest_addoption(parser)
    settings = [call.args[0] for call in parser.addini.call_args_list]
    assert re.findall(r"^\| `(localaws_\w+)`", page, re.MULTILINE) == settings
    rows = page.split("| of the fixture | |")[1].split("\n\n")[0]
    named = set(re.findall(r"(\w+)[(`]", " ".join(row.split("|")[1] for row in rows.splitlines() if row)))
    made = LocalAws(Mock(environment=dict.fromkeys(("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"), "")))
    assert named == {name for name in dir(made) if not name.startswith("_")} - {"failures"}


def test_every_test_has_a_clean_account_and_output_is_its_own(run: Run) -> None:
    done = run(
        """
        @pytest.mark.parametrize("turn", range(2))
        def test_turn(localaws, turn):
            sagemaker, s3, iam = boto3.client("sagemaker"), boto3.client("s3"), boto3.client("iam")
            assert sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
            assert sagemaker.list_endpoints()["Endpoints"] == []
            assert s3.list_buckets()["Buckets"] == []
            assert iam.list_roles()["Roles"] == []
            assert localaws.logs("ended") == []
            print("printed by the test")
            s3.create_bucket(Bucket="data")
            iam.create_role(RoleName="own", AssumeRolePolicyDocument="{}")
            train("ended")
            localaws.wait("training_job_completed_or_stopped", TrainingJobName="ended")
            assert localaws.logs("ended")[0] == "done"
            train("running", "import time; time.sleep(3600)")
            localaws.fault("ListModels", error="ServiceUnavailable", calls=1000)

        def test_faults_are_gone_too(localaws):
            assert boto3.client("sagemaker").list_models()["Models"] == []
        """,
        "-s",
    )
    assert passed(done, 3), done.stdout
    assert done.stdout.count("printed by the test") == 2
    assert "AWS_" not in done.stdout + done.stderr


def test_the_developers_own_settings_are_hidden_and_come_back(run: Run) -> None:
    done = run(
        """
        OWN = {"AWS_PROFILE": "dev", "AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own",
               "AWS_SESSION_TOKEN": "own", "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
               "HTTP_PROXY": "http://127.0.0.1:9", "AWS_RETRY_MODE": "legacy",
               "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
        os.environ.update(OWN)
        before = dict(os.environ)
        del os.environ["AWS_PROFILE"]
        boto3.client("s3", region_name="us-east-1").meta  # boto3's default session has credentials now
        os.environ["AWS_PROFILE"] = "dev"
        session = boto3.DEFAULT_SESSION

        @pytest.mark.parametrize("turn", range(2))
        def test_hidden(localaws, turn):
            assert "AWS_PROFILE" not in os.environ and "AWS_SESSION_TOKEN" not in os.environ
            assert os.environ["AWS_RETRY_MODE"] == "legacy"
            assert boto3.client("s3").list_buckets()["Buckets"] == []
            assert boto3.client("sts").get_caller_identity()["Account"] == "123456789012"
            assert {k: v for k, v in os.environ.items() if k in localaws.environment} == localaws.environment
            os.environ["AWS_MADE_BY_TEST"] = "x"

        def test_back():
            now = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
            assert now == {k: v for k, v in before.items() if k != "PYTEST_CURRENT_TEST"}
            assert boto3.DEFAULT_SESSION is session
        """
    )
    assert passed(done, 3), done.stdout


WRONG = {
    '"CreateTrainingJobs"': "SageMaker has no operation 'CreateTrainingJobs', did you mean CreateTrainingJob; ",
    '"CreateModel", error="Throttling"': "'error' cannot be 'Throttling'; it can be: ThrottlingException,",
    '"CreateModel", times=2': "'times' is no member of a fault; there are: operation, error, calls, skip, delay",
    '"CreateModel", calls=0': "'calls' is a number from 1 to 1000000",
    '"CreateModel", 2': "the mark localaws_fault takes one operation, ('CreateModel', 2) was found",
    "": "A fault needs 'operation', the name of an operation such as CreateTrainingJob",
}


def test_marks_that_are_wrong_are_one_sentence_each(run: Run) -> None:
    tests = "".join(
        f"        @pytest.mark.localaws_fault({arguments})\n        def test_{number}(localaws):\n            pass\n"
        for number, arguments in enumerate(WRONG)
    )
    tests += """
        @pytest.mark.localaws_fault("ListModels", calls=9)
        @pytest.mark.localaws_fault("Nonsense")
        def test_second_is_wrong(localaws):
            pass

        def test_after_it(localaws):
            assert boto3.client("sagemaker").list_models()["ResponseMetadata"]["RetryAttempts"] == 0

        @pytest.mark.localaws_fault("CreateModel")
        def test_without():
            pass

        def test_ended_endpoint(localaws):
            import signal
            os.kill(localaws._program._process.pid, signal.SIGKILL)
            localaws._program._process.wait()
        """
    done = run(textwrap.dedent(tests), "-rN")
    assert f"2 passed, {len(WRONG) + 3} errors" in done.stdout, done.stdout
    assert "localaws does not answer any more (" in done.stdout
    for said in WRONG.values():
        assert f"\n{said}" in done.stdout
    assert "\nthe mark localaws_fault is for tests that use the fixture localaws, this one does not\n" in done.stdout
    assert len(done.stdout.splitlines()) < 50, "a sentence each, and no stack"


@pytest.mark.long
def test_marks_are_tried_in_the_order_of_reading(run: Run) -> None:
    done = run(
        """
        from botocore.config import Config
        from botocore.exceptions import ClientError

        @pytest.mark.localaws_fault("*", error="InternalFailure")
        class TestBoth:
            @pytest.mark.localaws_fault("ListModels", error="AccessDeniedException", message="no")
            @pytest.mark.localaws_fault("ListModels", error="none", delay=0.01)
            @pytest.mark.localaws_fault("s3:*", error="ServiceUnavailable")
            def test_it(self, localaws):
                once = {"config": Config(retries={"total_max_attempts": 1})}
                sagemaker, said = localaws.client("sagemaker", **once), []
                for call in [sagemaker.list_models] * 4 + [localaws.client("s3", **once).list_buckets]:
                    try:
                        call()
                        said.append("")
                    except ClientError as error:
                        said.append(error.response["Error"]["Code"])
                assert said == ["InternalFailure", "AccessDeniedException", "", "", "ServiceUnavailable"]
        """
    )
    assert passed(done, 1), done.stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("localaws_images = nowhere", "localaws does not start: the directory of images {project}/nowhere"),
        ("localaws_profile = slow", "argument --profile: invalid choice: 'slow'"),
        (
            "localaws_arguments = --port {port}",
            "localaws does not start: port {port} of 127.0.0.1 is taken by another program",
        ),
        ("localaws_arguments = --colour", "unrecognized arguments: --colour"),
        (
            "localaws_arguments = --port {port}\nlocalaws_before_collection = true",
            "port {port} of 127.0.0.1 is taken by another program",
        ),
    ],
)
def test_an_endpoint_that_cannot_start_is_one_sentence(run: Run, project: Path, settings: str, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = {"project": project, "port": taken.getsockname()[1]}
        tests = "def test_a(localaws):\n    pass\ndef test_b(localaws):\n    pass\n"
        done = run(tests, "-rN", settings=settings.format(**words))
    assert done.returncode != 0
    assert said.format(**words) in done.stdout + done.stderr
    assert len((done.stdout + done.stderr).splitlines()) < 20, done.stdout


@pytest.mark.long
def test_a_failed_test_shows_what_its_failed_jobs_wrote(run: Run) -> None:
    done = run(
        """
        @pytest.mark.localaws_fault("ListEndpoints", error="InternalFailure", calls=99)
        def test_it(localaws):
            boto3.client("s3").create_bucket(Bucket="data")
            train("good")
            train("bad", "print('nearly there'); raise SystemExit(7)")
            localaws.wait("training_job_completed_or_stopped", TrainingJobName="good")
            localaws.wait("training_job_completed_or_stopped", TrainingJobName="bad")
        """
    )
    assert "1 failed" in done.stdout
    assert "site-packages" not in done.stdout, "where botocore gave up tells nobody anything"
    section = done.stdout.split("--- localaws ---")[1]
    assert "training job bad failed: AlgorithmError" in section
    assert "exit code: 7" in section
    assert "    nearly there" in section
    assert "good" not in section


@pytest.mark.long
def test_a_shared_account_lives_beside_the_clean_ones(run: Run) -> None:
    done = run(
        """
        @pytest.fixture(scope="session")
        def prepared(localaws_session):
            boto3.client("s3").create_bucket(Bucket="shared")
            return localaws_session

        def names():
            return [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]

        def test_first(prepared):
            assert names() == ["shared"]

        def test_clean(localaws):
            assert names() == []
            boto3.client("s3").create_bucket(Bucket="own")

        def test_still_there(prepared):
            assert names() == ["shared"]

        def test_both(prepared, localaws):
            assert names() == []
            assert prepared.endpoint_url != localaws.endpoint_url
            assert len(prepared.client("s3").list_buckets()["Buckets"]) == 1

        @pytest.mark.localaws_fault("ListModels")
        def test_marked(localaws_session):
            pass
        """
    )
    assert "4 passed, 1 error" in done.stdout, done.stdout
    assert "this one does not; with localaws_session call localaws_session.fault(...)" in done.stdout


@pytest.mark.long
def test_clients_made_at_import(run: Run, project: Path) -> None:
    (project / "application.py").write_text("import boto3\ns3 = boto3.client('s3')\n")
    done = run(
        """
        import application

        def test_without_the_fixture():
            application.s3.create_bucket(Bucket="left")

        @pytest.mark.parametrize("turn", range(2))
        def test_with_it(localaws, turn):
            assert application.s3.list_buckets()["Buckets"] == []
            application.s3.create_bucket(Bucket="own")
        """,
        "-p", "xdist.plugin", "-p", "xdist.looponfail", "-n", "1",
        settings="localaws_before_collection = true\npythonpath = .",
    )  # fmt: skip
    assert passed(done, 3), done.stdout + done.stderr


@pytest.mark.long
def test_workers_of_xdist_have_an_endpoint_each(run: Run, project: Path) -> None:
    done = run(
        """
        import pathlib

        @pytest.mark.parametrize("turn", range(6))
        def test_it(localaws, turn):
            pathlib.Path(f"url-{os.environ['PYTEST_XDIST_WORKER']}").write_text(localaws.endpoint_url)
            s3 = boto3.client("s3")
            assert s3.list_buckets()["Buckets"] == []
            s3.create_bucket(Bucket="data")
            train("same-name")
            localaws.wait("training_job_completed_or_stopped", TrainingJobName="same-name")
            assert localaws.logs("same-name")[0] == "done"
        """,
        "-p", "xdist.plugin", "-p", "xdist.looponfail", "-n", "2",
    )  # fmt: skip
    assert passed(done, 6), done.stdout
    assert len({path.read_text() for path in project.glob("url-*")}) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_run_that_is_ended(project: Path, number: signal.Signals) -> None:
    marked, gate = Marked(), Gate()
    (project / "test_it.py").write_text(
        COMMON
        + textwrap.dedent("""
        import socket

        def test_it(localaws):
            boto3.client("s3").create_bucket(Bucket="data")
            entry = f"import os, socket; socket.create_connection(('127.0.0.1', {os.environ['GATE']})).recv(1)"
            train("held", entry, Environment={"MARK": os.environ["MARK"]})
            time.sleep(3600)
        """)
    )
    process = subprocess.Popen(
        command("-q"),
        cwd=project,
        env={**environment(), **marked.variables, "GATE": gate.port},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Who is started in the background by a shell ignores Ctrl-C, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with gate.wait_reached():
        assert len(marked.pids()) >= 3  # pytest, the endpoint, the job
        process.send_signal(number)
        process.wait(240)
        marked.wait_gone()
        assert marked.pids() == []
    gate.close()

"""Snapshots of sources, into the S3 of the local endpoint; and the ingest task that plans a run."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError

import pytest

from sagewind import s3, sources
from sagewind.aws import AwsClients
from sagewind.errors import TaskRefused
from sagewind.operators.ingest import IngestOperator
from sagewind.pipeline import source
from sagewind.pipeline.errors import SourceError
from sagewind.pipeline.spec import ModelSpec
from tests.conftest import ROOT
from tests.models import load_model

AWS = AwsClients("c", None)


@pytest.fixture(scope="module", autouse=True)
def bucket(endpoint) -> None:
    from localaws_tests.conftest import client_of

    client_of(endpoint, "s3").create_bucket(Bucket="lake")


def take(uri: str, target: str) -> dict[str, Any]:
    return sources.snapshot(AWS, source.parse(uri), target)


def test_a_set_of_scikit_learn(request: pytest.FixtureRequest) -> None:
    target = f"s3://lake/{request.node.name}"
    assert take("sklearn://breast_cancer", target)["files"] == 1
    lines = s3.get_text(AWS, f"{target}/breast_cancer.csv").splitlines()
    assert len(lines) == 570
    assert lines[0].endswith(",target")


def test_files_and_folders(tmp_path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "sub/b.csv").write_text("x\n2\n")
    target = f"s3://lake/{request.node.name}"
    assert take(f"file://{tmp_path}", target) == {"uri": target, "files": 2, "bytes": 8}
    assert s3.get_text(AWS, f"{target}/sub/b.csv") == "x\n2\n"


def test_a_cleared_task_takes_nothing_of_its_old_source(tmp_path, request: pytest.FixtureRequest) -> None:
    target = f"s3://lake/{request.node.name}"
    for name in ("old", "new"):
        (tmp_path / f"{name}.csv").write_text("x\n1\n")
        take(f"file://{tmp_path}/{name}.csv", target)
    assert [item["Key"].rsplit("/", 1)[1] for item in s3.listing(AWS, target)] == ["new.csv"]


def test_an_s3_prefix_is_a_folder_and_not_the_beginning_of_a_name(request: pytest.FixtureRequest) -> None:
    target = f"s3://lake/{request.node.name}"
    for key in ("in/day/a.csv", "in/day/part/b.csv", "in/day-old/c.csv"):
        s3.put_text(AWS, f"s3://lake/{key}", "x\n1\n")
    take("s3://lake/in/day", target)
    names = [item["Key"].split(f"{request.node.name}/")[1] for item in s3.listing(AWS, target)]
    assert names == ["a.csv", "part/b.csv"]
    take("s3://lake/in/day/a.csv", f"{target}-one")
    assert s3.get_text(AWS, f"{target}-one/a.csv") == "x\n1\n"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("file:///nowhere/a.csv", "'file:///nowhere/a.csv' is not there: give the path"),
        (f"file:///{'a' * 3000}", "' is not there: give the path"),
        ("s3://lake/nothing/here", "is empty: found 0 files"),
        ("s3://there-is-no-such-lake/a", "cannot be read .*NoSuchBucket.*: check the bucket's name"),
        ("s3://Not_A_Bucket!/a", "cannot be read .*Invalid bucket name.*: check the bucket's name"),
        ("openml://adult?version=two", "check its name and version"),
    ],
)
def test_what_is_not_there_is_said(uri: str, says: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(SourceError, match=says):
        take(uri, f"s3://lake/absent-{abs(hash(uri))}")


class Answer(io.BytesIO):
    """What urllib hands out: a body and its headers."""

    def __init__(self, body: bytes, length: int) -> None:
        super().__init__(body)
        self.headers = {"Content-Length": str(length)}


def test_https_arrives_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "urlopen", lambda *_, **__: Answer(b"x\n1\n", 4))
    assert take("https://example.org/a.csv", "s3://lake/whole")["bytes"] == 4
    monkeypatch.setattr(sources, "urlopen", lambda *_, **__: Answer(b"x\n", 4))
    with pytest.raises(ConnectionError, match="2 bytes early"):
        take("https://example.org/a.csv", "s3://lake/cut")


@pytest.mark.parametrize(
    ("code", "error"), [(404, SourceError), (403, SourceError), (503, HTTPError), (429, HTTPError)]
)
def test_a_refusal_is_final_and_a_busy_server_is_not(monkeypatch, code: int, error: type[Exception]) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise HTTPError("https://example.org/a.csv", code, "no", {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr(sources, "urlopen", refuse)
    with pytest.raises(error):
        take("https://user:secret@example.org/a.csv?token=t", "s3://lake/refused")


def test_no_credential_of_a_source_is_shown() -> None:
    assert source.parse("https://user:secret@example.org/a.csv?token=t").shown == "https://example.org/a.csv"


def test_a_set_that_openml_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.datasets
    from sklearn.datasets._openml import OpenMLError

    def refuse(*_: Any, **__: Any) -> None:
        raise OpenMLError("unknown data set")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", refuse)
    with pytest.raises(SourceError, match="'openml://nothing' is not there"):
        take("openml://nothing", "s3://lake/openml")


def ingest(task, uri: str, spec: ModelSpec | None = None, **options: Any) -> dict[str, Any]:
    run = SimpleNamespace(
        data_interval_start=None, data_interval_end=None, run_after=datetime(2026, 1, 1, tzinfo=UTC), conf=None
    )
    operator = IngestOperator(
        task_id="ingest",
        spec=spec or load_model("tumor"),
        source_override=uri,
        connection="c",
        rehearsal=True,
        **{"project": ROOT, **options},
    )
    return operator.execute({**task.context, "dag_run": run})


def test_ingest_plans_snapshots_and_uploads_what_the_jobs_need(task) -> None:
    plan = ingest(task, "None")
    assert plan["source"] == "sklearn://breast_cancer"
    assert plan["snapshot"]["files"] == 1
    assert json.loads(s3.get_text(AWS, f"{plan['config']}/job.json"))["data"]["target"] == "target"
    code = {item["Key"].partition("/sagewind/jobs/")[2] for item in s3.listing(AWS, plan["code"])}
    assert {"prepare.py", "evaluate.py", "monitor/__main__.py", "quality/analyze.py"} <= code
    assert [item["Key"].rsplit("/", 1)[1] for item in s3.listing(AWS, plan["sourcedir"])] == ["sourcedir.tar.gz"]
    assert ingest(task, "None")["prefix"] == plan["prefix"]


def test_a_run_that_takes_no_data_needs_no_window_for_it(task) -> None:
    tumor = load_model("tumor")
    spec = tumor.model_copy(update={"data": tumor.data.model_copy(update={"source": "s3://lake/{window_start}"})})
    assert "snapshot" not in ingest(task, "", spec, project=None)
    with pytest.raises(
        TaskRefused, match="wants window_start, but this run has no interval: .* or give it another source"
    ):
        ingest(task, "", spec)


def test_a_bad_source_is_one_sentence_and_no_retry(task) -> None:
    with pytest.raises(TaskRefused, match="use one of sklearn://"):
        ingest(task, "ftp://host/a.csv")

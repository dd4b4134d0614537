"""The plan of a run, its job.json and the code bundle."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from datetime import UTC, datetime

import pytest

from sagewind.facts import job_json
from sagewind.pipeline import bundle, plan
from sagewind.pipeline.errors import ModelFileError
from sagewind.pipeline.spec import AwsSpec, DataSpec, EvaluateSpec, TrainSpec
from tests.conftest import ROOT
from tests.models import load_model


def make(
    run_id: str = "r", rehearsal: bool = False, model: str = "tumor", region: str = "eu-west-1", **aws: object
) -> dict:
    spec = load_model(model)
    return plan.make(
        spec.model_copy(update={"aws": AwsSpec(**aws)}),
        dag_id="d",
        run_id=run_id,
        account="123456789012",
        region=region,
        source="s",
        window_start=None,
        window_end=datetime(2026, 1, 1, tzinfo=UTC),
        code_hash="c0de",
        rehearsal=rehearsal,
    )


def test_runs_share_nothing_but_code_and_bucket() -> None:
    one, two = make("scheduled__2026-01-01T00:00:00+00:00"), make("scheduled__2026-01-08T00:00:00+00:00")
    assert one["prefix"] != two["prefix"]
    assert one["code"] == two["code"]
    assert one["prefix"].startswith("s3://sagewind-123456789012-eu-west-1/sagewind/tumor/runs/scheduled-2026-01-01")


def test_a_rehearsal_touches_no_production_name() -> None:
    rehearsal, production = make(rehearsal=True), make()
    assert production["names"] == {"endpoint": "tumor", "group": "tumor"}
    assert not set(rehearsal["names"].values()) & set(production["names"].values())
    assert rehearsal["run_hash"] in rehearsal["names"]["endpoint"]
    assert rehearsal["capture"].startswith(rehearsal["prefix"])


def test_role_arn() -> None:
    assert plan.role_arn(AwsSpec(role="R"), "1") == "arn:aws:iam::1:role/R"
    assert plan.role_arn(AwsSpec(role="arn:aws:iam::2:role/X"), "1") == "arn:aws:iam::2:role/X"


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1"])
def test_a_run_in_a_region_without_a_known_registry_is_refused(region: str) -> None:
    with pytest.raises(ModelFileError, match=f"region '{region}' has no known registry of the image 'sklearn': use"):
        make(region=region)


def test_a_plan_holds_the_images_that_its_requests_name() -> None:
    assert set(make()["images"]) == {"sklearn"}
    assert set(make(model="census")["images"]) == {"sklearn", "xgboost"}


def test_job_json_says_what_the_model_file_says() -> None:
    spec, made = load_model("tumor"), make()
    config = job_json.parse(json.loads(json.dumps(plan.job_config(spec, made))))
    assert (config.model, config.run_key, config.problem) == ("tumor", made["run_key"], spec.problem)
    assert config.window == job_json.WindowConfig(None, datetime(2026, 1, 1, tzinfo=UTC))
    assert config.data.target == spec.data.target
    assert config.evaluate == job_json.EvaluateConfig(dict(spec.evaluate.gates), spec.evaluate.threshold)


def test_every_data_key_of_a_model_file_that_jobs_must_know_is_in_job_json() -> None:
    known = {field.name for field in dataclasses.fields(job_json.DataConfig)}
    assert set(DataSpec.model_fields) - plan.NOT_FOR_JOBS == known


def test_what_a_model_file_leaves_out_is_what_job_json_takes_for_it() -> None:
    spec = load_model("tumor")
    data = DataSpec(source=spec.data.source, target="t")
    short = spec.model_copy(update={"data": data, "evaluate": EvaluateSpec()})
    made = plan.job_config(short, make())
    assert job_json.parse(made) == job_json.JobConfig(
        spec.name, made["run_key"], job_json.DataConfig("t"), window=job_json.parse(made).window
    )


def test_texts_that_mean_missing_lose_their_blanks() -> None:
    assert DataSpec(source="sklearn://breast_cancer", target="t", na_values=(" ? ",)).na_values == ("?",)


def test_the_tarball_repeats_its_bytes_and_reads_back() -> None:
    files = {"train.py": b"print(1)", "serve.py": b"print(2)"}
    packed = bundle.tarball(files)
    assert packed == bundle.tarball(dict(reversed(list(files.items()))))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert {name: archive.extractfile(name).read() for name in archive.getnames()} == files


def test_the_bundle_changes_with_its_content() -> None:
    assert bundle.digest({"a": b"1"}) != bundle.digest({"a": b"2"})
    assert bundle.digest({"a": b"1"}) != bundle.digest({"b": b"1"})


def test_a_missing_script_is_named() -> None:
    train = TrainSpec(framework="sklearn", script="include/scripts/no.py")
    with pytest.raises(ModelFileError, match=r"train.script is 'include/scripts/no.py': there is no such file"):
        bundle.script_files(train, ROOT)

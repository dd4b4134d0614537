"""Tuning jobs through boto3: real trainings side by side, the best one found, limits kept, stop and restart."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from localaws.errors import ValidationException
from localaws.jobs.training import KIND as TRAINING
from localaws.server import Endpoint
from localaws.tuning.ranges import Range, grid_size, read_ranges
from localaws.tuning.strategies import make_search
from localaws.tuning.tuning_run import KIND
from localaws_tests.conftest import channel, client_of, log_lines, poll, training_request

# A bowl whose deepest point is eta 0.3; the image's metric is called validation:auc.
BOWL = "print('validation-auc:%.6f' % (1 - (float(hyperparameters['eta']) - 0.3) ** 2))"
PATIENCE = 240.0  # seconds: a dozen of trainings, one after the other
CONTINUOUS = {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.0", "MaxValue": "1.0"}]}


def tuning_request(
    name: str, script: str = BOWL, definition: dict[str, Any] | None = None, **config: Any
) -> dict[str, Any]:
    training = training_request("unused", script)
    static = training.pop("HyperParameters")
    del training["TrainingJobName"]
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:auc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": CONTINUOUS,
            "RandomSeed": 7,
            **config,
        },
        "TrainingJobDefinition": {**training, "StaticHyperParameters": static, **(definition or {})},
    }


def ended(endpoint: Endpoint, sagemaker: Any, name: str) -> dict[str, Any]:
    """boto3 has no waiter for tuning jobs."""
    ticket = endpoint.ctx.jobs.find(KIND, name)
    assert ticket is None or ticket.ended.wait(PATIENCE)
    return sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


@pytest.fixture
def short(name: str) -> str:
    return name[-32:].strip("-")


@pytest.mark.executes("CreateHyperParameterTuningJob", "DescribeHyperParameterTuningJob")
@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_finds_the_best_of_real_trainings(
    endpoint: Endpoint, sagemaker: Any, s3: Any, short: str, strategy: str
) -> None:
    request = tuning_request(short, Strategy=strategy)
    arn = sagemaker.create_hyper_parameter_tuning_job(**request, Tags=[{"Key": "team", "Value": "a"}])[
        "HyperParameterTuningJobArn"
    ]
    job = ended(endpoint, sagemaker, short)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Completed"] == 4
    assert job["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    listed = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=short, SortBy="FinalObjectiveMetricValue", SortOrder="Descending"
    )["TrainingJobSummaries"]
    values = [j["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for j in listed]
    assert values == sorted(values, reverse=True)
    assert job["BestTrainingJob"]["TrainingJobName"] == listed[0]["TrainingJobName"]
    for child in listed:
        eta = float(child["TunedHyperParameters"]["eta"])
        value = child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        assert value == pytest.approx(1 - (eta - 0.3) ** 2, abs=1e-6)
        described = sagemaker.describe_training_job(TrainingJobName=child["TrainingJobName"])
        assert described["TuningJobArn"] == arn
        assert described["HyperParameters"]["_tuning_objective_metric"] == "validation:auc"
        assert sagemaker.list_tags(ResourceArn=child["TrainingJobArn"])["Tags"] == [{"Key": "team", "Value": "a"}]
    numbers = sorted(j["TrainingJobName"].removeprefix(f"{short}-")[:3] for j in listed)
    assert numbers == ["001", "002", "003", "004"]


def test_parallel_limit_is_used_and_kept(start_endpoint: Callable[..., Endpoint], tmp_path: Path, short: str) -> None:
    endpoint = start_endpoint(jobs=4)
    sagemaker = client_of(endpoint, "sagemaker")
    client_of(endpoint, "s3").create_bucket(Bucket="data")
    limits = {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2}
    # Each training waits until as many as may run have come to this point.
    script = "import time; print('up', flush=True)\nwhile not (root / 'go').exists(): time.sleep(0.02)\n" + BOWL
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, script, ResourceLimits=limits))

    def names() -> list[str]:
        return [j["TrainingJobName"] for j in sagemaker.list_training_jobs(NameContains=short)["TrainingJobSummaries"]]

    logs, released = client_of(endpoint, "logs"), set[str]()

    def waiting() -> list[str]:
        new = [name for name in names() if name not in released]
        return [name for name in new if "up" in log_lines(logs, "/aws/sagemaker/TrainingJobs", name)]

    for _ in range(2):
        pair = poll(lambda: found if len(found := waiting()) == 2 else None)
        for name in pair:
            (endpoint.ctx.config.state / "jobs" / TRAINING / name / "algo-1" / "ml" / "go").touch()
        released.update(pair)
    ended(endpoint, sagemaker, short)
    spans = []
    for name in names():
        described = sagemaker.describe_training_job(TrainingJobName=name)
        spans.append((described["TrainingStartTime"], described["TrainingEndTime"]))
    assert len(spans) == 4
    at_once = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]
    assert max(at_once) == 2


@pytest.mark.executes("CreateHyperParameterTuningJob", "ListTrainingJobsForHyperParameterTuningJob")
def test_grid_tries_every_combination(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    ranges = {
        "CategoricalParameterRanges": [
            {"Name": "eta", "Values": ["0.1", "0.3"]},
            {"Name": "shape", "Values": ["a", "b"]},
        ]
    }
    limits = {"MaxParallelTrainingJobs": 3}
    request = tuning_request(short, Strategy="Grid", ParameterRanges=ranges, ResourceLimits=limits)
    sagemaker.create_hyper_parameter_tuning_job(**request)
    job = ended(endpoint, sagemaker, short)
    listed = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=short)
    tried = {tuple(sorted(j["TunedHyperParameters"].items())) for j in listed["TrainingJobSummaries"]}
    assert tried == {(("eta", e), ("shape", s)) for e, s in itertools.product(("0.1", "0.3"), "ab")}
    assert job["BestTrainingJob"]["TunedHyperParameters"] == {"eta": "0.3", "shape": "a"}


@pytest.mark.executes("StopHyperParameterTuningJob")
def test_stop_ends_the_training_jobs(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, "import time; time.sleep(600)"))
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=short)
    job = ended(endpoint, sagemaker, short)
    assert job["HyperParameterTuningJobStatus"] == "Stopped"
    counters = job["TrainingJobStatusCounters"]
    assert counters["InProgress"] == counters["Completed"] == 0
    assert "BestTrainingJob" not in job


def test_without_any_objective_the_tuning_job_fails(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, "print('nothing to see')"))
    job = ended(endpoint, sagemaker, short)
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("No objective metrics found after")


def test_target_value_ends_the_search(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    request = tuning_request(
        short,
        ResourceLimits={"MaxNumberOfTrainingJobs": 50, "MaxParallelTrainingJobs": 1},
        TuningJobCompletionCriteria={"TargetObjectiveMetricValue": 0.0},
    )
    sagemaker.create_hyper_parameter_tuning_job(**request)
    job = ended(endpoint, sagemaker, short)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Completed"] == 1


def test_goes_on_after_a_restart(start_endpoint: Callable[..., Endpoint], tmp_path: Path) -> None:
    """The training job that ran fails with a reason, the rest of the search is still done."""
    script = """
import time
while (root / "input/data/mode/mode.txt").read_text() == "hang":
    print("up", flush=True)
    time.sleep(60)
"""
    first = start_endpoint(tmp_path / "state", jobs=1)
    sagemaker, s3 = client_of(first, "sagemaker"), client_of(first, "s3")
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="mode.txt", Body=b"hang")
    request = tuning_request(
        "again",
        script + BOWL,
        {"InputDataConfig": [channel("mode", "s3://data/mode.txt")]},
        ResourceLimits={"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1},
    )
    sagemaker.create_hyper_parameter_tuning_job(**request)
    summaries = poll(lambda: sagemaker.list_training_jobs(NameContains="again")["TrainingJobSummaries"])
    child = summaries[0]["TrainingJobName"]
    poll(lambda: "up" in log_lines(client_of(first, "logs"), "/aws/sagemaker/TrainingJobs", child))
    s3.put_object(Bucket="data", Key="mode.txt", Body=b"go")  # the running job has its own link to the old one
    first.close()

    second = start_endpoint(tmp_path / "state")
    job = ended(second, client_of(second, "sagemaker"), "again")
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    counters = job["TrainingJobStatusCounters"]
    assert (counters["RetryableError"], counters["Completed"]) == (1, 2)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"Strategy": "Hyperband"},
            "MaxResource parameter is not provided and could not be inferred from provided static",
        ),
        ({"ParameterRanges": {}}, "names no hyperparameter to tune"),
        ({"Strategy": "Grid"}, "categorical parameters only"),
        (
            {"HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "f1"}},
            "'f1' is not defined; metrics of this algorithm: validation:auc",
        ),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 1}}, "MaxNumberOfTrainingJobs is required"),
    ],
)
def test_what_would_be_broken_is_refused(sagemaker: Any, short: str, change: dict[str, Any], text: str) -> None:
    with pytest.raises(ClientError) as refused:
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, **change))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert text in refused.value.response["Error"]["Message"]


@pytest.mark.executes("DeleteHyperParameterTuningJob")
def test_duplicate_missing_and_delete(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    with pytest.raises(ClientError) as missing:
        sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=short)
    assert missing.value.response["Error"]["Code"] == "ValidationException"
    limits = {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1}
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, ResourceLimits=limits))
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, ResourceLimits=limits))
    ended(endpoint, sagemaker, short)
    sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=short)
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=short)


numbers = st.floats(0.001, 0.999).map(lambda x: round(x, 6))


@settings(max_examples=60)
@given(
    pair=st.tuples(numbers, numbers),
    scaling=st.sampled_from(["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]),
    strategy=st.sampled_from(["Random", "Bayesian"]),
    seed=st.integers(0, 2**31 - 1),
)
def test_values_stay_in_their_range_and_survive_as_text(
    pair: tuple[float, float], scaling: str, strategy: str, seed: int
) -> None:
    low, high = sorted(pair)
    (tuned,) = read_ranges(
        {
            "ContinuousParameterRanges": [
                {"Name": "x", "MinValue": str(low), "MaxValue": str(high), "ScalingType": scaling}
            ]
        }
    )
    search = make_search(strategy, (tuned,), maximize=True, total=6, parallel=1, seed=seed)
    again = make_search(strategy, (tuned,), maximize=True, total=6, parallel=1, seed=seed)
    for number in range(4):
        tried = search.ask()
        assert low <= float(tried["x"]) <= high
        assert again.ask() == tried
        for each in (search, again):
            each.tell(number, float(number) if number % 2 else None)


@given(low=st.integers(1, 50), span=st.integers(0, 50), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_integers_are_integers(low: int, span: int, seed: int) -> None:
    ranges = read_ranges({"IntegerParameterRanges": [{"Name": "n", "MinValue": str(low), "MaxValue": str(low + span)}]})
    search = make_search("Random", ranges, maximize=False, total=5, parallel=1, seed=seed)
    assert low <= int(search.ask()["n"]) <= low + span


@pytest.mark.parametrize(
    ("ranges", "text"),
    [
        ({"IntegerParameterRanges": [{"Name": "n", "MinValue": "1.5", "MaxValue": "2"}]}, "must be integer numbers"),
        ({"ContinuousParameterRanges": [{"Name": "n", "MinValue": "2", "MaxValue": "1"}]}, "must not be above"),
        (
            {
                "ContinuousParameterRanges": [
                    {"Name": "n", "MinValue": "0", "MaxValue": "1", "ScalingType": "Logarithmic"}
                ]
            },
            "needs a MinValue above 0",
        ),
    ],
)
def test_ranges_that_make_no_sense_are_named(ranges: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationException, match=text):
        read_ranges(ranges)


def test_grid_size() -> None:
    assert grid_size([Range("a", "categorical", values=("1", "2")), Range("b", "categorical", values=("x",) * 3)]) == 6

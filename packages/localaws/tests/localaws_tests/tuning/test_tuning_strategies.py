"""Strategies, stopping rules, warm start and several definitions: pure parts alone, the rest with real trainings."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.errors import ValidationException
from localaws.resources.hyper_parameter_tuning_job import create_tuning_job
from localaws.server import Endpoint
from localaws.tuning.ranges import read_ranges
from localaws.tuning.stop import Hyperband, MedianRule, resources
from localaws.tuning.strategies import make_search
from localaws.tuning.trials import not_improving
from localaws.tuning.tuning_request import TuningObjective
from localaws_tests.conftest import channel, client_of, log_lines, poll
from localaws_tests.job_helpers import TRAINING_LOGS
from localaws_tests.tuning.test_tuning import BOWL, ended, short, tuning_request

assert short  # a fixture

RANGES = {
    "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.0", "MaxValue": "1.0"}],
    "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "10"}],
    "CategoricalParameterRanges": [{"Name": "shape", "Values": ["a", "b", "c"]}],
}
CHOICES = {"CategoricalParameterRanges": [{"Name": "eta", "Values": ["0.3", "0.9"]}]}
GRID = [
    {"Name": "eta", "Values": ["0.1", "0.3", "0.5", "0.7", "0.9"]},
    {"Name": "shape", "Values": ["a", "b", "c", "d"]},
]
# What a training job has for a number: <tuning job>-<number>-<digest>.
NUMBER = "number = int(os.environ['TRAINING_JOB_NAME'].split('-')[-2])\n"
PRINT = "def say(value): print('validation-auc:%.6f' % value, flush=True)\n"
PAUSE = "import signal; signal.pause()\n"


def value_of(tried: dict[str, str]) -> float:
    return 1 - (float(tried["eta"]) - 0.3) ** 2 - 0.01 * int(tried["depth"]) + 0.1 * (tried["shape"] == "b")


def play(
    strategy: str, parallel: int, order: random.Random, total: int = 20, restarts: int = 0
) -> list[dict[str, str]]:
    """Run a search whose trials end in a random order, `parallel` at once; with restarts of the endpoint between."""
    total = 20
    ranges = read_ranges({"CategoricalParameterRanges": GRID} if strategy == "Grid" else RANGES)

    def fresh() -> Any:
        return make_search(strategy, ranges, maximize=True, total=total, parallel=parallel, seed=11)

    search, tried, running, results = fresh(), [], [], {}
    stops = sorted(order.sample(range(1, total), restarts))
    while len(tried) < total or running:
        if stops and len(tried) == stops[0]:
            stops.pop(0)
            search = fresh()
            for number, value in results.items():
                search.tell(number, value)
            for each in tried:
                search.replay(each)
        while len(tried) < total and len(running) < parallel and search.ready():
            running.append(len(tried))
            tried.append(search.ask())
            if stops and len(tried) == stops[0]:
                break
        number = running.pop(order.randrange(len(running)))
        # every seventh fails
        results[number] = None if number % 7 == 5 else value_of({"depth": "1", "shape": "a", **tried[number]})
        search.tell(number, results[number])
    return tried


@pytest.mark.parametrize("strategy", ["Random", "Bayesian", "Hyperband", "Grid"])
@pytest.mark.parametrize("parallel", [1, 3])
def test_one_seed_gives_one_list_whichever_trial_ends_first_and_across_restarts(strategy: str, parallel: int) -> None:
    first = play(strategy, parallel, random.Random(1))
    assert play(strategy, parallel, random.Random(2)) == first
    assert play(strategy, parallel, random.Random(3), restarts=2) == first
    assert len({tuple(each.items()) for each in first}) == len(first)


def test_a_bayesian_search_finds_better_values_than_a_random_one() -> None:
    def top(strategy: str, seed: int) -> float:
        ranges = read_ranges(RANGES)
        search = make_search(strategy, ranges, maximize=True, total=40, parallel=1, seed=seed)
        values = []
        for number in range(40):
            values.append(value_of(search.ask()))
            search.tell(number, values[-1])
        return fmean(values[20:])

    assert all(top("Bayesian", seed) > top("Random", seed) for seed in range(3))


def test_the_median_rule_is_the_one_of_the_guide() -> None:
    """Against the rule written down a second time, straight from its three sentences."""
    draw = random.Random(5)
    rule, before = MedianRule(maximize=True), []
    for trial in range(30):
        values: list[float] = []
        for epoch in range(1, draw.randint(2, 8)):
            values.append(draw.random() + 0.05 * epoch)
            others = [fmean(history[:epoch]) for history in before if len(history) >= epoch]
            assert rule.report(trial, values) == bool(others and values[-1] < median(others))
        rule.complete(trial, values)
        before.append(values)


def test_hyperband_spares_the_good_and_keeps_its_bounds() -> None:
    rule = Hyperband(maximize=False, least=2, most=18, limit=18)
    epochs = []
    for trial in range(27):
        rule.begin(trial)
        values: list[float] = []
        for _ in range(30):
            values.append(float(trial))  # each is worse than all before it
            if rule.report(trial, values):
                break
        epochs.append(len(values))
    assert epochs[0] == 19  # the first value after MaxResource ends it
    assert min(epochs) == 2
    assert sum(count < 18 for count in epochs) >= 20
    best = Hyperband(maximize=False, least=2, most=18, limit=None)
    for trial in range(9):
        best.begin(trial)
        assert not any(best.report(trial, [-float(trial)] * count) for count in range(1, 31))


@pytest.mark.parametrize(
    ("given", "static", "expected"),
    [
        ({"MinResource": 2, "MaxResource": 9}, {}, (2, 9, 9)),
        ({}, {"epochs": "12"}, (1, 12, None)),
        ({"MinResource": 3}, {"n_epochs": "30", "eta": "1"}, (3, 30, None)),
    ],
)
def test_hyperband_reads_its_resources(given: dict[str, int], static: dict[str, str], expected: Any) -> None:
    assert resources({"StrategyConfig": {"HyperbandStrategyConfig": given}}, static) == expected


@pytest.mark.parametrize(
    ("given", "static", "text"),
    [
        ({}, {}, "could not be inferred"),
        ({}, {"epochs": "many"}, "could not be inferred"),
        ({"MinResource": 5, "MaxResource": 4}, {}, "MinResource 5 must not be above MaxResource 4"),
        ({"MaxResource": 20001}, {}, "must not be above 20000"),
    ],
)
def test_hyperband_refuses_impossible_resources(given: dict[str, int], static: dict[str, str], text: str) -> None:
    with pytest.raises(ValidationException, match=text):
        resources({"StrategyConfig": {"HyperbandStrategyConfig": given}}, static)


def test_an_improvement_of_one_percent_is_none() -> None:
    up, down = TuningObjective("m", True), TuningObjective("m", False)
    assert not_improving(up, []) == 0
    assert not_improving(up, [1.0, 1.005, 1.009, 1.2, 1.2, 0.5]) == 2
    assert not_improving(down, [1.0, 0.995, 0.98, 0.98]) == 1
    assert not_improving(down, [-1.0, -1.5, -1.0, -1.0, -1.0]) == 3


def tried(sagemaker: Any, name: str) -> list[dict[str, Any]]:
    return sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, MaxResults=100
    )["TrainingJobSummaries"]


@pytest.mark.executes("CreateHyperParameterTuningJob", "ListTrainingJobsForHyperParameterTuningJob")
def test_hyperband_stops_training_jobs(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    """All but the first would never end by themselves."""
    script = NUMBER + PRINT + "[say(1 / number) for epoch in range(10 - (number == 1))]\n" + f"if number > 1: {PAUSE}"
    request = tuning_request(
        short,
        script,
        Strategy="Hyperband",
        StrategyConfig={"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": 9}},
        ResourceLimits={"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 2},
    )
    sagemaker.create_hyper_parameter_tuning_job(**request)
    job = ended(endpoint, sagemaker, short)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert (job["TrainingJobStatusCounters"]["Completed"], job["TrainingJobStatusCounters"]["Stopped"]) == (1, 4)
    assert job["BestTrainingJob"]["TrainingJobName"].startswith(f"{short}-001-")
    assert job["ObjectiveStatusCounters"]["Succeeded"] == 5
    records = [endpoint.ctx.store.get("training-job", each["TrainingJobName"]) for each in tried(sagemaker, short)]
    assert min(len(record.body["ObjectiveHistory"]) for record in records if record) < 9


@pytest.mark.executes("CreateHyperParameterTuningJob")
def test_early_stopping_ends_what_is_worse_than_the_median(
    endpoint: Endpoint, sagemaker: Any, s3: Any, short: str
) -> None:
    """The second prints less than the first and would then wait for ever."""
    script = PRINT + BOWL.replace("print('validation-auc:%.6f' % (", "value = (").replace("** 2))", "** 2)")
    script += f"\nfor epoch in range(3): say(value)\nif value < 0.7: {PAUSE}"
    request = tuning_request(
        short,
        script,
        Strategy="Grid",
        ParameterRanges=CHOICES,
        TrainingJobEarlyStoppingType="Auto",
        ResourceLimits={"MaxParallelTrainingJobs": 1},
    )
    sagemaker.create_hyper_parameter_tuning_job(**request)
    ended(endpoint, sagemaker, short)
    found = {each["TunedHyperParameters"]["eta"]: each for each in tried(sagemaker, short)}
    assert {eta: each["TrainingJobStatus"] for eta, each in found.items()} == {"0.3": "Completed", "0.9": "Stopped"}
    assert found["0.9"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] == pytest.approx(0.64)


@pytest.mark.executes("CreateHyperParameterTuningJob", "ListTrainingJobsForHyperParameterTuningJob")
def test_a_seed_repeats_the_list_of_real_trainings(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    lists = []
    for attempt in "ab":
        name = f"{attempt}{short[1:]}"
        limits = {"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 3}
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request(name, Strategy="Bayesian", ResourceLimits=limits))
        ended(endpoint, sagemaker, name)
        lists.append([each["TunedHyperParameters"] for each in tried(sagemaker, name)])
    assert lists[0] == lists[1]
    assert len(lists[0]) == 5


WARM = {"WarmStartType": "IdenticalDataAndAlgorithm"}


@pytest.mark.executes("CreateHyperParameterTuningJob", "DescribeHyperParameterTuningJob")
def test_warm_start_learns_from_its_parent(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    parent, child = f"p{short[1:]}", f"c{short[1:]}"
    one = {"MaxParallelTrainingJobs": 2}
    sagemaker.create_hyper_parameter_tuning_job(
        **tuning_request(parent, Strategy="Grid", ResourceLimits=one, ParameterRanges=CHOICES)
    )
    best = ended(endpoint, sagemaker, parent)["BestTrainingJob"]["TrainingJobName"]
    warm = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": parent}], **WARM}
    worse = {"CategoricalParameterRanges": [{"Name": "eta", "Values": ["0.9"]}]}
    sagemaker.create_hyper_parameter_tuning_job(
        **tuning_request(
            child,
            ParameterRanges=worse,
            Strategy="Bayesian",
            ResourceLimits={"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
        ),
        WarmStartConfig=warm,
    )
    job = ended(endpoint, sagemaker, child)
    assert job["OverallBestTrainingJob"]["TrainingJobName"] == best
    assert job["OverallBestTrainingJob"]["TuningJobName"] == parent
    assert job["BestTrainingJob"]["TuningJobName"] == child
    assert job["WarmStartConfig"] == warm


def test_what_is_known_steers_a_bayesian_search() -> None:
    ranges = read_ranges({"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]})
    known = [({"x": repr(n / 50)}, -abs(n / 50 - 0.8)) for n in range(50)]

    def first(known: list[Any]) -> list[float]:
        search = make_search("Bayesian", ranges, maximize=True, total=40, parallel=8, seed=3, known=known)
        return [float(search.ask()["x"]) for _ in range(8)]

    assert fmean(abs(x - 0.8) for x in first(known)) < 0.15 < fmean(abs(x - 0.8) for x in first([]))


@pytest.mark.parametrize(
    ("change", "definition", "text"),
    [
        ({"Strategy": "Grid"}, {}, "does not go with strategy Grid"),
        (
            {"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:auc"}},
            {"AlgorithmSpecification": None},
            "tunes for validation:auc, this job for other",
        ),
        ({"ParameterRanges": RANGES}, {}, "static and tuned ones together must be the same"),
        (
            {"ParameterRanges": {"ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0", "MaxValue": "1"}]}},
            {},
            "tunes 'eta' as categorical, this job as continuous",
        ),
        ({}, {"InputDataConfig": "other"}, "has other input data: use WarmStartType TransferLearning"),
        ({}, {"Environment": {"A": "b"}}, "Only the following fields in TrainingJobDefinition are allowed to change"),
    ],
)
def test_warm_starts_that_aws_refuses(
    endpoint: Endpoint, sagemaker: Any, s3: Any, short: str, change: Any, definition: Any, text: str
) -> None:
    limits = {"ResourceLimits": {"MaxParallelTrainingJobs": 2}, "ParameterRanges": CHOICES}
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(f"p{short[1:]}", Strategy="Grid", **limits))
    ended(endpoint, sagemaker, f"p{short[1:]}")
    warm = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": f"p{short[1:]}"}], **WARM}
    two = {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2}
    request = tuning_request(short, **{"ParameterRanges": CHOICES, "ResourceLimits": two, **change})
    if "AlgorithmSpecification" in definition:
        algorithm = request["TrainingJobDefinition"]["AlgorithmSpecification"]
        algorithm["MetricDefinitions"] = [{"Name": "other", "Regex": "other=(.*)"}]
        request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"] = "other"
    elif "Environment" in definition:
        request["TrainingJobDefinition"].update(definition)
    elif definition:
        request["TrainingJobDefinition"]["InputDataConfig"] = [channel("train", "s3://data/other")]
    if change.get("Strategy") == "Grid":
        del request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    with pytest.raises(ClientError, match=text):
        sagemaker.create_hyper_parameter_tuning_job(**request, WarmStartConfig=warm)


def test_a_warm_start_needs_parents_that_have_ended(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    name = f"p{short[1:]}"
    warm = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": name}], **WARM}
    with pytest.raises(ClientError, match="there is no hyperparameter tuning job"):
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short), WarmStartConfig=warm)
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(name, PAUSE))
    with pytest.raises(ClientError, match="is InProgress, it must have ended"):
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, PAUSE), WarmStartConfig=warm)
    sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    ended(endpoint, sagemaker, name)


def several(name: str, **config: Any) -> dict[str, Any]:
    """A tuning job with two definitions: `good` ends above `bad` whatever is tried."""
    request = tuning_request(name, **config)
    del request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    ranges = request["HyperParameterTuningJobConfig"].pop("ParameterRanges")
    one = request.pop("TrainingJobDefinition")
    objective = {"TuningObjective": {"Type": "Maximize", "MetricName": "validation:auc"}}
    bad = {"script": json.dumps("print('validation-auc:0.1')")}
    request["TrainingJobDefinitions"] = [
        {**one, **objective, "DefinitionName": "bad", "HyperParameterRanges": CHOICES, "StaticHyperParameters": bad},
        {**one, **json.loads(json.dumps(objective)), "DefinitionName": "good", "HyperParameterRanges": ranges},
    ]
    return request


@pytest.mark.executes("CreateHyperParameterTuningJob", "ListTrainingJobsForHyperParameterTuningJob")
def test_several_definitions_take_turns(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    limits = {"MaxNumberOfTrainingJobs": 5, "MaxParallelTrainingJobs": 2}
    sagemaker.create_hyper_parameter_tuning_job(**several(short, ResourceLimits=limits))
    job = ended(endpoint, sagemaker, short)
    assert job["BestTrainingJob"]["TrainingJobDefinitionName"] == "good"
    names = [each["TrainingJobDefinitionName"] for each in tried(sagemaker, short)]
    assert names == ["bad", "good", "bad", "good", "good"]  # `bad` has two combinations
    assert [each["DefinitionName"] for each in job["TrainingJobDefinitions"]] == ["bad", "good"]


def test_a_grid_of_several_definitions_is_both_grids(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    request = several(
        short, Strategy="Grid", ResourceLimits={"MaxParallelTrainingJobs": 3},
        ParameterRanges={"CategoricalParameterRanges": [{"Name": "eta", "Values": ["0.1", "0.2", "0.3"]}]},
    )  # fmt: skip
    sagemaker.create_hyper_parameter_tuning_job(**request)
    ended(endpoint, sagemaker, short)
    found = [
        (each["TrainingJobDefinitionName"], each["TunedHyperParameters"]["eta"]) for each in tried(sagemaker, short)
    ]
    assert found == [("bad", "0.3"), ("good", "0.1"), ("bad", "0.9"), ("good", "0.2"), ("good", "0.3")]


def test_definitions_that_do_not_go_together_are_refused(sagemaker: Any, short: str) -> None:
    for change, text in (
        (lambda r: r["TrainingJobDefinitions"][0].pop("DefinitionName"), "DefinitionName is required"),
        (lambda r: r["TrainingJobDefinitions"][0].update(DefinitionName="good"), "'good' is given more than once"),
        (lambda r: r["TrainingJobDefinitions"][0].pop("TuningObjective"), "TuningObjective is required"),
        (lambda r: r["TrainingJobDefinitions"][0]["TuningObjective"].update(Type="Minimize"), "must be the same"),
        (lambda r: r.update(TrainingJobDefinition=tuning_request("x")["TrainingJobDefinition"]), "Exactly one of"),
        (lambda r: r["HyperParameterTuningJobConfig"].update(TrainingJobEarlyStoppingType="Auto"), "one training def"),
        (lambda r: r["HyperParameterTuningJobConfig"].update(ParameterRanges=RANGES), "give HyperParameterRanges in"),
    ):
        request = several(short)
        change(request)
        with pytest.raises(ClientError, match=text):
            sagemaker.create_hyper_parameter_tuning_job(**request)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}, "needs TrainingJobEarlyStoppingType Off"),
        ({"StrategyConfig": {"HyperbandStrategyConfig": {"MaxResource": 3}}}, "does not go with Random"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(sagemaker: Any, short: str, config: Any, text: str) -> None:
    with pytest.raises(ClientError, match=text):
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, **config))


def test_too_few_combinations_are_refused(sagemaker: Any, short: str) -> None:
    ranges = {"CategoricalParameterRanges": [{"Name": "eta", "Values": ["0.1", "0.2", "0.3"]}]}
    limits = {"MaxNumberOfTrainingJobs": 10, "MaxParallelTrainingJobs": 1}
    with pytest.raises(ClientError) as refused:
        sagemaker.create_hyper_parameter_tuning_job(
            **tuning_request(short, ParameterRanges=ranges, ResourceLimits=limits)
        )
    assert refused.value.response["Error"]["Message"] == (  # amazon-sagemaker-operator-for-k8s issue 123
        "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter combinations "
        "for the provided ranges [3.0] must be equal or greater than the value of MaxNumberOfJobs, [10]. "
        "Provide additional ranges."
    )


@pytest.mark.parametrize("strategy", ["Random", "Bayesian"])
def test_no_combination_is_tried_twice(strategy: str) -> None:
    ranges = read_ranges(
        {
            "IntegerParameterRanges": [{"Name": "depth", "MinValue": "1", "MaxValue": "5"}],
            "CategoricalParameterRanges": [{"Name": "shape", "Values": ["a", "b", "c"]}],
        }
    )
    search = make_search(strategy, ranges, maximize=True, total=15, parallel=1, seed=1)
    found = []
    for number in range(15):
        found.append(tuple(search.ask().values()))
        search.tell(number, float(number == 3))
    assert sorted(found) == sorted(itertools.product("12345", "abc"))
    assert search.size == 15


def test_the_first_of_several_instance_configs_is_taken(
    endpoint: Endpoint, sagemaker: Any, s3: Any, short: str
) -> None:
    request = tuning_request(short, ResourceLimits={"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1})
    del request["TrainingJobDefinition"]["ResourceConfig"]
    given = {
        "AllocationStrategy": "Prioritized",
        "InstanceConfigs": [
            {"InstanceType": f"ml.{kind}.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 2} for kind in ("c5", "m5")
        ],
    }
    request["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] = given
    sagemaker.create_hyper_parameter_tuning_job(**request)
    job = ended(endpoint, sagemaker, short)
    assert job["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] == given
    child = sagemaker.describe_training_job(TrainingJobName=job["BestTrainingJob"]["TrainingJobName"])
    assert child["ResourceConfig"] == {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 2}


def test_two_objectives_are_refused(sagemaker: Any, short: str) -> None:
    other = {"TuningObjective": {"Type": "Minimize", "MetricName": "validation:auc"}}
    with pytest.raises(ClientError, match="HyperParameterTuningJobObjective differ: leave one of them out"):
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, definition=other))


def test_autotune_is_refused_by_name(sagemaker: Any, short: str) -> None:
    with pytest.raises(ClientError, match="Autotune is not supported"):
        sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short), Autotune={"Mode": "Enabled"})


@pytest.mark.parametrize(
    "criteria",
    [
        {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": 3}},
        {"ConvergenceDetected": {"CompleteOnConvergence": "Enabled"}},
    ],
)
@pytest.mark.executes("CreateHyperParameterTuningJob", "DescribeHyperParameterTuningJob")
def test_a_search_that_no_longer_improves_ends(
    endpoint: Endpoint, sagemaker: Any, s3: Any, short: str, criteria: dict[str, Any]
) -> None:
    request = tuning_request(
        short,
        "print('validation-auc:0.5')",
        ResourceLimits={"MaxNumberOfTrainingJobs": 40, "MaxParallelTrainingJobs": 1},
        TuningJobCompletionCriteria=criteria,
    )
    sagemaker.create_hyper_parameter_tuning_job(**request)
    job = ended(endpoint, sagemaker, short)
    expected = 3 if "BestObjectiveNotImproving" in criteria else 10
    assert job["TrainingJobStatusCounters"]["Completed"] == expected + 1
    assert job["TuningJobCompletionDetails"]["NumberOfTrainingJobsObjectiveNotImproving"] == expected
    assert ("ConvergenceDetectedTime" in job["TuningJobCompletionDetails"]) == (expected == 10)
    assert job["HyperParameterTuningJobStatus"] == "Completed"


@pytest.mark.executes("ListTrainingJobsForHyperParameterTuningJob")
def test_the_list_of_trainings_filters_sorts_and_pages(endpoint: Endpoint, sagemaker: Any, s3: Any, short: str) -> None:
    """Two succeed, one fails, one prints nothing."""
    script = NUMBER + "if number == 2: sys.exit(1)\nif number != 3: print('validation-auc:%.1f' % (number / 10))"
    limits = {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 1}
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, script, ResourceLimits=limits))
    ended(endpoint, sagemaker, short)

    def numbers(**query: Any) -> list[int]:
        pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
            HyperParameterTuningJobName=short, PaginationConfig={"PageSize": 1}, **query
        )
        jobs = itertools.chain.from_iterable(page["TrainingJobSummaries"] for page in pages)
        return [int(job["TrainingJobName"].split("-")[-2]) for job in jobs]

    assert numbers() == [1, 2, 3, 4]
    assert numbers(SortBy="CreationTime", SortOrder="Descending") == [4, 3, 2, 1]
    assert numbers(SortBy="FinalObjectiveMetricValue") == [1, 4]
    assert numbers(SortBy="FinalObjectiveMetricValue", SortOrder="Descending") == [4, 1]
    assert numbers(StatusEquals="Failed") == [2]
    assert numbers(SortBy="Status", StatusEquals="Completed") == [1, 3, 4]
    objectives = {each["TrainingJobName"]: each["ObjectiveStatus"] for each in tried(sagemaker, short)}
    assert list(objectives.values()) == ["Succeeded", "Failed", "Failed", "Succeeded"]


@pytest.mark.executes("CreateHyperParameterTuningJob")
def test_a_quota_holds_trainings_back_until_there_is_room(
    endpoint: Endpoint, sagemaker: Any, s3: Any, short: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = endpoint.ctx.quotas.limits
    assert isinstance(limits, dict)
    monkeypatch.setitem(limits, ("ml.m5.large", "training"), 1)
    three = {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 3}
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(short, ResourceLimits=three))
    assert ended(endpoint, sagemaker, short)["TrainingJobStatusCounters"]["Completed"] == 3
    names = [each["TrainingJobName"] for each in tried(sagemaker, short)]
    jobs = [sagemaker.describe_training_job(TrainingJobName=name) for name in names]
    assert all(one["TrainingEndTime"] <= other["CreationTime"] for one, other in itertools.pairwise(jobs))
    monkeypatch.setitem(limits, ("ml.m5.large", "training"), 0)
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(f"x{short[1:]}", ResourceLimits=three))
    job = ended(endpoint, sagemaker, f"x{short[1:]}")
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert "ml.m5.large for training job usage' is 0 Instances" in job["FailureReason"]


@pytest.mark.executes("CreateHyperParameterTuningJob")
def test_the_time_limit_completes_the_search(
    endpoint: Endpoint, sagemaker: Any, s3: Any, logs: Any, short: str
) -> None:
    """Two minutes are the least that a request may say: this one comes in behind the check.

    The clock stands still until the trainings have said something.
    """
    limits = {"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 2, "MaxRuntimeInSeconds": 1}
    clock, now = endpoint.ctx.clock, endpoint.ctx.clock()
    object.__setattr__(endpoint.ctx, "clock", lambda: now)
    try:
        create_tuning_job(endpoint.ctx, tuning_request(short, f"{PRINT}say(0.5)\n{PAUSE}", ResourceLimits=limits))
        poll(
            lambda: (
                len([t for t in tried(sagemaker, short) if log_lines(logs, TRAINING_LOGS, t["TrainingJobName"])]) == 2
            )
        )
    finally:
        object.__setattr__(endpoint.ctx, "clock", clock)
    job = ended(endpoint, sagemaker, short)
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["Stopped"] == 2
    assert job["ConsumedResources"]["RuntimeInSeconds"] >= 1


def test_what_was_learned_survives_a_restart(start_endpoint: Callable[..., Endpoint], tmp_path: Path) -> None:
    """The third training waits for ever unless it is measured against the first, which ran before the restart."""
    script = NUMBER + PRINT + f"if number != 2: [say(1 / number) for epoch in range(3)]\nif number > 1: {PAUSE}"
    first = start_endpoint(tmp_path / "state")
    sagemaker = client_of(first, "sagemaker")
    client_of(first, "s3").create_bucket(Bucket="data")
    request = tuning_request(
        "learned",
        script,
        TrainingJobEarlyStoppingType="Auto",
        ResourceLimits={"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1},
    )
    sagemaker.create_hyper_parameter_tuning_job(**request)
    poll(lambda: len(tried(sagemaker, "learned")) == 2)
    second = tried(sagemaker, "learned")[1]["TrainingJobName"]
    poll(lambda: sagemaker.describe_training_job(TrainingJobName=second)["SecondaryStatus"] == "Training")
    first.close()

    again = start_endpoint(tmp_path / "state")
    sagemaker = client_of(again, "sagemaker")
    assert ended(again, sagemaker, "learned")["HyperParameterTuningJobStatus"] == "Completed"
    assert [each["TrainingJobStatus"] for each in tried(sagemaker, "learned")] == ["Completed", "Failed", "Stopped"]

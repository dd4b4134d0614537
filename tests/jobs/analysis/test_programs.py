"""The analyses as programs: what starting them imports, how they run from a job's code input, one after the other."""

from __future__ import annotations

import json

import pytest

from sagewind.facts import contract
from sagewind.jobs.analysis import output
from tests.conftest import ROOT
from tests.jobs.analysis.captured import label, request
from tests.jobs.conftest import lay_out

HEAVY = ("pandas", "sklearn", "scipy", "xgboost", "pyarrow", "joblib", "shap", "jmespath", "boto3")
PROGRAMS = ("quality.analyze", "quality.merge", "quality.labelled", "bias.analyze", "explain.analyze")
UNSUPPORTED = ("record_preprocessor_script", "post_analytics_processor_script", "exclude_features_attribute")


@pytest.mark.parametrize("program", PROGRAMS)
def test_starting_a_program_imports_nothing_heavy(program, python, tmp_path) -> None:
    code = f"import sys, sagewind.jobs.{program}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("setting", UNSUPPORTED)
def test_what_is_not_implemented_is_refused(container, program, setting) -> None:
    assert container.run(program, **{setting: "/opt/ml/processing/code/x.py"}) == 1
    assert container.message().startswith(f"the setting {setting} is '/opt/ml/processing/code/x.py', which")


def test_infinity_is_published_as_documented_and_no_number_not_at_all(container, monkeypatch) -> None:
    monkeypatch.setenv("publish_cloudwatch_metrics", "Enabled")
    metrics = [output.MetricDatum(name, float(value)) for name, value in (("a", "inf"), ("b", "-inf"), ("c", "nan"))]
    output.publish(metrics, "test")
    lines = (contract.cloudwatch_dir() / contract.CLOUDWATCH_FILE).read_text().splitlines()
    values = {entry["MetricName"]: entry["Value"] for entry in map(json.loads, lines)}
    assert values == {"a": 2.348543e108, "b": -2.348543e108}


def test_the_bundle_carries_the_packages_and_they_run_from_it(python, container, tmp_path) -> None:
    """Merge, baseline and check, each in a Python of its own, as processing jobs run them."""
    code = lay_out(container.input("code"))
    hour = tmp_path / "processing" / "input_data" / "ep" / "AllTraffic" / "2026" / "11" / "20" / "03"
    truth = tmp_path / "processing" / "groundtruth" / "2026" / "11" / "21" / "00"
    for folder in (hour, truth):
        folder.mkdir(parents=True)
    requests = [request(f"e{i}", f"{i % 2},{0.9 if i % 2 else 0.2}") for i in range(40)]
    labels = [label(f"e{i}", str(i % 2)) for i in range(40)]
    (hour / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in requests))
    (truth / "b.jsonl").write_text("".join(json.dumps(record) + "\n" for record in labels))
    (container.input("data") / "b.csv").write_text("p,q,y\n" + "1,0.9,1\n0,0.1,0\n" * 20)

    def start(module: str, **settings: str) -> str:
        environment = {contract.BASE_DIR: str(tmp_path), "PYTHONPATH": str(code), **settings}
        done = python("-m", module, cwd=tmp_path, **environment)
        assert (done.returncode, done.stderr) == (0, "")
        return container.message()

    root = "/opt/ml/processing"
    message = start(
        "sagewind.jobs.quality.merge", dataset_source=f"{root}/input_data", ground_truth_source=f"{root}/groundtruth",
        output_path=f"{root}/merged",
    )  # fmt: skip
    assert message.startswith("Completed: 40 of 40")
    common = {"analysis_type": "MODEL_QUALITY", "problem_type": "BinaryClassification"}
    start(
        "sagewind.jobs.quality", **common, dataset_source=f"{root}/input/data", output_path=f"{root}/baseline",
        dataset_format='{"csv":{"header":"true"}}', inference_attribute="p", probability_attribute="q",
        ground_truth_attribute="y",
    )  # fmt: skip
    message = start(
        "sagewind.jobs.quality", **common, dataset_source=f"{root}/merged/merge", output_path=f"{root}/output",
        dataset_format='{"sagemakerMergeJson":{"captureIndexNames":["endpointOutput"]}}', inference_attribute="0",
        probability_attribute="1", baseline_constraints=f"{root}/baseline/constraints.json",
    )  # fmt: skip
    assert message == "Completed: Job completed successfully with no violations."
    assert container.json("statistics.json")["dataset"]["item_count"] == 40

"""The product under the versions, in the folders and with the requirements of an Amazon MWAA environment."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from localaws.engine.images import SHIPPED, default_cache
from localaws.server import Endpoint, Options
from localaws_tests.conftest import client_of
from tests.conftest import ROOT
from tests.deploy.conftest import PINS, Environment, run, uv
from tests.models import model_names

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
FAMILIES = ("lifecycle", "training", "batch_scoring", "monitoring")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A local AWS endpoint with the images that the product's models run in."""
    images = (ROOT / "plugins/sagewind/images", SHIPPED)
    endpoint = Endpoint(Options(state=tmp_path_factory.mktemp("state"), images=images, cache=default_cache()))
    endpoint.start()
    yield endpoint
    endpoint.close()


def test_the_requirements_change_nothing_that_mwaa_pins(environment: Environment) -> None:
    installed = uv("pip", "freeze", "--python", str(environment.python))
    uv("pip", "check", "--python", str(environment.python))
    found = dict(re.findall(r"^(\S+)==(\S+)$", installed.lower(), re.MULTILINE))
    pins = re.findall(r"^([^#;\s]+)==([^;\s]+)$", PINS.read_text().lower(), re.MULTILINE)
    assert len(pins) > 15
    assert {name: found[name] for name, _ in pins} == dict(pins)


def test_all_dags_are_there_and_nothing_is_an_import_error(environment: Environment) -> None:
    environment.airflow("dags", "reserialize")
    assert environment.table("dags", "list-import-errors") == []
    found = {row["dag_id"] for row in environment.table("dags", "list")}
    assert {f"{model}_{family}" for model in model_names() for family in FAMILIES} <= found
    assert "sagemaker_housekeeping" in found


def test_airflow_has_one_plugin_of_ours_and_no_error(environment: Environment) -> None:
    plugins = environment.table("plugins")
    assert [plugin["name"] for plugin in plugins if "sagewind" in json.dumps(plugin)] == ["sagewind"]
    assert "error" not in environment.airflow("plugins").lower()


def test_a_model_lives_its_whole_life_and_leaves_nothing(environment: Environment, endpoint: Endpoint) -> None:
    aws = endpoint.environment()
    connection = {
        "conn_type": "aws",
        "login": aws["AWS_ACCESS_KEY_ID"],
        "password": aws["AWS_SECRET_ACCESS_KEY"],
        "extra": {"endpoint_url": aws["AWS_ENDPOINT_URL"], "region_name": aws["AWS_DEFAULT_REGION"]},
    }
    environment.airflow("dags", "test", "tumor_lifecycle", AIRFLOW_CONN_AWS_DEFAULT=json.dumps(connection))
    (dag_run,) = environment.table("dags", "list-runs", "tumor_lifecycle")
    assert dag_run["state"] == "success"
    sagemaker = client_of(endpoint, "sagemaker")
    assert len(sagemaker.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]) == 1
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert sagemaker.list_models()["Models"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_the_tests_of_the_operators_pass_there(python_with_tests: Path, tmp_path: Path) -> None:
    """The wheel's modules, not those of the repository: its folder plugins is not on the path."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    tested = "import tests.conftest, airflow.plugins_manager, sagewind; print(sagewind.__file__)"
    assert "site-packages" in run([str(python_with_tests), "-c", tested], variables)
    said = run(
        [
            str(python_with_tests), "-m", "pytest", "--quiet", "--numprocesses", "2", "--dist", "loadfile",
            "-m", "not long", "-p", "no:cacheprovider", "--override-ini", "pythonpath=. packages/localaws/tests",
            "--basetemp", str(tmp_path / "pytest"), "tests/plugins",
        ],
        variables,
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", said)
    assert passed, said
    assert int(passed[1]) > 500, said

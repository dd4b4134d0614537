"""`dag.test()` of a DAG of ours, as a developer runs it: no scheduler, no triggerer, an Airflow home of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.plugins.dag_test_program import __file__ as PROGRAM


def run(arguments: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_job_operator_and_a_job_sensor_mapped_and_not_end_in_success(
    endpoint: Any, sagemaker: Any, tmp_path: Path
) -> None:
    aws = endpoint.environment()
    connection = {
        "conn_type": "aws",
        "login": aws["AWS_ACCESS_KEY_ID"],
        "password": aws["AWS_SECRET_ACCESS_KEY"],
        "extra": {"endpoint_url": aws["AWS_ENDPOINT_URL"], "region_name": aws["AWS_DEFAULT_REGION"]},
    }
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW_CONN_LOCAL": json.dumps(connection),
    }
    before = len(sagemaker.list_processing_jobs(MaxResults=100)["ProcessingJobSummaries"])
    program = tmp_path / "dags" / "waits.py"
    program.parent.mkdir()
    shutil.copy(PROGRAM, program)  # Airflow takes a DAG from its own folder only
    run(["-m", "airflow", "db", "migrate"], environment)
    said = run([str(program)], environment)
    (result,) = [line for line in said.splitlines() if line.startswith("RESULT ")]
    assert result.startswith("RESULT success "), said
    assert result.count("'success'") == 7, result  # one, many x 2, names, watch, watch_many x 2
    after = len(sagemaker.list_processing_jobs(MaxResults=100)["ProcessingJobSummaries"])
    assert after - before == 3

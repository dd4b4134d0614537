"""The parts of the waiting benchmark that can be wrong without being noticed: its endpoint, and what it counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from benchmarks.endless import EndlessServer
from benchmarks.waiting import WaitingSeconds, cpu_seconds
from localaws_benchmarks.table import render


@pytest.fixture
def server() -> Iterator[EndlessServer]:
    server = EndlessServer(0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sagemaker(server: EndlessServer) -> Any:
    return boto3.client(
        "sagemaker",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )


def test_jobs_run_until_they_are_finished_and_every_call_is_counted(server: EndlessServer, sagemaker: Any) -> None:
    for number in range(120):
        found = sagemaker.describe_training_job(TrainingJobName=f"few-{number}")
        assert found["TrainingJobStatus"] == "InProgress"
    long_ago, soon = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=1)
    pages = sagemaker.get_paginator("list_training_jobs").paginate(
        LastModifiedTimeAfter=long_ago, PaginationConfig={"PageSize": 100}
    )
    assert [len(page["TrainingJobSummaries"]) for page in pages] == [100, 20]
    assert sagemaker.list_training_jobs(LastModifiedTimeAfter=soon)["TrainingJobSummaries"] == []
    url = f"http://127.0.0.1:{server.server_port}"
    with urllib.request.urlopen(urllib.request.Request(f"{url}/finish/few-7", data=b"", method="POST")):
        pass
    assert sagemaker.describe_training_job(TrainingJobName="few-7")["TrainingJobStatus"] == "Completed"
    alive = sagemaker.list_training_jobs(StatusEquals="InProgress", MaxResults=100)
    assert len(alive["TrainingJobSummaries"]) == 100
    assert len(sagemaker.list_training_jobs(StatusEquals="Completed", MaxResults=100)["TrainingJobSummaries"]) == 11
    with urllib.request.urlopen(f"{url}/calls") as answer:
        assert json.load(answer) == {"DescribeTrainingJob": 121, "ListTrainingJobs": 5}


def test_cpu_of_children_that_have_ended_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    before = cpu_seconds({"us": os.getpid()}, ("us",))
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert cpu_seconds({"us": os.getpid()}, ("us",)) - before >= 0.2  # the kernel counts in hundredths


def test_rows_put_ours_beside_the_stock_operator() -> None:
    measured = WaitingSeconds({"stock": [4.0], "ours": [3.0]}, {"stock": [2.0], "ours": [1.0]})
    wall, cpu = measured.rows()
    assert (wall.ratio, cpu.ratio) == (0.75, 0.5)
    assert "CPU per step" in render("t", "f", [wall, cpu])

"""Endpoints of every kind after `kill -9` of the server: nothing is left running, all of them answer again."""

import os
import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from localaws_tests.conftest import poll
from localaws_tests.serving_fixtures import BUCKET, ROLE, Marked, Program

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
ROUNDS = 3
QUEUED = {"OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/out", "S3FailurePath": f"s3://{BUCKET}/failed"}}
SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 5}


def set_up(server, mark):
    """One endpoint of each kind; all models have the factor 2 and the mark."""
    server.create_model("plain", 2, **mark.variables)
    container = server.sagemaker.describe_model(ModelName="plain")["PrimaryContainer"]
    models = {
        "isolated": {"PrimaryContainer": container, "EnableNetworkIsolation": True},
        "pipeline": {"Containers": [container, container]},
    }
    for name, members in models.items():
        server.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, **members)
    server.create_config("twice", "plain", InitialInstanceCount=2)
    server.create_config("isolated", "isolated")
    server.create_config("pipeline", "pipeline")
    none = {"InstanceType": None, "InitialInstanceCount": None}
    server.create_config("serverless", "plain", ServerlessConfig=SERVERLESS, **none)
    server.create_config("queued", "plain", queued=QUEUED)
    names = ("twice", "isolated", "pipeline", "serverless", "queued")
    for name in names:
        server.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    for name in names:
        server.wait("endpoint_in_service", EndpointName=name)


def asked_until_it_dies(client, number, first_taken):
    """Invocations of one caller; gives the inference ids that the server has taken."""
    taken = []
    while True:
        try:
            for name in ("twice", "isolated", "pipeline", "serverless"):
                client.invoke_endpoint(EndpointName=name, Body=b"1", ContentType="text/csv")
            mine = f"id-{number}-{len(taken)}-{os.urandom(3).hex()}"
            client.invoke_endpoint_async(EndpointName="queued", Body=b"3", ContentType="text/csv", InferenceId=mine)
            taken.append(mine)
            first_taken.set()
        except (BotoCoreError, ClientError):
            return taken


@pytest.fixture
def start(tmp_path):
    """Starts the server on the one state; the last one is ended if the test has not done it."""
    programs = []

    def start():
        programs.append(Program(tmp_path / "state"))
        return programs[-1]

    yield start
    if programs[-1].process.poll() is None:
        programs[-1].end(signal.SIGKILL)


def test_endpoints_survive_a_server_that_is_killed_under_load(start):
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown when it fails
    draw = random.Random(seed)
    mark, taken = Marked(), []
    program = start()
    set_up(program.server, mark)
    for number in range(ROUNDS):
        clients = [program.server.client("sagemaker-runtime") for _ in range(3)]
        first_taken = threading.Event()
        with ThreadPoolExecutor(3) as pool:
            callers = [pool.submit(asked_until_it_dies, client, n, first_taken) for n, client in enumerate(clients)]
            if number == 0:  # of one round it is certain, however slow the machine, that there is something to lose
                assert first_taken.wait(300)
            threading.Event().wait(draw.uniform(0.05, 1.0))  # the moment is what the test is about
            program.end(signal.SIGKILL)
            taken += [name for caller in callers for name in caller.result()]
        mark.wait_gone()
        assert mark.pids() == []
        program = start()
        patient = program.server.client("sagemaker-runtime", attempts=10)
        for name, expected in (
            ("twice", b"2.0\n"),
            ("isolated", b"2.0\n"),
            ("pipeline", b"4.0\n"),
            ("serverless", b"2.0\n"),
        ):
            answer = patient.invoke_endpoint(EndpointName=name, Body=b"1", ContentType="text/csv")
            assert answer["Body"].read() == expected
    server = program.server
    assert taken
    poll(lambda: set(taken) <= {key.removeprefix("out/").removesuffix(".out") for key in keys(server, "out/")}, 600)
    assert keys(server, "failed/") == []
    assert server.s3.get_object(Bucket=BUCKET, Key=f"out/{taken[-1]}.out")["Body"].read() == b"6.0\n"
    assert program.end(signal.SIGTERM) == 0
    assert mark.pids() == []


def keys(server, prefix):
    pages = server.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]

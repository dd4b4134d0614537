"""The XGBoost images in their own environments: every version, and what needs real processes, pipes and hosts."""

from __future__ import annotations

import ipaddress
import os
import random
import re
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from container_toolkit import recordio
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.metrics import accuracy_score, roc_auc_score

from localaws.engine.images import default_cache
from localaws.server import Endpoint, Options
from localaws_tests.conftest import ROLE, client_of, wait_for
from localaws_tests.images.builtin import lines
from localaws_tests.images.conftest import IMAGES, MlDir, Run, Server, built, environment, ml, run, serve

__all__ = ["ml", "run", "serve"]  # fixtures

pytestmark = pytest.mark.long

VERSIONS = ["xgboost-1.7-1", "xgboost", "xgboost-3.2-0"]
PARAMETERS = {"objective": "binary:logistic", "num_round": "6", "max_depth": "3", "eval_metric": "auc"}


def tumors() -> np.ndarray:
    features, labels = load_breast_cancer(return_X_y=True)
    table = np.column_stack([labels, features])
    np.random.default_rng(0).shuffle(table)
    return table


def scores(server: Server, rows: np.ndarray) -> np.ndarray:
    status, _kind, body = server.invoke(lines(rows), "text/csv")
    assert status == 200, body
    return np.array(body.split(), dtype=float)


def addresses(count: int) -> list[str]:
    """Loopback addresses for hosts, whose ports are fixed: drawn, as the machine may run these tests a second time."""
    begin = int(ipaddress.IPv4Address("127.64.0.0")) + random.SystemRandom().randrange(2**20) * 4
    return [str(ipaddress.IPv4Address(begin + number)) for number in range(count)]


# XGBoost itself, without anything of ours, in the image's environment.
ORACLE = """
import sys
import numpy as np, xgboost
train, test = (np.loadtxt(path, delimiter=",") for path in sys.argv[1:3])
parameters = {"objective": "binary:logistic", "max_depth": 3}
booster = xgboost.train(parameters, xgboost.DMatrix(train[:, 1:], label=train[:, 0]), num_boost_round=int(sys.argv[3]))
print(xgboost.__version__, *booster.predict(xgboost.DMatrix(test[:, 1:])))
"""


def oracle(name: str, ml: MlDir, monkeypatch: pytest.MonkeyPatch, table: np.ndarray, rounds: int) -> tuple[str, Any]:
    """The version of XGBoost, and its predictions for the rows from 400 on after training on those before."""
    image, python = built(name, monkeypatch)
    files = [ml.write(f"oracle-{n}.csv", lines(part)) for n, part in enumerate((table[:400], table[400:]))]
    argv = [str(python), "-c", ORACLE, *map(str, files), str(rounds)]
    done = subprocess.run(argv, env=environment(image, ml), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    version, *found = done.stdout.split()
    return version, np.array(found, dtype=float)


@pytest.mark.parametrize("name", VERSIONS)
def test_each_version_agrees_with_xgboost(
    name: str, ml: MlDir, run: Run, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tumors()
    ml.training(PARAMETERS, {"train": lines(table[:400]), "validation": lines(table[400:])})
    done = run(name, "train")
    assert done.returncode == 0, done.stderr
    image, _python = built(name, monkeypatch)
    version, expected = oracle(name, ml, monkeypatch, table, 6)
    assert image.package == f"xgboost {version}"
    found = scores(serve(name), table[400:, 1:])
    assert np.allclose(found, expected, rtol=1e-5)
    aucs = re.findall(r"^\[(\d)\]#011train-auc:\S+?#011validation-auc:(\S+)$", done.stdout, re.MULTILINE)
    assert [int(number) for number, _auc in aucs] == list(range(6))
    assert float(aucs[-1][1]) == pytest.approx(roc_auc_score(table[400:, 0], expected), abs=1e-5)


@pytest.mark.parametrize("name", VERSIONS)
def test_several_hosts_train_one_model(
    name: str, tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The middle host has no data and stays out; numbers stand for the names of hosts that /etc/hosts would give."""
    table = tumors()
    hosts = addresses(3)
    image, python = built(name, monkeypatch)
    started = []
    for number, (host, part) in enumerate(zip(hosts, [table[:200], None, table[200:400]], strict=True)):
        place = MlDir(tmp_path / str(number))
        place.training({**PARAMETERS, "tree_method": "hist"}, {"train": "" if part is None else lines(part)})
        place.write("input/config/resourceconfig.json", {"current_host": host, "hosts": hosts})
        argv = [str(python), str(image.program("train"))]
        variables = environment(image, place)
        started.append(
            subprocess.Popen(argv, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    outputs = [process.communicate(timeout=600)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], outputs
    assert "Train matrix has 200 rows" in outputs[0]
    assert len(re.findall(r"^\[\d\]#011train-auc", outputs[0], re.MULTILINE)) == 6
    assert "does not have data and will not be used" in outputs[1]
    assert "#011" not in outputs[1] + outputs[2]
    assert [(tmp_path / str(n) / "model" / "xgboost-model").is_file() for n in range(3)] == [True, False, False]
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "0"))
    server = serve(name, SAGEMAKER_BASE_DIR=str(tmp_path / "0"))
    _version, alone = oracle(name, MlDir(tmp_path / "oracle"), monkeypatch, table, 6)
    together = roc_auc_score(table[400:, 0], scores(server, table[400:, 1:]))
    assert together == pytest.approx(roc_auc_score(table[400:, 0], alone), abs=0.01)


def test_checkpoints_are_resumed_from(ml: MlDir, run: Run, serve: Callable[..., Server]) -> None:
    table = tumors()
    ml.write("input/config/checkpointconfig.json", {"LocalPath": "/opt/ml/checkpoints", "S3Uri": "s3://b/c"})
    ml.training(PARAMETERS, {"train": lines(table)})
    assert run("xgboost", "train").returncode == 0
    names = sorted(path.name for path in (ml.root / "checkpoints").iterdir())
    assert names == [f"xgboost-checkpoint.{number}" for number in range(1, 6)]
    (ml.root / "checkpoints" / "xgboost-checkpoint.9").write_bytes(b"cut off")
    ml.training({**PARAMETERS, "num_round": "10"}, {"train": lines(table)})
    done = run("xgboost", "train")
    assert "Checkpoint xgboost-checkpoint.9 cannot be read, an older one is tried" in done.stderr
    assert "Resuming from iteration 6" in done.stderr
    assert re.findall(r"^\[(\d+)\]", done.stdout, re.MULTILINE) == ["6", "7", "8", "9"]
    resumed = scores(serve("xgboost"), table[:, 1:])
    (ml.root / "input/config/checkpointconfig.json").unlink()
    assert run("xgboost", "train").returncode == 0
    assert np.allclose(resumed, scores(serve("xgboost"), table[:, 1:]), atol=1e-6)


def test_cross_validation(ml: MlDir, run: Run, serve: Callable[..., Server]) -> None:
    features, labels = load_wine(return_X_y=True)
    table = np.column_stack([labels, features])
    parameters = {"objective": "multi:softprob", "num_class": "3", "num_round": "5", "eval_metric": "merror"}
    ml.training({**parameters, "_kfold": "3", "_num_cv_round": "2"}, {"train": lines(table)})
    done = run("xgboost", "train")
    assert done.returncode == 0, done.stderr
    models = {path.name for path in (ml.root / "model").iterdir()}
    assert models == {f"xgboost-model-{number}" for number in range(6)}
    assert len(re.findall(r"^\[5\]#011train-merror:\S+$", done.stdout, re.MULTILINE)) == 3
    found = np.loadtxt(ml.root / "output" / "data" / "predictions.csv", delimiter=",")
    assert found.shape == (178, 3)
    assert found[:, 0].tolist() == labels.tolist()
    assert accuracy_score(labels, found[:, 2]) > 0.9  # of rows that a model had not seen
    together, alone = (
        np.loadtxt(serve("xgboost", **chosen).invoke(lines(features), "text/csv")[2].decode().split(), delimiter=",")
        for chosen in ({}, {"SAGEMAKER_INFERENCE_ENSEMBLE": "false"})
    )
    assert np.allclose(together.sum(axis=1), 1, atol=1e-5)
    assert accuracy_score(labels, together.argmax(axis=1)) > 0.95
    assert not np.allclose(together, alone)


def test_cross_validation_of_a_regression_uses_both_channels(ml: MlDir, run: Run) -> None:
    features, labels = load_diabetes(return_X_y=True)
    table = np.column_stack([labels, features])
    parameters = {"objective": "reg:squarederror", "num_round": "5", "eval_metric": "rmse", "_kfold": "4"}
    ml.training(parameters, {"train": lines(table[:300]), "validation": lines(table[300:])})
    done = run("xgboost", "train")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\[5\]#011train-rmse:\S+#011validation-rmse:\S+$", done.stdout, re.MULTILINE)
    found = np.loadtxt(ml.root / "output" / "data" / "predictions.csv", delimiter=",")
    assert found.shape == (442, 2)


def test_recordio_is_read_like_csv(ml: MlDir, run: Run, serve: Callable[..., Server]) -> None:
    table = tumors()
    records = [
        recordio.TensorRecord({"values": recordio.Tensor(row[1:])}, {"values": recordio.Tensor(row[:1])})
        for row in table
    ]
    ml.training(PARAMETERS, {"train": lines(table.astype(np.float32))})
    assert run("xgboost", "train").returncode == 0
    from_csv = scores(serve("xgboost"), table[:, 1:])
    ml.training(PARAMETERS, {}, ContentType="application/x-recordio-protobuf")
    ml.write("input/config/inputdataconfig.json", {"train": {"ContentType": "application/x-recordio-protobuf"}})
    ml.write("input/data/train/data.csv", recordio.write(records))
    assert run("xgboost", "train").returncode == 0
    server = serve("xgboost")
    assert np.allclose(scores(server, table[:, 1:]), from_csv, rtol=1e-6)
    body = recordio.write([recordio.TensorRecord({"values": recordio.Tensor(table[0, 1:])})])
    status, _kind, answer = server.invoke(body, "application/x-recordio-protobuf")
    assert (status, float(answer)) == (200, pytest.approx(from_csv[0], rel=1e-5))


def feed(fifo: Path, data: bytes) -> threading.Thread:
    """Write to a pipe as soon as somebody reads from it."""
    os.mkfifo(fifo)
    thread = threading.Thread(target=fifo.write_bytes, args=(data,), daemon=True)
    thread.start()
    return thread


def test_pipe_mode_of_the_old_image(ml: MlDir, run: Run, serve: Callable[..., Server]) -> None:
    table = tumors()
    ml.training(PARAMETERS, {"train": lines(table)})
    assert run("xgboost-1.7-1", "train").returncode == 0
    expected = scores(serve("xgboost-1.7-1"), table[:, 1:])
    ml.write("input/config/inputdataconfig.json", {"train": {"ContentType": "text/csv", "TrainingInputMode": "Pipe"}})
    writer = feed(ml.root / "input/data/train_0", lines(table).encode())
    done = run("xgboost-1.7-1", "train")
    writer.join(600)
    assert done.returncode == 0, done.stderr
    assert (scores(serve("xgboost-1.7-1"), table[:, 1:]) == expected).all()
    assert run("xgboost", "train").returncode == 1
    assert "Pipe mode for CSV is no longer supported" in ml.text("output/failure")


@pytest.mark.parametrize("name", ["kmeans", "linear-learner", "pca", "knn"])
def test_built_in_algorithms_from_a_pipe(name: str, ml: MlDir, run: Run, serve: Callable[..., Server]) -> None:
    """As processes, with RecordIO through a pipe; what they compute is tested against scikit-learn elsewhere."""
    features, labels = load_wine(return_X_y=True)
    records = [
        recordio.TensorRecord({"values": recordio.Tensor(row)}, {"values": recordio.Tensor(np.array([label]))})
        for row, label in zip(features, labels, strict=True)
    ]
    parameters = {
        "kmeans": {"k": "3", "feature_dim": "13"},
        "linear-learner": {"predictor_type": "multiclass_classifier", "num_classes": "3"},
        "pca": {"num_components": "2", "feature_dim": "13", "mini_batch_size": "50"},
        "knn": {"k": "1", "feature_dim": "13", "predictor_type": "classifier", "sample_size": "1000"},
    }[name]
    ml.training(parameters, {})
    channel = {"ContentType": "application/x-recordio-protobuf", "TrainingInputMode": "Pipe"}
    ml.write("input/config/inputdataconfig.json", {"train": channel})
    (ml.root / "input" / "data").mkdir()
    writer = feed(ml.root / "input/data/train_0", recordio.write(records))
    done = run(name, "train")
    writer.join(600)
    assert done.returncode == 0, done.stderr
    status, kind, body = serve(name).invoke(lines(features), "text/csv", "application/jsonlines")
    assert (status, kind, len(body.splitlines())) == (200, "application/jsonlines", 178)
    if name in ("knn", "linear-learner"):
        found = np.array(re.findall(rb'"predicted_label": ([0-9.]+)', body), dtype=float)
        assert accuracy_score(labels, found) > 0.95


def test_hosts_of_a_built_in_algorithm_share_their_data(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three hosts, the second without data: the model is that of one host with all of it."""
    features, labels = load_wine(return_X_y=True)
    table = np.column_stack([labels, features])
    hosts = addresses(3)
    image, python = built("knn", monkeypatch)
    parameters = {"k": "1", "feature_dim": "13", "predictor_type": "classifier", "sample_size": "1000"}
    started = []
    for number, part in enumerate([table[:90], None, table[90:]]):
        place = MlDir(tmp_path / str(number))
        place.training(parameters, {"train": "" if part is None else lines(part)}, S3DistributionType="ShardedByS3Key")
        place.write("input/config/resourceconfig.json", {"current_host": hosts[number], "hosts": hosts})
        argv = [str(python), str(image.program("train"))]
        variables = environment(image, place)
        started.append(
            subprocess.Popen(argv, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    outputs = [process.communicate(timeout=600)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], outputs
    assert "Index of 178 points" in outputs[0]
    assert not list((tmp_path / "1" / "model").iterdir())
    server = serve("knn", SAGEMAKER_BASE_DIR=str(tmp_path / "0"))
    body = server.invoke(lines(features), "text/csv", "text/csv")[2]
    assert np.array(body.split(), dtype=float).tolist() == labels.tolist()


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """The endpoint with the images of the project."""
    for name in ("sklearn", *VERSIONS):
        built(name, monkeypatch)
    cache = default_cache()
    started = Endpoint(Options(state=tmp_path / "state", images=(IMAGES,), cache=cache, port=0, grace=2.0))
    started.start()
    yield started
    started.close()


@pytest.mark.executes("CreateTrainingJob")
def test_instances_and_pipes_of_the_endpoint(endpoint: Endpoint, tmp_path: Path) -> None:
    """Two instances find each other by name and share one model; a FIFO feeds k-means; metrics come from the images."""
    s3, sagemaker = client_of(endpoint, "s3"), client_of(endpoint, "sagemaker")
    s3.create_bucket(Bucket="data")
    for number in range(2):
        rows = "".join(f"{n % 3},{n % 3},{n % 7}\n" for n in range(number, 300))
        s3.put_object(Bucket="data", Key=f"train/{number}.csv", Body=rows)
    image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:{}"
    softmax = {"objective": "multi:softmax", "num_class": "3", "num_round": "3", "eval_metric": "merror"}
    jobs = {
        f"together-{number}": (image.format(version), softmax, "File", 2, "text/csv")
        for number, version in enumerate(("1.7-1", "3.0-5", "3.2-0"))
    }
    jobs["piped"] = ("kmeans:1", {"k": "3", "feature_dim": "2"}, "Pipe", 1, "text/csv;label_size=1")
    for name, (uri, parameters, mode, count, kind) in jobs.items():
        source = {"S3DataType": "S3Prefix", "S3Uri": "s3://data/train", "S3DataDistributionType": "ShardedByS3Key"}
        sagemaker.create_training_job(
            TrainingJobName=name,
            AlgorithmSpecification={"TrainingImage": uri, "TrainingInputMode": mode},
            RoleArn=ROLE,
            HyperParameters=parameters,
            InputDataConfig=[{"ChannelName": "train", "ContentType": kind, "DataSource": {"S3DataSource": source}}],
            OutputDataConfig={"S3OutputPath": "s3://data/out"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 3600},
        )
    for name in jobs:
        wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName=name)
        job = sagemaker.describe_training_job(TrainingJobName=name)
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        found = {entry["MetricName"]: entry["Value"] for entry in job["FinalMetricDataList"]}
        assert found["train:msd"] > 0 if name == "piped" else found["train:merror"] == 0
        archive = tmp_path / f"{name}.tar.gz"
        s3.download_file("data", f"out/{name}/output/model.tar.gz", str(archive))
        with tarfile.open(archive) as tar:
            assert [m for m in tar.getnames() if m.endswith(("xgboost-model", "model_algo-1"))]


@pytest.mark.parametrize("name", ["sklearn", "sklearn-1.2-1", *VERSIONS])
def test_preloaded_modules_start_no_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork takes one thread along: of the others only jemalloc's is known to do without."""
    image, python = built(name, monkeypatch)
    assert image.preload
    program = """
import importlib, os, sys
for name in sys.argv[1:]: importlib.import_module(name)
if os.fork() == 0: os._exit(0)
os.wait()
print(*(open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")), sep="\\n")
"""
    done = subprocess.run([python, "-c", program, *image.preload], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"python", "jemalloc_bg_thd"}

"""Contract tests: the programs of both images in their built environments, as the job runner starts them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from localaws_tests.images.conftest import MlDir, Run, Server

PARAMETERS = {
    "objective": "binary:logistic",
    "num_round": "10",
    "max_depth": "3",
    "eval_metric": "auc,accuracy",
    "seed": "7",
}


def tumors() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training and validation rows (label first) of a data set that ships with scikit-learn, shuffled once."""
    features, labels = load_breast_cancer(return_X_y=True)
    table = np.column_stack([labels, features])
    np.random.default_rng(0).shuffle(table)
    return table[:400], table[400:], table


def lines(table: np.ndarray) -> str:
    return "".join(",".join(map(repr, row.tolist())) + "\n" for row in table)


def test_xgboost_trains_and_serves(ml: MlDir, run: Run, serve: Callable[..., Server]) -> None:
    train, validation, _table = tumors()
    ml.training(PARAMETERS, {"train": lines(train), "validation": lines(validation)})
    done = run("xgboost", "train")
    assert done.returncode == 0, done.stderr
    rounds = re.findall(
        r"^\[(\d+)\]#011train-auc:\S+#011train-accuracy:\S+#011validation-auc:([0-9.]+)#011", done.stdout, re.M
    )
    assert [int(number) for number, _auc in rounds] == list(range(10))

    server = serve("xgboost")
    assert server.get("/ping") == (200, b"")
    status, kind, body = server.invoke(lines(validation[:, 1:]), "text/csv")
    assert (status, kind) == (200, "text/csv")
    scores = np.array(body.split(), dtype=float)
    assert roc_auc_score(validation[:, 0], scores) == pytest.approx(float(rounds[-1][1]), abs=1e-5)
    assert (scores == scores.astype(np.float32)).all()

    row = lines(validation[:1, 1:]).encode()
    assert (
        server.invoke(row, "text/csv", "application/json")[2]
        == json.dumps({"predictions": [{"score": scores[0]}]}).encode()
    )
    blanks = b"," * 29
    sparse = server.invoke("1 0:1.0 29:2.0", "text/libsvm")
    assert server.invoke(blanks, "text/csv")[0] == sparse[0] == 200
    refusals = [(b"a,b", "text/csv", 415), (b"[1]", "application/json", 415), (b",".join([b"1"] * 40), "text/csv", 400)]
    for content, content_type, expected in refusals:
        assert server.invoke(content, content_type)[0] == expected
    assert server.invoke(b"", "text/csv")[0] == 204
    assert server.invoke(row, "text/csv", "image/png")[0] == 406


def test_what_xgboost_cannot_train_on_is_in_the_failure_file(ml: MlDir, run: Run) -> None:
    """The other mistakes: test_xgb_hyperparameters, test_xgb_data."""
    ml.training({"num_round": "5"}, {"train": ""})
    done = run("xgboost", "train")
    assert done.returncode == 1
    assert "No data in training channel path" in ml.text("output/failure")
    assert not (ml.root / "model" / "xgboost-model").exists()


def test_xgboost_stops_early_and_keeps_the_best(ml: MlDir, run: Run) -> None:
    train, validation, _table = tumors()
    parameters = {**PARAMETERS, "num_round": "200", "eval_metric": "logloss", "early_stopping_rounds": "3"}
    ml.training({**parameters, "eta": "0.9"}, {"train": lines(train), "validation": lines(validation)})
    done = run("xgboost", "train")
    losses = [float(loss) for loss in re.findall(r"validation-logloss:(\S+)", done.stdout)]
    assert len(losses) < 200
    assert min(losses) == losses[-4]


TRAIN = """
import argparse, os, shutil
import joblib, numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
parser = argparse.ArgumentParser()
parser.add_argument("-C", type=float, dest="c")
args = parser.parse_args()
table = np.loadtxt(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "data.csv"), delimiter=",")
model = make_pipeline(StandardScaler(), LogisticRegression(C=args.c)).fit(table[:, 1:], table[:, 0])
print(f"train:accuracy={model.score(table[:, 1:], table[:, 0]):.4f}")
out = os.environ["SM_MODEL_DIR"]
joblib.dump(model, os.path.join(out, "model.joblib"))
os.makedirs(os.path.join(out, "code"))
shutil.copy("serve.py", os.path.join(out, "code", "inference.py"))
"""
SERVE = """
import os, joblib
def model_fn(model_dir): return joblib.load(os.path.join(model_dir, "model.joblib"))
def predict_fn(data, model): return model.predict_proba(data)[:, 1]
"""


@pytest.mark.parametrize("image", ["sklearn", pytest.param("sklearn-1.2-1", marks=pytest.mark.long), "xgboost"])
def test_script_mode_trains_and_serves(image: str, ml: MlDir, run: Run, serve: Callable[..., Server]) -> None:
    train, validation, _table = tumors()
    archive = ml.root / "sourcedir.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in (("train.py", TRAIN), ("serve.py", SERVE)):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    names = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": json.dumps(str(archive))}
    ml.training({"C": "0.5", **names}, {"train": lines(train)})
    done = run(image, "train")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^train:accuracy=0\.9\d+$", done.stdout, re.M)
    server = serve(image, SAGEMAKER_PROGRAM="inference.py")
    status, kind, body = server.invoke(lines(validation[:, 1:]), "text/csv", "text/csv")
    assert (status, kind) == (200, "text/csv")
    assert roc_auc_score(validation[:, 0], np.array(body.split(), dtype=float)) > 0.99


def test_a_model_that_cannot_be_served_says_why(ml: MlDir, run: Run) -> None:
    """What else a module cannot be served for: test_serving."""
    ml.write("model/code/inference.py", "def model_fn(d): return 1 / 0")
    done = run("sklearn", "serve")
    assert done.returncode == 1
    assert "failed: ZeroDivisionError: division by zero" in done.stderr.splitlines()[-1]


def test_an_xgboost_model_that_cannot_be_loaded(ml: MlDir, run: Run) -> None:
    ml.write("model/xgboost-model", b"\x80\x04not a model")
    done = run("xgboost", "serve")
    assert done.returncode == 1
    assert "Model xgboost-model cannot be loaded by XGBoost 3.0.5" in done.stderr
    assert "holds nothing" in run("xgboost", "serve", SAGEMAKER_BASE_DIR=str(ml.root / "absent")).stderr


JOB = """
import sys
from importlib.util import find_spec
names = ("pandas", "pyarrow", "sklearn", "numpy", "scipy", "joblib", "boto3")
missing = [name for name in names if find_spec(name) is None]
sys.exit(f"missing: {missing}" if missing else len(sys.argv) + 3)
"""


@pytest.mark.parametrize("image", ["sklearn", "sklearn-1.2-1", "xgboost", "xgboost-1.7-1", "xgboost-3.2-0", "python"])
def test_process(image: str, ml: MlDir, run: Run) -> None:
    program = ml.write("processing/input/code/job.py", JOB)
    assert run(image, "process").returncode == 4
    assert run(image, "process", str(program), "--a", "b").returncode == 6
    ml.write("processing/input/code/other.py", "")
    done = run(image, "process")
    assert done.returncode == 1
    assert "needs a ContainerEntrypoint" in ml.text("output/message")
    assert "cannot be started" in run(image, "process", "/absent/program").stderr

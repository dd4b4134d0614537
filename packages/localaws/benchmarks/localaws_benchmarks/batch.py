"""Batch work through the local AWS endpoint beside a plain script that does the same.

Transform: 1,000,000 CSV rows of 12 columns with an XGBoost model, from CreateTransformJob to its end, beside a program
that reads the file, predicts and writes. Tuning: nine trainings on the census data, three at once, from
CreateHyperParameterTuningJob to its end, beside the nine fits alone, one after the other, in a process that has
imported and read everything. Both floors run in the Python environment of the XGBoost image.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localaws_benchmarks.table import Row, render

ROWS, COLUMNS = 1_000_000, 12
TRAININGS, AT_ONCE = 9, 3
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5"
ROLE = "arn:aws:iam::123456789012:role/bench"
BUCKET = "bench"
CENSUS = "SAGEWIND_CENSUS"  # the variable that names adult.data of the UCI repository
FLOOR = "a plain script (transform), the nine fits alone (tuning); targets: 3 and 2 times"
STATIC = {"objective": "binary:logistic", "eval_metric": "auc", "num_round": "100"}

MAKE = """
import sys
import numpy as np, xgboost
rows, columns, data, model = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
draw = np.random.default_rng(1)
values = draw.normal(size=(rows, columns)).round(4)
np.savetxt(data, values, delimiter=",", fmt="%.4f")
head = values[:50000]
labels = (head[:, 0] + head[:, 1] * head[:, 2] > 0).astype(int)
xgboost.train({"objective": "binary:logistic", "max_depth": 6}, xgboost.DMatrix(head, labels), 100).save_model(model)
"""

PREDICT = """
import sys
import pandas as pd, xgboost
model = xgboost.Booster(model_file=sys.argv[2])
rows = pd.read_csv(sys.argv[1], header=None).to_numpy()
pd.Series(model.predict(xgboost.DMatrix(rows))).to_csv(sys.argv[3], header=False, index=False)
"""

ENCODE = """
import sys
import pandas as pd
table = pd.read_csv(sys.argv[1], header=None, skipinitialspace=True)
table.insert(0, "label", (table.pop(14) == ">50K").astype(int))
coded = table.apply(lambda column: column if column.dtype.kind in "if" else column.astype("category").cat.codes)
coded = coded.sample(frac=1.0, random_state=1)
coded[:26000].to_csv(sys.argv[2], header=False, index=False)
coded[26000:].to_csv(sys.argv[3], header=False, index=False)
"""

FIT = """
import json, sys, time
import pandas as pd, xgboost
parts = [pd.read_csv(path, header=None).to_numpy() for path in sys.argv[1:3]]
fits = json.loads(sys.argv[3])
begun = time.perf_counter()
for fit in fits:
    rounds = int(fit.pop("num_round"))
    train, validation = (xgboost.DMatrix(part[:, 1:], part[:, 0]) for part in parts)
    seen = [(train, "train"), (validation, "validation")]
    xgboost.train(fit, train, rounds, evals=seen, verbose_eval=False)
print(time.perf_counter() - begun)
"""


@contextmanager
def endpoint(home: Path, cache: Path) -> Iterator[Mapping[str, str]]:
    """`localaws` with the project's images; gives the variables that it prints."""
    argv = [sys.executable, "-m", "localaws", "--port", "0", "--state", str(home / "state")]
    argv += ["--cache", str(cache)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        try:
            yield dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in lines)
        finally:
            process.terminate()


class Bench:
    """An endpoint, its clients, and the Python of the XGBoost image."""

    def __init__(self, values: Mapping[str, str], home: Path, python: Path) -> None:
        import boto3
        from botocore.config import Config

        def client(service: str) -> Any:
            return boto3.client(
                service,
                endpoint_url=values["AWS_ENDPOINT_URL"],
                region_name=values["AWS_DEFAULT_REGION"],
                aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
                config=Config(s3={"addressing_style": "path"}),
            )

        self.sagemaker, self.s3 = client("sagemaker"), client("s3")
        self.home, self.python = home, python
        self.s3.create_bucket(Bucket=BUCKET)

    def script(self, text: str, *arguments: str) -> tuple[float, str]:
        """Run a script in the image's environment: seconds and what it printed."""
        begun = time.perf_counter()
        argv = [str(self.python), "-c", text, *arguments]
        # As in the image: threads that wait for others must not spin, least of all on a machine that does other work.
        env = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        done = subprocess.run(argv, check=True, capture_output=True, text=True, env=env)
        return time.perf_counter() - begun, done.stdout

    def transform(self, rounds: int) -> Row:
        """The row of batch transform."""
        data, model, out = (str(self.home / name) for name in ("rows.csv", "model.json", "out.csv"))
        self.script(MAKE, str(ROWS), str(COLUMNS), data, model)
        self.s3.upload_file(data, BUCKET, "in/rows.csv")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(model, "model.json")
        self.s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=packed.getvalue())
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
        self.sagemaker.create_model(ModelName="rows", PrimaryContainer=container, ExecutionRoleArn=ROLE)
        floor, ours = [], []
        for number in range(rounds):
            floor.append(self.script(PREDICT, data, model, out)[0])
            ours.append(self._transform(f"rows-{number}"))
        self._same(f"rows-{rounds - 1}", out)
        return Row("transform of 1,000,000 x 12 CSV rows", floor, ours)

    def _same(self, job: str, out: str) -> None:
        """Both must have predicted the same, or nothing was measured."""
        body = self.s3.get_object(Bucket=BUCKET, Key=f"out/{job}/rows.csv.out")["Body"].read()
        found, expected = map(float, body.split()), map(float, Path(out).read_text().split())
        worst = max(abs(a - b) for a, b in zip(found, expected, strict=True))
        if worst > 1e-6:
            raise SystemExit(f"the transform job's predictions differ by {worst} from the script's")

    def _transform(self, name: str) -> float:
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}
        begun = time.perf_counter()
        self.sagemaker.create_transform_job(
            TransformJobName=name,
            ModelName="rows",
            BatchStrategy="MultiRecord",
            TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
            TransformOutput={"S3OutputPath": f"s3://{BUCKET}/out/{name}", "AssembleWith": "Line"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        )
        waiter = self.sagemaker.get_waiter("transform_job_completed_or_stopped")
        waiter.wait(TransformJobName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 12000})
        return time.perf_counter() - begun

    def tuning(self, census: Path, rounds: int) -> Row:
        """The row of tuning."""
        train, validation = str(self.home / "train.csv"), str(self.home / "validation.csv")
        self.script(ENCODE, str(census), train, validation)
        for name in ("train", "validation"):
            self.s3.upload_file(str(self.home / f"{name}.csv"), BUCKET, f"{name}/{name}.csv")
        floor, ours = [], []
        for number in range(rounds + 1):
            seconds, fits = self._tune(f"census-{number}")
            if number == 0:  # the parent process of the image is prepared during the first
                continue
            ours.append(seconds)
            floor.append(float(self.script(FIT, train, validation, json.dumps(fits))[1]))
        return Row(f"tuning of {TRAININGS} census trainings, {AT_ONCE} at once", floor, ours)

    def _tune(self, name: str) -> tuple[float, list[dict[str, str]]]:
        begun = time.perf_counter()
        self.sagemaker.create_hyper_parameter_tuning_job(**_tuning_request(name))
        while (job := self._describe(name))["HyperParameterTuningJobStatus"] == "InProgress":
            time.sleep(0.05)
        seconds = time.perf_counter() - begun
        if job["TrainingJobStatusCounters"]["Completed"] != TRAININGS:
            raise SystemExit(
                f"the tuning job {name} ended with {job['TrainingJobStatusCounters']}: nothing was measured"
            )
        jobs = self.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return seconds, [{**STATIC, **each["TunedHyperParameters"]} for each in jobs["TrainingJobSummaries"]]

    def _describe(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return found


def _tuning_request(name: str) -> dict[str, Any]:
    def number(name: str, low: str, high: str) -> dict[str, str]:
        return {"Name": name, "MinValue": low, "MaxValue": high}

    def channel(name: str) -> dict[str, Any]:
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/"}}
        return {"ChannelName": name, "ContentType": "text/csv", "DataSource": source}

    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "RandomSeed": 1,
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:auc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": TRAININGS, "MaxParallelTrainingJobs": AT_ONCE},
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    number("eta", "0", "1"), number("min_child_weight", "0", "10"), number("alpha", "0", "2"),
                ],
                "IntegerParameterRanges": [number("max_depth", "1", "10")],
            },
        },
        "TrainingJobDefinition": {
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "RoleArn": ROLE,
            "StaticHyperParameters": STATIC,
            "InputDataConfig": [channel("train"), channel("validation")],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    }  # fmt: skip


def measure(rounds: int, census: Path | None = None) -> list[Row]:
    """Both rows; the second only when the census data are there (`census`, or the variable SAGEWIND_CENSUS)."""
    from localaws.engine.images import SHIPPED, Images, default_cache

    named = census or (Path(os.environ[CENSUS]) if CENSUS in os.environ else None)
    cache = default_cache()
    python = Images(SHIPPED, cache).resolve(IMAGE).environment()  # built when it is not there
    with tempfile.TemporaryDirectory(prefix="sagewind-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with endpoint(home, cache) as values:
            bench = Bench(values, home, python)
            rows = [bench.transform(rounds)]
            if named is not None and named.is_file():
                rows.append(bench.tuning(named, rounds))
            return rows


def main() -> int:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows = measure(rounds)
    sys.stdout.write(render("Batch work, seconds", FLOOR, rows))
    if len(rows) == 1:
        sys.stdout.write(f"tuning is not measured: {CENSUS} names no file (adult.data of the UCI repository)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Where the job programs find and leave things: every path and environment name of the container contract, once.

Requests name them, programs look them up.

The root is `/opt/ml`, or `$SAGEMAKER_BASE_DIR` where a container's file system cannot be laid out (AWS's own training
toolkit honours the same variable). Everything is looked up at call time, so a test can point a program at its folder.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = "/opt/ml"
BASE_DIR = "SAGEMAKER_BASE_DIR"

#: Where a processing job's inputs and outputs lie.
INPUT = f"{ROOT}/processing/input"
OUTPUT = f"{ROOT}/processing/output"

# Folders below them that requests and programs name.
CODE = "code"
CONFIG = "config"
RAW = "raw"
MODEL = "model"
TRAIN = "train"
VALIDATION = "validation"
TEST = "test"
SCHEMA = "schema"
BATCH = "batch"
BASELINE = "baseline"
EVALUATION = "evaluation"

# Files inside the inputs and outputs.
JOB_JSON = "job.json"
MODEL_ARCHIVE = "model.tar.gz"
SCHEMA_JSON = "schema.json"
SUMMARY_JSON = "summary.json"
TRAIN_CSV = "train.csv"
VALIDATION_CSV = "validation.csv"
TEST_CSV = "test.csv"
BATCH_CSV = "batch.csv"
BASELINE_CSV = "baseline.csv"
EVALUATION_JSON = "evaluation.json"
SCORES_CSV = "scores.csv"
REPORT_HTML = "report.html"
STATISTICS_JSON = "statistics.json"
CONSTRAINTS_JSON = "constraints.json"
VIOLATIONS_JSON = "constraint_violations.json"
DRIFT_JSON = "drift.json"
CLOUDWATCH_FILE = "cloudwatch_metrics.jsonl"

# Files inside a model artifact.
XGBOOST_MODEL = "xgboost-model"
INFERENCE_PY = "code/inference.py"

# Environment of the Model Monitor analyzer (names are AWS's, in lower case).
DATASET_SOURCE = "dataset_source"
DATASET_FORMAT = "dataset_format"
OUTPUT_PATH = "output_path"
BASELINE_CONSTRAINTS = "baseline_constraints"
BASELINE_STATISTICS = "baseline_statistics"
START_TIME = "start_time"
END_TIME = "end_time"
PUBLISH_CLOUDWATCH = "publish_cloudwatch_metrics"
CLOUDWATCH_DIRECTORY = "cloudwatch_metrics_directory"
MESSAGE_FILE = "output_message_file"
ENDPOINT_NAME = "sagemaker_endpoint_name"
SCHEDULE_NAME = "sagemaker_monitoring_schedule_name"
METRIC_TIME = "metric_time"
#: A setting of our own: captured requests whose inference id begins with it are nobody's traffic and left out.
EXCLUDED_INFERENCE_IDS = "excluded_inference_id_prefix"
ANALYSIS_TYPE = "analysis_type"
PREPROCESSOR = "record_preprocessor_script"
POSTPROCESSOR = "post_analytics_processor_script"
PROBLEM_TYPE = "problem_type"
GROUND_TRUTH_SOURCE = "ground_truth_source"
#: A setting of our own: how much worse than in the baseline a metric may be.
TOLERANCE = "constraint_tolerance"
CATEGORICAL_DRIFT = "categorical_drift_method"
#: Settings of our own: `exact` or `parallel`, and which kernels run (`auto`, `compiled`, `numpy`).
ANALYSIS_MODE = "analysis_mode"
ANALYSIS_KERNELS = "analysis_kernels"
#: Settings of AWS's analyzer that this one does not implement: a value other than the harmless ones is refused.
UNSUPPORTED: dict[str, tuple[str, ...]] = {
    "data_quality_monitoring_config": ("",),
    "exclude_features_attribute": ("",),
}


def root() -> Path:
    """Root of the container's file system for jobs."""
    return Path(os.environ.get(BASE_DIR) or ROOT)


def resolve(path: str) -> Path:
    """A path given by the environment, moved under the root if it names a place below `/opt/ml`."""
    given = Path(path)
    return root() / given.relative_to(ROOT) if given.is_relative_to(ROOT) else given


def input_dir(name: str) -> Path:
    """Folder of the processing input `name`."""
    return resolve(INPUT) / name


def output_dir(name: str) -> Path:
    """Folder of the processing output `name`, made if absent."""
    folder = resolve(OUTPUT) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def message_file() -> Path:
    """The file whose text SageMaker shows as the ExitMessage of a processing job."""
    return resolve(os.environ.get(MESSAGE_FILE) or f"{ROOT}/output/message")


def cloudwatch_dir() -> Path:
    """Folder in which Model Monitor's service looks for metrics to publish."""
    return resolve(os.environ.get(CLOUDWATCH_DIRECTORY) or f"{ROOT}/output/metrics/cloudwatch")

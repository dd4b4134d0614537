"""What a DAG file costs the dag-processor, beside a bare import of the provider's SageMaker operators.

Each measurement is a new process, because Airflow parses each file in a process of its own; floor and files take
turns, so that a busy moment of the machine hits both.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from localaws_benchmarks.table import Row

FLOOR = "import airflow.providers.amazon.aws.operators.sagemaker"
FILE = "import runpy; runpy.run_path({path!r}, run_name='unusual_prefix')"
TIMED = "import time; started = time.perf_counter()\n{code}\nprint(time.perf_counter() - started)"


def seconds(code: str, environment: dict[str, str]) -> float:
    """Run `code` in a fresh interpreter and return how long it took, without the interpreter's own start."""
    command = [sys.executable, "-c", TIMED.format(code=code)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cannot measure {code!r}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.splitlines()[-1])


def measure(root: Path, environment: dict[str, str], rounds: int) -> list[Row]:
    """One row per DAG file; every round measures the floor once beside each file. The first round only warms caches."""
    files = sorted((root / "dags").glob("*.py"))
    floor: list[float] = []
    ours: dict[Path, list[float]] = {path: [] for path in files}
    with tempfile.TemporaryDirectory(prefix="sagewind-bench-") as home:
        environment = {**environment, "AIRFLOW_HOME": home, "PYTHONPATH": str(root)}
        for number in range(rounds + 1):
            measured = {path: seconds(FILE.format(path=str(path)), environment) for path in files}
            base = seconds(FLOOR, environment)
            if number:
                floor.append(base)
                for path in files:
                    ours[path].append(measured[path])
    return [Row(path.relative_to(root).as_posix(), floor, ours[path]) for path in files]

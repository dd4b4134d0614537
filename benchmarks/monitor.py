"""The monitor's data quality beside its peers: the same data, fresh processes, taken in turns.

    make bench BENCH=monitor

Peers live in environments of their own (made once, in the user's cache). Times are those of the whole process, start
and imports included; memory is the peak of the process and its children. On a machine that does other work the ratios
count, and of them those of processor time are the steadier ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import monitor_data

ROWS, SMALL_ROWS = 2_000_000, 200_000
CSV, PARQUET = '{"csv": {"header": true}}', '{"parquet": {}}'
PEERS = {
    "bench-monitor": ("polars==2.1.0", "duckdb==2.0.0", "pandas==3.1.1", "pyarrow"),
    "bench-whylogs": ("whylogs==1.6.4", "numpy<2", "pandas<3", "pyarrow<20", "setuptools<80"),
}
HOUSING = "SAGEWIND_DATA"
#: Seconds in which the housing data must be analysed, imports included.
HOUSING_LIMIT = 1.0


@dataclass
class Runs:
    """What one program took in each round: wall seconds, processor seconds, peak memory in MB."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    def line(self) -> str:
        """Medians, for the table."""
        return f"{median(self.wall):8.2f} {median(self.processor):8.2f} {median(self.memory):8.0f}"


@dataclass(frozen=True)
class Limit:
    """A ratio that must not be exceeded: ours over a peer's."""

    ours: str
    peer: str
    limit: float
    memory: bool = False


LIMITS = (
    Limit("ours exact csv", "polars csv", 1.6),
    Limit("ours parallel csv", "polars csv", 1.2),
    Limit("ours exact csv", "pandas csv", 0.75),
    Limit("ours parallel csv", "pandas csv", 0.75),
    Limit("ours parquet", "duckdb parquet", 2.5),
    Limit("ours small parquet", "whylogs small parquet", 1 / 9),
    Limit("ours numpy csv", "ours exact csv", 3.0),
    Limit("ours exact csv", "pandas csv", 0.45, memory=True),
    Limit("ours parallel csv", "pandas csv", 0.45, memory=True),
    Limit("ours parquet", "pandas parquet", 0.45, memory=True),
)


def cache() -> Path:
    """Where the data and the peers' environments are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sagewind"


def environments() -> dict[str, Path]:
    """The Python of each environment of peers; built when it is not there."""
    found = {}
    for name, packages in PEERS.items():
        folder = cache() / name
        python = folder / "bin" / "python"
        if not python.exists():
            uv = Path(sys.executable).with_name("uv")
            subprocess.run([uv, "venv", "--quiet", "--python", "3.11", folder], check=True)
            # Bytecode is made now, or the first start would be measured instead of the work.
            subprocess.run(
                [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *packages], check=True
            )
        found[name] = python
    return found


def run(argv: Sequence[str], environment: Mapping[str, str], runs: Runs) -> None:
    """Run a program and add what it took."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        process = subprocess.Popen(argv, env={**env, **environment}, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(argv)} failed: {log.read().decode()[-800:]}")
    runs.wall.append(time.perf_counter() - begun)
    runs.processor.append(usage.ru_utime + usage.ru_stime)
    runs.memory.append(usage.ru_maxrss / 1024)


def ours(root: Path, path: Path, dataset_format: str, mode: str, kernels: str) -> Callable[[Runs], None]:
    """The analyzer on a file."""

    def go(runs: Runs) -> None:
        with tempfile.TemporaryDirectory(prefix="sagewind-bench-") as home:
            settings = {
                "SAGEMAKER_BASE_DIR": home, "PYTHONPATH": str(root / "plugins"), "dataset_source": str(path),
                "dataset_format": dataset_format, "output_path": f"{home}/output", "analysis_mode": mode,
                "analysis_kernels": kernels,
            }  # fmt: skip
            run([sys.executable, "-m", "sagewind.jobs.monitor"], settings, runs)

    return go


def peer(root: Path, python: Path, tool: str, kind: str, path: Path) -> Callable[[Runs], None]:
    """Another tool on a file."""
    argv = [str(python), str(root / "benchmarks" / "monitor_peers.py"), tool, kind, str(path)]
    return lambda runs: run(argv, {}, runs)


def programs(root: Path) -> dict[str, Callable[[Runs], None]]:
    """Everything that is measured, by name, in the order of a round."""
    python, whylogs = environments().values()
    csv, parquet = monitor_data.write(ROWS, cache() / "bench-data")
    _, small = monitor_data.write(SMALL_ROWS, cache() / "bench-data")
    found = {
        "parse alone csv (polars)": peer(root, python, "parse", "csv", csv),
        "polars csv": peer(root, python, "polars", "csv", csv),
        "ours exact csv": ours(root, csv, CSV, "exact", "compiled"),
        "duckdb csv": peer(root, python, "duckdb", "csv", csv),
        "ours parallel csv": ours(root, csv, CSV, "parallel", "compiled"),
        "pandas csv": peer(root, python, "pandas", "csv", csv),
        "ours numpy csv": ours(root, csv, CSV, "exact", "numpy"),
        "duckdb parquet": peer(root, python, "duckdb", "parquet", parquet),
        "ours parquet": ours(root, parquet, PARQUET, "exact", "compiled"),
        "polars parquet": peer(root, python, "polars", "parquet", parquet),
        "pandas parquet": peer(root, python, "pandas", "parquet", parquet),
        "whylogs small parquet": peer(root, whylogs, "whylogs", "parquet", small),
        "ours small parquet": ours(root, small, PARQUET, "exact", "auto"),
    }
    data = Path(os.environ.get(HOUSING) or root.parent / "shared" / "data") / "model-monitor" / "housing"
    if (data / "train_data.csv").is_file():
        found["ours housing"] = ours(root, data / "train_data.csv", CSV, "exact", "auto")
    return found


def measure(root: Path, rounds: int) -> dict[str, Runs]:
    """All programs in turns; a first run of our own compiles the kernels and is not counted."""
    found = programs(root)
    found["ours small parquet"](Runs())
    found["ours exact csv"](Runs())
    measured = {name: Runs() for name in found}
    for _ in range(rounds):
        for name, go in found.items():
            go(measured[name])
    return measured


def render(measured: Mapping[str, Runs]) -> str:
    """Two tables: what each took, and the ratios beside their limits."""
    width = max(map(len, measured))
    lines = [f"Data quality of {ROWS:,} x 30", f"{'':{width}}  {'wall s':>8} {'cpu s':>8} {'peak MB':>8}"]
    lines += [f"{name:{width}}  {runs.line()}" for name, runs in measured.items()]
    lines.append(f"\n{'ratio':{2 * width}}  {'wall':>6} {'cpu':>6} {'limit':>6}")
    for each in LIMITS:
        one, other = measured[each.ours], measured[each.peer]
        name = f"{each.ours} / {each.peer}{' (memory)' if each.memory else ''}"
        if each.memory:
            pair = f"{median(one.memory) / median(other.memory):6.2f} {'':>6}"
        else:
            pair = f"{ratio(one.wall, other.wall):6.2f} {ratio(one.processor, other.processor):6.2f}"
        lines.append(f"{name:{2 * width}}  {pair} {each.limit:6.2f}")
    if "ours housing" in measured:
        lines.append(f"housing: {min(measured['ours housing'].wall):.2f} s (limit {HOUSING_LIMIT:g} s)")
    return "\n".join(lines) + "\n"


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Median of the rounds' ratios: a busy moment hits both of a round."""
    return median(a / b for a, b in zip(one, other, strict=True))


def flat(root: Path, rows: int) -> str:
    """Peak memory at `rows` rows beside that at 2,000,000."""
    small, large = (monitor_data.write(count, cache() / "bench-data")[0] for count in (ROWS, rows))
    one, other = Runs(), Runs()
    ours(root, small, CSV, "exact", "compiled")(one)
    ours(root, large, CSV, "exact", "compiled")(other)
    return json.dumps({"rows": rows, "peak MB": other.memory[0], "of 2,000,000": one.memory[0]}) + "\n"


def main() -> int:
    """Print the tables; with a number as second argument, memory at that many rows as well."""
    root = Path(__file__).resolve().parent.parent
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    if rounds:
        sys.stdout.write(render(measure(root, rounds)))
    if len(sys.argv) > 2:
        sys.stdout.write(flat(root, int(sys.argv[2])))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Packages that some tests alone need, fetched once each and kept outside the project's environment."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from localaws.engine.images import default_cache
from tests.conftest import ROOT

UV = Path(sys.executable).with_name("uv")


def install(lock: Path, python: str = sys.executable) -> Path:
    """The packages of a lock in a directory of their own, as wheels for the interpreter `python`."""
    home = default_cache() / "tests" / f"{lock.stem}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not home.is_dir():
        settings = ROOT / ".venv" / "registry.sh"
        script = f'if [ -f "{settings}" ]; then . "{settings}"; fi; exec "$@"'
        partial = home.with_name(f"{home.name}.{os.getpid()}")
        command = [str(UV), "pip", "install", "--quiet", "--no-deps", "--python", python]
        command += ["--target", str(partial), "-r", str(lock)]
        done = subprocess.run(["bash", "-c", script, "bash", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"the packages of {lock.name} cannot be installed: {done.stderr.strip()}"
        try:
            partial.rename(home)
        except OSError:  # another process of these tests was first
            shutil.rmtree(partial)
            assert home.is_dir(), f"{home} cannot be made"
    return home

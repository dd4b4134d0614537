"""The code that travels with a run: job programs as a tree, a model's scripts as sourcedir.tar.gz.

The same files give the same bytes, so what is uploaded already is not uploaded again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

from sagewind.pipeline.errors import ModelFileError
from sagewind.pipeline.spec import SHIPPED, TrainSpec

#: The package `sagewind`, and the parts of it that run inside containers.
PACKAGE = Path(__file__).resolve().parent.parent
TRAVELLING = ("jobs", "facts")


def job_files(package: Path = PACKAGE) -> dict[str, bytes]:
    """Key below the code prefix -> content, for every job program and the facts that they read."""
    files = sorted(path for part in TRAVELLING for path in (package / part).rglob("*.py"))
    return {f"sagewind/{path.relative_to(package).as_posix()}": path.read_bytes() for path in files}


def script_files(train: TrainSpec, project: Path) -> dict[str, bytes]:
    """Name -> content of the model's scripts, its own below `project` and shipped ones; they lie side by side, as AWS's
    toolkit expects.
    """
    files: dict[str, bytes] = {}
    for key, script in (("script", train.script), ("serve", train.serve)):
        if script is None:
            continue
        path = PACKAGE / "jobs" / SHIPPED[script] if script in SHIPPED else project / script
        if not path.is_file():
            raise ModelFileError(f"train.{key} is {script!r}: there is no such file below the project {project}")
        # Serving scripts have one fixed name, so that train.py finds the one to put into the artifact.
        files["serve.py" if key == "serve" else train.program] = path.read_bytes()
    return files


def tarball(files: dict[str, bytes]) -> bytes:
    """A tar.gz with the given files and nothing that changes from one call to the next."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def digest(*groups: dict[str, bytes]) -> str:
    """Twelve hex digits over names and contents."""
    total = hashlib.sha256()
    for files in groups:
        for name, content in sorted(files.items()):
            total.update(f"{len(name)}:{name}:{len(content)}:".encode() + content)
    return total.hexdigest()[:12]

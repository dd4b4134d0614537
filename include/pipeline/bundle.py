"""The code that travels with a run: job programs as a tree, a model's scripts as sourcedir.tar.gz.

The same files give the same bytes, so what is uploaded already is not uploaded again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

from include.pipeline.errors import ModelFileError
from include.pipeline.paths import JOBS, PROJECT
from include.pipeline.spec import TrainSpec


def job_files(folder: Path = JOBS) -> dict[str, bytes]:
    """Key below the code prefix -> content, for every job program and what lies in their packages."""
    files = sorted(folder.rglob("*.py"))
    return {f"include/jobs/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


def script_files(train: TrainSpec, project: Path = PROJECT) -> dict[str, bytes]:
    """Name -> content of the model's own scripts; they lie side by side, as AWS's toolkit expects."""
    files: dict[str, bytes] = {}
    for key, script in (("script", train.script), ("serve", train.serve)):
        if script is None:
            continue
        path = project / script
        if not path.is_file():
            raise ModelFileError(f"train.{key} is {script!r}: there is no such file below the project")
        # Serving scripts have one fixed name, so that train.py finds the one to put into the artifact.
        files["serve.py" if key == "serve" else path.name] = path.read_bytes()
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

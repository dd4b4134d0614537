"""What Amazon MWAA takes of a project: the folder `dags`, plugins.zip and requirements.txt, ready to be copied to S3.

MWAA copies `dags` to /usr/local/airflow/dags and unzips plugins.zip to /usr/local/airflow/plugins, before it installs
requirements.txt. So `include` goes into `dags`, where DAG files find it without PYTHONPATH, and the wheel into the zip.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from sagewind.command.errors import CommandError
from sagewind.facts.version import VERSION

HOME = "/usr/local/airflow"
#: All that is ever in the folder that is written.
_PARTS = ("dags", "plugins.zip", "requirements.txt")
#: What lies in the folder plugins of a project and is in the wheel.
_IN_WHEEL = ("sagewind", "include", "sagewind_plugin.py")
_IGNORE = ".airflowignore"

_NEXT = """wrote {out}: dags/ ({files} files), plugins.zip ({size:.1f} MB: {packed}), requirements.txt

Next, with the BUCKET and the name (ENVIRONMENT) of an Amazon MWAA environment of Airflow 3.3.1 or later:

  aws s3 sync {out}/dags s3://BUCKET/dags --delete
  aws s3 cp {out}/plugins.zip s3://BUCKET/plugins.zip
  aws s3 cp {out}/requirements.txt s3://BUCKET/requirements.txt
  version() {{ aws s3api head-object --bucket BUCKET --key "$1" --query VersionId --output text; }}
  aws mwaa update-environment --name ENVIRONMENT \\
    --plugins-s3-path plugins.zip --plugins-s3-object-version "$(version plugins.zip)" \\
    --requirements-s3-path requirements.txt --requirements-s3-object-version "$(version requirements.txt)"

A change of dags/ alone needs the first command only; --delete removes from the bucket what is not in {out}/dags.
The environment's role needs the rights of the README, "What Airflow itself may do". Settings are Airflow configuration
options of the environment (sagewind.retries = 5); variables SAGEWIND_... are exported by its startup script.
"""


def write(
    project: Path, wheel: Path | None, out: Path, requirements: Path | None = None, offline: Path | None = None
) -> str:
    """Write the folder `out` and return what to do next; the same inputs give the same bytes.

    Without `wheel` it is that of this version in the project's folder `wheels`. `requirements` are further lines for
    requirements.txt. With `offline`, a folder of wheels, nothing is taken from an index: for environments without a
    way to the internet. CommandError if something is not there.
    """
    wheel = wheel or project / "wheels" / f"sagewind-{VERSION}-py3-none-any.whl"
    _check(project, wheel, out)
    packed = {wheel.name: wheel.read_bytes()} | _own_plugins(project / "plugins")
    lines = []
    if offline is not None:
        found = sorted(offline.glob("*.whl"))
        if not found:
            raise CommandError(f"{offline} holds no wheel: fill it with pip download, as docs/deploy.md shows")
        packed |= {file.name: file.read_bytes() for file in found}
        lines = ["--no-index", f"--find-links {HOME}/plugins"]
    # No constraints are named: MWAA then takes those of its own Airflow, which no other file can be as right as.
    lines.append(f"sagewind[data] @ file://{HOME}/plugins/{wheel.name}")
    if requirements is not None:
        if not requirements.is_file():
            raise CommandError(f"{requirements}, which --requirements names, is no file")
        lines += requirements.read_text(encoding="utf-8").splitlines()
    out.mkdir(parents=True, exist_ok=True)
    _write_dags(project, out / "dags")
    _write_zip(out / "plugins.zip", packed)
    (out / "requirements.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    files = sum(path.is_file() for path in (out / "dags").rglob("*"))
    names = ", ".join(sorted(packed)[:3]) + (", ..." if len(packed) > 3 else "")
    return _NEXT.format(out=out, files=files, size=(out / "plugins.zip").stat().st_size / 1e6, packed=names)


def _check(project: Path, wheel: Path, out: Path) -> None:
    if not (project / "dags").is_dir():
        raise CommandError(f"{project} has no folder dags: name the folder of a project with --project")
    if (project / "dags" / "include").exists():
        raise CommandError(f"{project / 'dags' / 'include'} exists, where `include` is to go: give it another name")
    if not (wheel.is_file() and wheel.name.startswith("sagewind-") and wheel.suffix == ".whl"):
        raise CommandError(
            f"{wheel} is no wheel of sagewind: name the file with --wheel; `make wheels` in its repository makes it"
        )
    if out.exists() and (other := sorted({path.name for path in out.iterdir()} - set(_PARTS))):
        raise CommandError(f"{out} holds {other[0]}, which this command did not write: name an empty folder with --out")


def _write_dags(project: Path, dags: Path) -> None:
    """The DAG files with `include` among them, which Airflow must not read as DAG files."""
    shutil.rmtree(dags, ignore_errors=True)
    shutil.copytree(project / "dags", dags, ignore=_unwanted)
    shutil.copytree(project / "include", dags / "include", ignore=_unwanted)
    ignored = dags / _IGNORE
    theirs = ignored.read_text(encoding="utf-8").splitlines() if ignored.exists() else []
    # As a glob and as a regular expression ([core] dag_ignore_file_syntax) this means that folder.
    ignored.write_text("".join(f"{line}\n" for line in [*theirs, "include/"]), encoding="utf-8")


def _own_plugins(folder: Path) -> dict[str, bytes]:
    """The files of a project's own Airflow plugins, by their path below the folder."""
    if not folder.is_dir():
        return {}
    found: dict[str, bytes] = {}
    for path in sorted(folder.iterdir()):
        if path.name not in _IN_WHEEL and path.name not in _unwanted("", [path.name]):
            files = [path] if path.is_file() else (file for file in path.rglob("*") if file.is_file())
            found |= {file.relative_to(folder).as_posix(): file.read_bytes() for file in files if _is_wanted(file)}
    return found


def _is_wanted(file: Path) -> bool:
    return "__pycache__" not in file.parts and not _unwanted("", [file.name])


def _unwanted(_folder: str, names: list[str]) -> set[str]:
    """Caches and hidden files, which may hold secrets; Airflow's ignore files are wanted."""
    return {name for name in names if (name.startswith(".") and name != _IGNORE) or name == "__pycache__"}


def _write_zip(file: Path, content: dict[str, bytes]) -> None:
    """Neither the time nor the order nor the compression differs from one day and machine to another."""
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name)  # of the year 1980
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content[name])

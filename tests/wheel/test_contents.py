"""What the wheel holds, what it asks for, and that nothing else has to be on the path."""

from __future__ import annotations

import email
import tomllib
import zipfile
from pathlib import Path

from sagewind.facts.version import VERSION
from tests.conftest import ROOT
from tests.wheel.conftest import Run


def test_it_holds_every_file_of_the_product_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    written = [path for part in ("sagewind", "include") for path in (ROOT / "plugins" / part).rglob("*")]
    files = {path.relative_to(ROOT / "plugins").as_posix() for path in written if path.is_file()}
    assert packed == {name for name in files if "__pycache__" not in name}
    assert {"sagewind/.airflowignore", "include/.airflowignore"} <= packed
    assert (ROOT / "plugins/sagewind/__init__.py").read_text() == ""


def test_it_asks_for_ranges_and_registers_its_command_and_its_plugin(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        points = archive.read(f"{info}/entry_points.txt").decode()
    assert (metadata["Name"], metadata["Version"]) == ("sagewind", VERSION)
    asked = metadata.get_all("Requires-Dist") or []
    assert not [line for line in asked if "==" in line.partition(";")[0]], "a pin would hold back the user's own"
    assert "sagewind = sagewind.command.main:main" in points
    assert "sagewind = sagewind.plugin:SagewindPlugin" in points
    with (ROOT / "pyproject.toml").open("rb") as stream:
        assert len(asked) == len(tomllib.load(stream)["project"]["dependencies"]) + 2  # with those of the extra


def test_the_command_runs_from_it_alone(python: Run, site: Path) -> None:
    done = python("-m", "sagewind.command.main", "images")
    assert (done.returncode, done.stdout.strip()) == (0, str(site / "sagewind/images"))
    assert python("-m", "sagewind.command.main", "--version").stdout == f"sagewind {VERSION}\n"

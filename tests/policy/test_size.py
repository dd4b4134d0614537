"""A module that has grown past 400 lines is two modules."""

from __future__ import annotations

from tests.conftest import ROOT

LIMIT = 400


def test_no_module_over_the_limit() -> None:
    folders = [ROOT / name for name in ("dags", "plugins", "include")] + sorted(ROOT.glob("packages/*/src"))
    modules = [path for folder in folders for path in folder.rglob("*.py")]
    assert any("packages" in path.parts for path in modules)
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in modules}
    assert {name: count for name, count in sorted(lines.items()) if count > LIMIT} == {}

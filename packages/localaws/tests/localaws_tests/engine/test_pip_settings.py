"""pip's settings under uv's names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from localaws.engine import pip_settings

LISTING = """\
:env:.disable-pip-version-check='1'
:env:.index-url='https://mirror.example/simple'
global.cert='/etc/ca.crt'
global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'
global.index-url='https://overruled.example/simple'
install.find-links='/wheels /more'
install.trusted-host='a.example'
list.format='columns'
"""


def test_sections_and_names() -> None:
    assert pip_settings.uv_settings(pip_settings.pip_settings(LISTING)) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_INSECURE_HOST": "a.example",
        "SSL_CERT_FILE": "/etc/ca.crt",
    }


def test_no_settings_no_lines() -> None:
    assert pip_settings.uv_settings(pip_settings.pip_settings("")) == {}
    assert pip_settings.uv_settings({"no-index": "false"}) == {}
    assert pip_settings.uv_settings({"no-index": "true"}) == {"UV_OFFLINE": "1"}


def run(home: Path, **extra: str) -> str:
    """The program's output for a pip configuration file in `home`, with nothing else configured."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_")) and "SSL" not in name
    }
    config = home / "pip.conf"
    config.write_text("[global]\nindex-url = https://mirror.example/it's/simple\n")
    return subprocess.run(
        [sys.base_prefix + "/bin/python3", pip_settings.__file__],
        env={**kept, "HOME": str(home), "PIP_CONFIG_FILE": str(config), **extra},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_shell_reads_the_lines_back(tmp_path: Path) -> None:
    script = run(tmp_path) + 'printf %s "$UV_DEFAULT_INDEX"'
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == "https://mirror.example/it's/simple"


def test_settings_of_uv_itself_hold(tmp_path: Path) -> None:
    assert run(tmp_path, UV_DEFAULT_INDEX="https://own.example/simple") == ""
    (tmp_path / ".config/uv").mkdir(parents=True)
    (tmp_path / ".config/uv/uv.toml").write_text("")
    assert run(tmp_path) == ""

"""The machine's pip settings for uv, which reads none of pip's files; as a program it prints them as shell exports.

A machine behind a mirror has its index, certificate and proxy in pip's configuration; without this, uv would go
to the public index. Where uv has settings of its own (a uv.toml or an index in its environment), those hold and
nothing is printed. Standard library only, and nothing of this package: a set-up runs it before anything is installed.
"""

import ast
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

UV_INDEX_SETTINGS = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE")
UV_FILES = (Path("/etc/uv/uv.toml"), Path.home() / ".config/uv/uv.toml")


def pip_settings(listing: str) -> dict[str, str]:
    """`pip config list` as option -> value; the environment wins over `[install]`, and that over `[global]`."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.partition(".")
        if section in found:
            found[section][option] = str(ast.literal_eval(value))
    return {**found["global"], **found["install"], **found[":env:"]}


def uv_settings(pip: Mapping[str, str]) -> dict[str, str]:
    """The same settings under uv's names (pip separates lists by blanks or lines, uv's find-links by commas)."""
    settings = {}
    if "index-url" in pip:
        settings["UV_DEFAULT_INDEX"] = pip["index-url"]
    if "extra-index-url" in pip:
        settings["UV_INDEX"] = " ".join(pip["extra-index-url"].split())
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # pip's rule: every index counts, the best version wins
    if "find-links" in pip:
        settings["UV_FIND_LINKS"] = ",".join(pip["find-links"].split())
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        settings["UV_OFFLINE"] = "1"
    if "trusted-host" in pip:
        settings["UV_INSECURE_HOST"] = " ".join(pip["trusted-host"].split())
    if "cert" in pip:
        settings["SSL_CERT_FILE"] = pip["cert"]
    if "proxy" in pip:
        settings["ALL_PROXY"] = pip["proxy"]
    return settings


def settings() -> dict[str, str]:
    """This machine's pip settings under uv's names; none where uv has settings of its own or there is no pip."""
    if any(name in os.environ for name in UV_INDEX_SETTINGS) or any(file.exists() for file in UV_FILES):
        return {}
    # An environment made by uv has no pip; the Python that it was made from may have one.
    for python in dict.fromkeys((sys.executable, f"{sys.base_prefix}/bin/python3")):
        command = [python, "-m", "pip", "config", "list"]
        listing = subprocess.run(command, capture_output=True, text=True, check=False)
        if listing.returncode == 0:
            found = uv_settings(pip_settings(listing.stdout))
            return {name: value for name, value in found.items() if name not in os.environ}
    return {}


def main() -> int:
    """Print the settings as shell exports; a machine without any gets an empty file."""
    for name, value in settings().items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

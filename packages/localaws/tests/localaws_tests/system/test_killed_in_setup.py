"""A server that is killed while it starts jobs, cold and warm: at whatever moment, no process of theirs stays."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from localaws_tests.conftest import bubblewrap, make_image, poll
from localaws_tests.engine.test_runner import running
from localaws_tests.engine.test_warm import TOML

pytestmark = pytest.mark.long

SERVER = """
import pathlib, sys, threading
from localaws.engine.images import Images
from localaws.engine.runner import Runner
from localaws.engine.spec import ProcessSpec
from localaws.engine.sandbox import choose
images, root, marker, warm = sys.argv[1:]
image = Images(pathlib.Path(images), pathlib.Path(root)).by_name("tiny")
runner = Runner(choose("bubblewrap"), warm=warm == "warm")
assert runner.prepare(image, 60) == (warm == "warm")
print("up", flush=True)
for number in range(1000):
    home = pathlib.Path(root) / str(number) / "ml"
    home.mkdir(parents=True)
    (home / "s.py").write_text("import subprocess, sys; subprocess.run(['sleep', sys.argv[1]])")
    runner.start(ProcessSpec(argv=["python3", "s.py", marker], env={}, root=home, image=image, on_line=print))
"""
ROUNDS = 6


@pytest.mark.parametrize("how", ["cold", "warm"])
def test_no_process_stays(how: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    bubblewrap()
    images = make_image(tmp_path / "images", TOML)
    seed = int.from_bytes(os.urandom(4), "big")
    record_property("seed", seed)
    moments = random.Random(seed)
    for number in range(ROUNDS):
        marker = f"5{os.getpid()}.{moments.randrange(10**9)}"
        root = tmp_path / f"round{number}"
        root.mkdir()
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(images), str(root), marker, how],
            stdout=subprocess.PIPE,
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"up\n"
            threading.Event().wait(moments.uniform(0.0, 0.15))  # the moment is the matter of this test
        finally:
            server.kill()
            server.wait()
            server.stdout.close()
        poll(lambda marker=marker: not running(marker), 300)  # type: ignore[misc]
        poll(lambda root=root: not bubblewraps(root), 300)  # type: ignore[misc]


def bubblewraps(root: Path) -> list[int]:
    """Processes with a path below `root` in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if f"{root}/".encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found

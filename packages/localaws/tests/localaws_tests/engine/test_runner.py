"""Processes in every sandbox that works here: a private /opt/ml, a clean environment, signals, no survivors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localaws.engine.images import Images
from localaws.engine.limits import OOM_SCORE, Limits
from localaws.engine.runner import Process, Runner
from localaws.engine.sandbox import choose
from localaws.engine.spec import ProcessSpec
from localaws_tests.conftest import make_image, poll

PRELUDE = "import os, pathlib, sys, time\nroot = pathlib.Path(os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml'))\n"


class Lines(list[str]):
    """Collected lines; `seen` waits for one."""

    def __init__(self) -> None:
        self.changed = threading.Condition()

    def add(self, line: str) -> None:
        with self.changed:
            self.append(line)
            self.changed.notify_all()

    def seen(self, line: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: line in self, 240), list(self)


@pytest.fixture(scope="module", params=["bubblewrap", "namespaces", "none"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    try:
        sandbox = choose(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    runner = Runner(sandbox)
    yield runner
    runner.shutdown(0.0)


Start = Callable[..., tuple[Process, Lines, Path]]


@pytest.fixture
def start(runner: Runner, images_dir: Path, tmp_path: Path) -> Start:
    image = Images(images_dir, tmp_path / "cache").by_name("tiny")

    def start(
        script: str, *arguments: str, env: dict[str, str] | None = None, **spec: object
    ) -> tuple[Process, Lines, Path]:
        root = tmp_path / f"job{len(list(tmp_path.iterdir()))}" / "ml"
        root.mkdir(parents=True)
        lines = Lines()
        argv = ["python3", "-c", PRELUDE + script, *arguments]
        made = ProcessSpec(argv=argv, env=env or {}, root=root, image=image, on_line=lines.add, **spec)  # type: ignore[arg-type]
        return runner.start(made), lines, root

    return start


def test_opt_ml_is_the_root_and_exit_code_comes_back(start: Start) -> None:
    process, _, root = start("(root / 'made').write_text('x'); sys.exit(7)")
    assert process.wait() == 7
    assert (root / "made").read_text() == "x"
    assert not Path("/opt/ml/made").exists()


def test_two_processes_do_not_see_each_other(start: Start) -> None:
    first, lines, _ = start("(root / 'secret').write_text('1'); print('up', flush=True); time.sleep(600)")
    lines.seen("up")
    second, others, _ = start("print(sorted(p.name for p in root.iterdir()))")
    assert second.wait() == 0
    assert list(others) == ["[]"]
    first.kill()


def test_environment_is_clean(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "x")
    process, lines, _ = start("import json; print(json.dumps(dict(os.environ)))", env={"MINE": "yes"})
    process.wait()
    env = json.loads(lines[0])
    assert env["MINE"] == "yes"
    assert "SECRET_OF_THE_SERVER" not in env
    known = {"PATH", "HOME", "LANG", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "MINE", "PWD", "TMPDIR", "SHLVL",
             "SAGEMAKER_BASE_DIR", "LC_CTYPE", "_", "OLDPWD"}  # fmt: skip
    assert set(env) <= known


def test_opt_ml_in_arguments_and_environment_is_where_the_files_are(start: Start) -> None:
    process, lines, _ = start(
        "pathlib.Path(sys.argv[1]).write_text('a'); print(pathlib.Path(os.environ['AT']).read_text())",
        "/opt/ml/file",
        env={"AT": "/opt/ml/file"},
    )
    assert process.wait() == 0, list(lines)
    assert list(lines) == ["a"]


def test_home_is_the_jobs_own_and_another_one_is_given_as_it_is(start: Start) -> None:
    script = "open(os.path.expanduser('~/mine'), 'x').close()"
    assert [start(script)[0].wait() for _ in range(2)] == [0, 0]
    process, lines, _ = start("print(repr(os.environ['HOME']), os.environ['TMPDIR'])", env={"HOME": "1", "TMPDIR": "2"})
    assert process.wait() == 0, list(lines)
    assert list(lines) == ["'1' 2"]


def test_lines_come_while_it_runs(start: Start) -> None:
    process, lines, root = start("print('up')\nwhile not (root / 'go').exists(): time.sleep(0.01)\nprint('end')")
    lines.seen("up")
    assert process.running()
    (root / "go").touch()
    assert process.wait() == 0
    assert list(lines) == ["up", "end"]


def test_all_lines_are_there_when_wait_returns(start: Start) -> None:
    process, lines, _ = start("for i in range(2000): print(i)\nsys.stderr.write('no end of line')")
    process.wait()
    assert list(lines) == [*map(str, range(2000)), "no end of line"]


def test_sigterm_reaches_the_program(start: Start) -> None:
    script = """
import signal
signal.signal(signal.SIGTERM, lambda *_: (print('saving', flush=True), sys.exit(5)))
print('up', flush=True)
time.sleep(600)
"""
    process, lines, _ = start(script)
    lines.seen("up")
    assert process.terminate(240) == 5
    assert list(lines) == ["up", "saving"]


def test_sigterm_ends_a_program_without_a_handler(start: Start) -> None:
    process, lines, _ = start("print('up', flush=True); time.sleep(600)")
    lines.seen("up")
    assert process.terminate(240) == 128 + signal.SIGTERM
    assert list(lines) == ["up"]  # no shell of the sandbox tells of it


def test_sigkill_after_the_grace_and_nothing_is_left(start: Start) -> None:
    script = """
import signal, subprocess
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(['sleep', sys.argv[1]])
print('up', flush=True)
time.sleep(600)
"""
    seconds = unlike_any()
    process, lines, _ = start(script, seconds)
    lines.seen("up")
    assert process.terminate(0.2) > 128
    poll(lambda: not running(seconds))


def test_stop_in_the_very_first_moment(start: Start) -> None:
    process, _, _ = start("time.sleep(600)")
    assert process.terminate(240) > 0


def test_a_program_that_does_not_exist(runner: Runner, images_dir: Path, tmp_path: Path) -> None:
    image = Images(images_dir, tmp_path / "cache").by_name("tiny")
    (tmp_path / "j/ml").mkdir(parents=True)
    lines = Lines()
    spec = ProcessSpec(argv=["no-such-program"], env={}, root=tmp_path / "j/ml", image=image, on_line=lines.add)
    assert runner.start(spec).wait() not in (0, None)
    assert any("no-such-program" in line for line in lines)


def test_no_network(start: Start, runner: Runner) -> None:
    if runner.sandbox.name == "none":
        pytest.skip("the sandbox none cannot take the network away")
    script = "print([line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]])"
    process, lines, _ = start(script, network=False)
    assert process.wait() == 0, list(lines)
    assert list(lines) == ["['lo']"]


def test_bound_inputs_below_opt_ml_can_be_read_only(start: Start, runner: Runner, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.csv").write_text("1,2")
    script = """
folder = root / 'input/data/train'
print((folder / 'a.csv').read_text())
for attempt in (lambda: (folder / 'b').touch(), lambda: (folder / 'a.csv').write_text('x')):
    try:
        attempt()
        print('written')
    except OSError as error:
        print(error.errno)
(root / 'model').mkdir()
"""
    process, lines, root = start(script, bind={source: "/opt/ml/input/data/train"})
    assert process.wait() == 0, list(lines)
    read_only = runner.sandbox.name != "none"
    assert list(lines) == ["1,2", *(["30", "30"] if read_only else ["written", "written"])]
    assert (root / "model").is_dir()
    assert (source / "a.csv").read_text() == ("1,2" if read_only else "x")


def test_the_code_of_an_image_is_seen_wherever_it_lies(runner: Runner, tmp_path: Path) -> None:
    """Below /tmp too, of which a job has its own."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "beside.py").write_text("ANSWER = 42\n")
    toml = f"uris = ['a']\ncode = ['{code}']"
    image = Images(make_image(tmp_path / "images", toml), tmp_path / "cache").by_name("tiny")
    root, lines = tmp_path / "job" / "ml", Lines()
    root.mkdir(parents=True)
    argv = ["python3", "-c", f"import sys; sys.path.insert(0, {str(code)!r}); import beside; print(beside.ANSWER)"]
    spec = ProcessSpec(argv=argv, env={}, root=root, image=image, on_line=lines.add)
    assert runner.start(spec).wait() == 0, list(lines)
    assert list(lines) == ["42"]


def test_host_name_and_hosts_of_a_cluster(start: Start, runner: Runner) -> None:
    if runner.sandbox.name == "none":
        pytest.skip("the sandbox none has the host name of the machine")
    script = "import socket; print(socket.gethostname(), *(socket.gethostbyname(f'algo-{n}') for n in (1, 2)))"
    process, lines, _ = start(script, host="algo-2", hosts={"algo-1": "127.9.8.1", "algo-2": "127.9.8.2"})
    assert process.wait() == 0, list(lines)
    assert list(lines) == ["algo-2 127.9.8.1 127.9.8.2"]


def test_limits_of_processes_memory_and_core_dumps(start: Start) -> None:
    script = """
import resource
print([resource.getrlimit(getattr(resource, n)) for n in ('RLIMIT_NPROC', 'RLIMIT_DATA', 'RLIMIT_CORE')])
print(open('/proc/self/oom_score_adj').read().strip())
try:
    bytearray(2 * 1024**3)
except MemoryError:
    print('no memory')
"""
    limits = Limits(processes=4000, data=1024**3)
    process, lines, _ = start(script, limits=limits)
    assert process.wait() == 0, list(lines)
    assert list(lines) == [str([(4000, 4000), (1024**3, 1024**3), (0, 0)]), str(OOM_SCORE), "no memory"]


def test_bubblewraps_program_does_not_begin_when_the_endpoint_has_gone(
    runner: Runner, images_dir: Path, tmp_path: Path
) -> None:
    """Killed before bubblewrap has asked to die with it: then the line never comes that the program waits for."""
    if runner.sandbox.name != "bubblewrap":
        pytest.skip("the other sandboxes have a supervisor")
    image = Images(images_dir, tmp_path / "cache").by_name("tiny")
    root = tmp_path / "job" / "ml"
    root.mkdir(parents=True)
    spec = ProcessSpec(argv=["touch", "/opt/ml/begun"], env={}, root=root, image=image, on_line=print)
    command = runner.sandbox.command(spec, {"PATH": "/usr/bin:/bin"}, [])
    for said, begun in (b"", False), (b"go\n", True):
        done = subprocess.run(command.argv, env=dict(command.env), cwd=command.cwd, input=said, timeout=240)
        assert ((root / "begun").exists(), done.returncode == 0) == (begun, begun)


def test_survives_the_thread_that_asked_for_it(start: Start) -> None:
    """'Die with the parent' means the thread that forked."""
    made: list[tuple[Process, Lines, Path]] = []
    thread = threading.Thread(
        target=lambda: made.append(start("print('up', flush=True); sys.stdin.read(); time.sleep(0.2)"))
    )
    thread.start()
    thread.join()
    process, lines, _ = made[0]
    lines.seen("up")
    assert process.wait() == 0


def unlike_any() -> str:
    """Seconds of a sleep that no other process of this machine has."""
    return f"5{os.getpid()}.{int.from_bytes(os.urandom(3), 'big')}"


def running(marker: str) -> list[int]:
    """Processes with this argument."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


SERVER = """
import sys, pathlib
from localaws.engine.images import Images
from localaws.engine.runner import Runner
from localaws.engine.sandbox import choose
from localaws.engine.spec import ProcessSpec
images, root, marker, sandbox = sys.argv[1:]
image = Images(pathlib.Path(images), pathlib.Path(root)).by_name("tiny")
process = Runner(choose(sandbox)).start(ProcessSpec(
    argv=["sh", "-c", f"echo up; sleep {marker} & sleep {marker}"], env={}, root=pathlib.Path(root), image=image,
    on_line=lambda line: print(line, flush=True)))
process.wait()
"""


def test_kill_dash_nine_of_the_server_leaves_no_process(runner: Runner, images_dir: Path, tmp_path: Path) -> None:
    marker = unlike_any()
    root = tmp_path / "ml"
    root.mkdir()
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(images_dir), str(root), marker, runner.sandbox.name],
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        poll(lambda: len(running(marker)) == 3)  # the server names it too
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    poll(lambda: not running(marker))

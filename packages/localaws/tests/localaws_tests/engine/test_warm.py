"""Jobs forked from a prepared parent: they see, may and leave behind what a job that was started cold does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localaws.engine.images import Image, Images
from localaws.engine.runner import Process, Runner
from localaws.engine.spec import ProcessSpec
from localaws.engine.warm import Parent, reads_at_start
from localaws_tests.conftest import bubblewrap, make_image, poll
from localaws_tests.engine.test_runner import Lines, running, unlike_any

TOML = """
name = "tiny"
uris = ["tiny:1\\\\.0-.*"]
python = "host"
preload = ["json", "numpy", "random", "logging", "tempfile", "multiprocessing"]
"""
WARM = "0"  # the parent's process id in a forked job: it lies outside of the job's process namespace


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """A runner that hides a directory, as an endpoint hides its state."""
    made = Runner(bubblewrap(), hidden=[tmp_path_factory.mktemp("state"), Path(__file__).parent])
    yield made
    made.shutdown(0.0)


@pytest.fixture(scope="module")
def image(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Image:
    image = Images(make_image(tmp_path_factory.mktemp("images"), TOML), tmp_path_factory.mktemp("cache")).by_name(
        "tiny"
    )
    assert runner.prepare(image, 240)
    return image


Start = Callable[..., tuple[Process, Lines]]


@pytest.fixture
def start(runner: Runner, image: Image, tmp_path: Path) -> Iterator[Start]:
    def start(
        script: str, *arguments: str, env: dict[str, str] | None = None, warm: bool = True, **spec: object
    ) -> tuple[Process, Lines]:
        root = tmp_path / f"job{len(list(tmp_path.iterdir()))}" / "ml"
        (root / "code").mkdir(parents=True)
        (root / "code" / "script.py").write_text(script)
        lines = Lines()
        argv = spec.pop("argv", ["python3", "code/script.py", *arguments])
        made = ProcessSpec(argv=argv, env=env or {}, root=root, image=image, on_line=lines.add, **spec)  # type: ignore[arg-type]
        runner.warm = warm
        return runner.start(made), lines

    yield start
    runner.warm = True


def both(start: Start, script: str, *arguments: str, **spec: object) -> tuple[tuple[int | None, list[str]], ...]:
    """Exit code and lines of the cold and the warm job."""
    results = []
    for warm in (False, True):
        process, lines = start(script, *arguments, warm=warm, **spec)
        results.append((process.wait(240), list(lines)))
    return tuple(results)


FACTS = """
import ctypes, json, os, resource, signal, site, socket, stat, sys

def attempt(call):
    try:
        return str(call())
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"

status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
shown = "Name CapInh CapPrm CapEff CapAmb NoNewPrivs Seccomp Threads SigBlk SigIgn SigCgt Uid Gid Groups".split()
mounts = {}
for line in open("/proc/self/mountinfo"):
    fields = line.split()
    mounts[fields[4]] = fields[5]  # the last one covers those below
streams = (sys.stdout, sys.stderr)
writes = ("/etc/x", "/usr/x", "/proc/self/exe", sys.executable, "/proc/sys/kernel/hostname")
libc = ctypes.CDLL(None, use_errno=True)
facts = {
    "argv": sys.argv,
    "orig_argv": sys.orig_argv,
    "path": sys.path,
    "executable": sys.executable,
    "prefix": [sys.prefix, sys.base_prefix],
    "flags": list(sys.flags),
    "main": [__name__, __file__, __spec__ is None, __cached__, sys.modules["__main__"].__file__],
    "names": sorted(n for n in globals() if n.startswith("__")),
    "environ": dict(os.environ),
    "site": [site.USER_SITE, site.ENABLE_USER_SITE, os.path.expanduser("~")],
    "cwd": os.getcwd(),
    "umask": os.umask(0o22),
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "status": {k: status[k].strip() for k in shown},
    "limits": {n: resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")},
    "oom": open("/proc/self/oom_score_adj").read(),
    "nice": os.nice(0),
    "scheduler": sorted(os.sched_getaffinity(0)),
    "cmdline": open("/proc/self/cmdline").read(),
    "exe": os.readlink("/proc/self/exe"),
    "proc environ": sorted(open("/proc/self/environ").read().split("\\0")),
    "host": [socket.gethostname(), open("/etc/hosts").read()],
    "network": sorted(os.listdir("/proc/sys/net/ipv4/conf")),
    "shared memory": os.listdir("/dev/shm"),
    "devices": sorted(os.listdir("/dev")),
    "fds": sorted(f for f in os.listdir("/proc/self/fd") if f != "3"),
    "stdin": sys.stdin.read(),
    "streams": [(s.encoding, s.errors, s.line_buffering, s.write_through) for s in streams],
    "stdout": [stat.S_IFMT(os.fstat(1).st_mode), os.fstat(1) == os.fstat(2)],
    "mounts": {m: mounts[m] for m in sorted(mounts)},
    "listings": {d: attempt(lambda d=d: sorted(os.listdir(d))) for d in ("/", "/opt", "/tmp", *sys.argv[2:])},
    "writes": {p: attempt(lambda p=p: open(p, "ab")) for p in writes},
    "mount": libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "handlers": [str(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD)],
}
print(json.dumps(facts, default=list))
"""


def test_a_job_sees_the_same_cold_and_warm(start: Start, runner: Runner) -> None:
    hidden = [str(path) for path in runner.hidden]
    (cold_code, cold), (warm_code, warm) = both(start, FACTS, "a b", *hidden, env={"MINE": "1 2"}, network=False)
    assert (cold_code, warm_code) == (0, 0), (cold, warm)
    seen, expected = json.loads(warm[0]), json.loads(cold[0])
    # What the parent's own place has mounted lies below the job's, by whose mounts it is covered.
    interpreter = str(Path(sys.executable).parent.parent)
    below = {p for p in seen["mounts"] if p not in expected["mounts"]}
    for path in below:
        assert "ro" in seen["mounts"].pop(path).split(","), path
        assert Path(interpreter).is_relative_to(path) or Path(sys.base_prefix).is_relative_to(path), path
    for status in (seen["status"], expected["status"]):
        # The C library's own two signals are caught as soon as a library has had a thread: a matter of the imports.
        status["SigCgt"] = int(status["SigCgt"], 16) & ~(0b11 << 31)
    for name in expected:
        assert seen[name] == expected[name], name
    # Empty, or below /tmp, of which a job has its own.
    assert seen["listings"][hidden[1]] in ("[]", "FileNotFoundError 2")
    assert seen["status"]["CapEff"] == "0" * 16


def test_it_is_really_forked_and_the_modules_are_there(start: Start) -> None:
    script = "import os, sys; print(os.getppid(), 'numpy' in sys.modules, 'decimal' in sys.modules)"
    (_, cold), (_, warm) = both(start, script)
    assert (cold, warm) == (["1 False False"], [f"{WARM} True False"])


def test_random_states_and_keys_differ_from_job_to_job(start: Start) -> None:
    script = """
import json, multiprocessing, random, tempfile, uuid
import numpy
print(random.random())
print(numpy.random.rand())
print(bytes(multiprocessing.current_process().authkey).hex())
print(tempfile.mktemp())
print(uuid.uuid4())
"""
    jobs = [start(script) for _ in range(3)]
    assert [process.wait(240) for process, _ in jobs] == [0, 0, 0]
    for values in zip(*(lines for _, lines in jobs), strict=True):
        assert len(set(values)) == 3, values


ENDINGS = {
    "by itself": "print('done')",
    "exit code": "import sys; sys.exit(7)",
    "exit text": "import sys; sys.exit('no more')",
    "exit in a thread's wait": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()",
    "at exit": "import atexit; atexit.register(print, 'bye'); raise SystemExit(3)",
    "exception": "def f():\n    raise ValueError('x')\n"
    "try:\n    f()\nexcept ValueError as e:\n    raise KeyError('y') from e",
    "excepthook": "import sys; sys.excepthook = lambda *a: print(a[0].__name__, a[2].tb_lineno); 1 / 0",
    "syntax error": "print('a'\nx = = 1",
    "interrupt": "raise KeyboardInterrupt",
    "signal": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "no flush": "import sys; sys.stdout.write('no end of line')",
    "exec": "import os, sys\n"
    "os.execvp(sys.executable, [sys.executable, '-c', 'import sys; print(sys.argv); sys.exit(4)', 'a'])",
    "daemon child": "import subprocess; subprocess.Popen(['sleep', '600']); print('left behind')",
    "multiprocessing": "import multiprocessing as m\ndef f(n): return n * 2\nif __name__ == '__main__':\n"
    "    for how in ('fork', 'spawn'):\n        with m.get_context(how).Pool(2) as pool: print(pool.map(f, range(4)))",
    "pickle": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))), A.__module__)",
}  # fmt: skip


@pytest.mark.parametrize("script", ENDINGS.values(), ids=ENDINGS.keys())
def test_a_program_ends_the_same(start: Start, script: str) -> None:
    cold, warm = both(start, script)
    assert cold == warm


def test_a_script_that_is_missing(start: Start) -> None:
    cold, warm = both(start, "", argv=["python3", "nothing.py"])
    assert cold == warm
    assert cold[0] == 2


def test_sigterm_reaches_the_program_and_stop_takes_all_of_it(start: Start) -> None:
    script = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('saving', flush=True), sys.exit(5)))
subprocess.Popen(['sleep', sys.argv[1]], start_new_session=True)
print('up', flush=True)
time.sleep(600)
"""
    seconds = unlike_any()
    process, lines = start(script, seconds)
    lines.seen("up")
    assert process.terminate(240) == 5
    assert list(lines) == ["up", "saving"]
    assert not running(seconds)


def test_sigkill_after_the_grace(start: Start) -> None:
    process, lines = start(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    lines.seen("up")
    assert process.terminate(0.1) == 128 + signal.SIGKILL
    assert not process.running()


def test_jobs_do_not_see_each_other(start: Start) -> None:
    script = """
import os, sys, time
print(sorted(p for p in os.listdir('/proc') if p.isdigit()), 'secret' in os.listdir('/tmp'), flush=True)
open('/tmp/secret', 'w')
open('/dev/shm/secret', 'w')
time.sleep(float(sys.argv[1]))
"""
    first, lines = start(script, "600")
    poll(lambda: len(lines) == 1)
    second, others = start(script, "0")
    assert second.wait(240) == 0
    assert list(others) == list(lines) == ["['1', '2', '3'] False"]
    third, memory = start("import os; print(os.listdir('/dev/shm'))")
    third.wait(240)
    assert list(memory) == ["[]"]
    first.kill()


SCAN = """
import re
pattern = re.compile(b"MAR" + b"KER-[0-9a-f]{24}")
found = set()
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        span, rights = line.split()[:2]
        if "r" in rights and "[v" not in line:
            start, end = (int(n, 16) for n in span.split("-"))
            try:
                memory.seek(start)
                found |= set(pattern.findall(memory.read(end - start)))
            except OSError:
                pass
print(len(found))
"""


def test_what_an_earlier_job_was_given_is_in_no_later_ones_memory(start: Start) -> None:
    first, seen = start(SCAN, env={"SECRET": f"MARKER-{os.urandom(12).hex()}"})
    assert first.wait(240) == 0
    later, nothing = start(SCAN)
    assert later.wait(240) == 0
    assert (list(seen), list(nothing)) == (["1"], ["0"])


def test_what_libraries_read_at_their_start_makes_a_job_cold(start: Start) -> None:
    script = "import os; print(os.getppid())"
    for env in ({"PYTHONHASHSEED": "0"}, {"OMP_NUM_THREADS": "1"}, {"PYTHONPATH": "/opt/ml/code"}, {"TZ": "UTC"}):
        process, lines = start(script, env=env)
        process.wait(240)
        assert list(lines) == ["1"], env
    assert reads_at_start({"SM_CHANNEL": "x", "AWS_REGION": "y", "TRAINING_JOB_NAME": "z"}) == {}


def test_other_programs_than_scripts_are_started_cold(start: Start) -> None:
    for argv in (["sh", "-c", "echo $PPID"], ["python3", "-c", "import os; print(os.getppid())"]):
        process, lines = start("", argv=argv)
        assert process.wait(240) == 0
        assert list(lines) == ["1"]


@pytest.mark.parametrize(
    ("preload", "said"),
    [("no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"), ("threaded", "have started threads")],
)
def test_an_image_that_cannot_be_prepared_is_cold_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, preload: str, said: str
) -> None:
    home = make_image(
        tmp_path / "images", TOML.replace('"json"', f'"{preload}"') + '[environment]\nPYTHONPATH = "MODULES"\n'
    )
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "threaded.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    toml = home / "tiny" / "image.toml"
    toml.write_text(toml.read_text().replace("MODULES", str(modules)))
    image = Images(home, tmp_path / "cache").by_name("tiny")
    runner = Runner(bubblewrap())
    try:
        assert not runner.prepare(image, 240)
        for number in range(2):
            root = tmp_path / str(number) / "ml"
            root.mkdir(parents=True)
            (root / "s.py").write_text("import os; print(os.getppid())")
            lines = Lines()
            spec = ProcessSpec(argv=["python3", "s.py"], env={}, root=root, image=image, on_line=lines.add)
            assert runner.start(spec).wait(240) == 0
            assert list(lines) == ["1"]
    finally:
        runner.shutdown(0.0)
    messages = [r.getMessage() for r in caplog.records if "started cold" in r.getMessage()]
    assert len(messages) == 1
    assert said in messages[0]


def test_a_parent_that_is_closed_while_it_is_prepared_is_no_trouble(
    image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    parent = Parent(image, {}, "LOCALAWS_closed")

    def close_meanwhile(spawn: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        started = spawn()
        parent.close()
        return started

    parent.prepare(close_meanwhile)
    assert (parent.state, parent.decided.is_set(), caplog.messages) == ("gone", True, [])


def test_when_the_parent_is_killed_its_jobs_end_and_the_next_one_runs_all_the_same(tmp_path: Path) -> None:
    image = Images(make_image(tmp_path / "images", TOML), tmp_path / "cache").by_name("tiny")
    runner = Runner(bubblewrap())
    try:
        assert runner.prepare(image, 240)
        roots = []
        for number in range(2):
            roots.append(tmp_path / str(number) / "ml")
            roots[-1].mkdir(parents=True)
            (roots[-1] / "s.py").write_text(
                "import os, sys, time; print('up', flush=True); time.sleep(float(sys.argv[1]))"
            )
        lines = Lines()
        spec = ProcessSpec(argv=["python3", "s.py", "600"], env={}, root=roots[0], image=image, on_line=lines.add)
        process = runner.start(spec)
        lines.seen("up")
        (parent,) = runner.parents._parents.values()
        parent._popen.kill()  # type: ignore[union-attr]
        assert process.wait(240) == 128 + signal.SIGKILL
        spec = ProcessSpec(argv=["python3", "s.py", "0"], env={}, root=roots[1], image=image, on_line=lines.add)
        assert runner.start(spec).wait(240) == 0
    finally:
        runner.shutdown(0.0)


PROGRAM = """
import os, sys
import prepared_parent
print('before', os.getppid(), flush=True)
source = '/opt/ml/code/src'
child = prepared_parent.start(
    [sys.executable, 'user.py', 'x'], source, {**os.environ, 'SM_A': 'b', 'PYTHONPATH': source})
try:
    print(child.stderr.read().decode().splitlines()[-1], child.wait())
finally:
    pass
"""
USER = """
import os, sys
import helper
print(sys.argv, os.getcwd(), os.environ['SM_A'], sys.path[:2], __name__, os.getppid())
print('container_module' in sys.modules)
print(sorted(f for f in os.listdir('/proc/self/fd') if int(f) > 3))
raise ValueError('of the user')
"""


def test_an_images_program_can_fork_the_users_script(start: Start, tmp_path: Path) -> None:
    script = f"""
import pathlib, sys, types
source = pathlib.Path('/opt/ml/code/src')
source.mkdir()
(source / 'user.py').write_text({USER!r})
(source / 'helper.py').write_text('')
sys.modules['container_module'] = types.ModuleType('container_module')
sys.modules['container_module'].__file__ = '/opt/images/container_module.py'
exec({PROGRAM!r})
"""
    process, lines = start(script)
    assert process.wait(240) == 0, list(lines)
    paths = ["/opt/ml/code/src", "/opt/ml/code/src"]
    assert list(lines) == [
        f"before {WARM}",
        f"['user.py', 'x'] /opt/ml/code/src b {paths} __main__ 3",
        "False",
        "[]",
        "ValueError: of the user 1",
    ]


def processes_of(image: Image) -> list[int]:
    """Bubblewraps and prepared parents of an image: no other process is given its list of modules."""
    return running(image.preload[-1])


SERVER = """
import sys, pathlib
from localaws.engine.images import Images
from localaws.engine.runner import Runner
from localaws.engine.sandbox import choose
from localaws.engine.spec import ProcessSpec
images, root, marker = sys.argv[1:]
image = Images(pathlib.Path(images), pathlib.Path(root)).by_name("tiny")
runner = Runner(choose("bubblewrap"))
assert runner.prepare(image, 240)
process = runner.start(ProcessSpec(argv=["python3", "s.py", marker], env={}, root=pathlib.Path(root), image=image,
    on_line=lambda line: print(line, flush=True)))
process.wait()
"""


def test_kill_dash_nine_of_the_server_leaves_no_process(runner: Runner, image: Image, tmp_path: Path) -> None:
    marker = unlike_any()
    root = tmp_path / "ml"
    root.mkdir()
    (root / "s.py").write_text(
        "import subprocess, sys\n"
        "sleeps = [subprocess.Popen(['sleep', sys.argv[1]], start_new_session=True) for _ in '12']\n"
        "print('up', flush=True)\nsleeps[0].wait()\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(image.directory.parent), str(root), marker],
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        poll(lambda: len(running(marker)) == 4)  # the server, the job and its two children
        parents = processes_of(image)
        assert len(parents) >= 2  # bubblewrap and the parent in it; the runner of this module has its own
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    poll(lambda: not running(marker))
    poll(lambda: len(processes_of(image)) < len(parents))

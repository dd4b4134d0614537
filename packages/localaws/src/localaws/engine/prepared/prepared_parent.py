"""How a process that was forked from a prepared parent becomes a fresh Python with a script (standard library only).

In a job this module is in sys.modules: by its `start` and `replace` an image's program runs the user's script in a fork
instead of a new interpreter.
"""

import contextlib
import ctypes
import gc
import os
import stat
import sys
import types
from typing import Any

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_CAPBSET_DROP = 1, 4, 15, 24
PR_SET_MM, PR_SET_MM_MAP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 35, 14, 38, 47, 4
FORK_PROOF = ("jemalloc_bg_thd",)  # jemalloc (in pyarrow) does without it after a fork

libc = ctypes.CDLL(None, use_errno=True)
Order = dict[str, Any]


def check(result: int, what: str) -> None:
    """Raise OSError for a system call that failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, *arguments: int) -> None:
    """Call prctl(2); raises OSError."""
    filled = [*arguments, 0, 0, 0, 0][:4]
    check(libc.prctl(option, *(ctypes.c_ulong(a) for a in filled)), f"prctl {option}")


def run(order: Order) -> int:
    """In the job: become a fresh Python that was given this command line; returns the exit code."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    if null != 0:
        os.close(null)
    prctl(PR_SET_DUMPABLE, 1)
    os.chdir(order["cwd"])
    limit(order["limits"])
    fresh = set(sys.modules)
    base = list(sys.path)
    argv, environment = order["argv"], order["env"]
    while True:
        try:
            return become(argv, environment)
        except Again as again:
            argv, environment = again.argv, again.environment
            os.chdir(again.directory)
        sys.path[:] = base
        renew(fresh)
        gc.collect()  # an object that is still there would close its descriptor when another file has that number
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def renew(fresh: set[str]) -> None:
    """Undo what the program before has done to this process: its own modules and its signal handlers."""
    import signal

    for name in set(sys.modules) - fresh:
        origin = getattr(sys.modules[name], "__file__", None) or sys.prefix
        if not origin.startswith((sys.prefix, sys.base_prefix)):
            del sys.modules[name]
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def limit(limits: Order) -> None:
    """Resource limits as (soft, hard) numbers by name; the kernel prefers to kill a job over the endpoint."""
    import resource

    for name, number in limits["resources"].items():
        resource.setrlimit(getattr(resource, name), (number, number))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(str(limits["oom_score"]))


def become(argv: list[str], environment: dict[str, str]) -> int:
    """Run `argv` (an interpreter, a script and its arguments) in this process as a new one would; its exit code."""
    os.environ.clear()
    os.environ.update(environment)
    script = argv[1]
    try:
        mode = os.stat(script).st_mode  # noqa: PTH116
    except OSError:
        mode = 0
    if not stat.S_ISREG(mode):
        os.execvp(argv[0], argv)  # noqa: S606 - a directory or a missing file: Python itself knows what to do
    show(argv, environment)
    forget()
    path = os.path.abspath(script)  # noqa: PTH100
    sys.argv, sys.orig_argv = list(argv[1:]), list(argv)
    sys.executable = find(argv[0], environment)
    link = os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114
    # A new Python leaves out what a .pth file names and the job cannot see, as its /tmp is its own.
    sys.path[:] = [entry for entry in sys.path if entry.endswith(".zip") or os.path.isdir(entry)]  # noqa: PTH112
    sys.path[:0] = [os.path.dirname(link), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]  # noqa: PTH120
    sys.path_importer_cache.clear()
    return execute(path)


def find(name: str, environment: dict[str, str]) -> str:
    """What a new Python would call its own executable."""
    if "/" in name:
        return os.path.abspath(name)  # noqa: PTH100
    for directory in environment.get("PATH", os.defpath).split(os.pathsep):
        candidate = os.path.join(directory, name)  # noqa: PTH118
        if os.access(candidate, os.X_OK):
            return candidate
    return name


class Again(BaseException):
    """Raised in a process that is to become another program: everything that the present one does ends first."""

    def __init__(self, argv: list[str], environment: dict[str, str], directory: str) -> None:
        super().__init__(argv)
        self.argv = argv
        self.environment = environment
        self.directory = directory


class Child:
    """A Python program that `start` has begun; as much of subprocess.Popen as its caller needs."""

    def __init__(self, pid: int, stderr: int) -> None:
        self.pid = pid
        self.stderr = os.fdopen(stderr, "rb")
        self.returncode: int | None = None

    def wait(self) -> int:
        """The exit code, -n after signal n."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens when it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)


def start(argv: list[str], directory: str, environment: dict[str, str]) -> "Child | None":
    """For the programs of an image: fork a Python that runs a script, its stderr in a pipe.

    None when that would not be what a new process is: then start one. Nothing of the caller goes on in the fork but
    its `finally` clauses.
    """
    if not runs_alike(argv, directory, environment):
        return None
    read, written = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid != 0:
        os.close(written)
        return Child(pid, read)
    os.dup2(written, 2)
    raise Again(argv, environment, directory)


def replace(argv: list[str]) -> None:
    """For the programs of an image: become another Python program, as os.execv does.

    Returns only where that would not be what a new process is: then call os.execv.
    """
    if runs_alike(argv, os.getcwd(), dict(os.environ)):  # noqa: PTH109
        raise Again(argv, dict(os.environ), os.getcwd())  # noqa: PTH109


def runs_alike(argv: list[str], directory: str, environment: dict[str, str]) -> bool:
    """Whether a script can run in a fork of this process as in a new Python."""
    if len(argv) < 2 or argv[0] != sys.executable or argv[1].startswith("-") or others():
        return False
    places = [directory, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    customised = [os.path.join(place, f"{who}customize.py") for place in places for who in ("site", "user")]  # noqa: PTH118
    return not any(map(os.path.exists, customised))


def others() -> list[str]:
    """The threads beside this one that a fork would leave behind."""
    names = []
    for task in os.listdir("/proc/self/task"):  # noqa: PTH208 - pathlib is not imported here on purpose
        with open(f"/proc/self/task/{task}/comm", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            names.append(file.read().strip())
    return [name for name in names if name not in FORK_PROOF][1:]


def execute(path: str) -> int:
    """Run a script as __main__; what it raises is shown as Python shows it, without a frame of ours."""
    from importlib.machinery import SourceFileLoader

    module = types.ModuleType("__main__")
    loader = SourceFileLoader("__main__", path)
    vars(module).update(__annotations__={}, __builtins__=sys.modules["builtins"], __cached__=None)
    vars(module).update(__file__=path, __loader__=loader)
    sys.modules["__main__"] = module
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            source = file.read()
        exec(compile(source, path, "exec", dont_inherit=True), vars(module))  # noqa: S102 - this is the program
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        sys.stderr.write(f"{error.code}\n")
        return 1
    except KeyboardInterrupt:
        import signal

        shown()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        return 130
    except Again:
        raise
    except BaseException:
        shown()
        return 1
    return 0


def shown() -> None:
    """Hand the present exception to sys.excepthook as if the program had been the outermost frame."""
    kind, error, trace = sys.exc_info()
    inner = None if trace is None else trace.tb_next
    if error is not None and kind is not None:
        if isinstance(error, SyntaxError) and inner is None:
            error.__traceback__ = None
        sys.excepthook(kind, error.with_traceback(inner), inner)


def forget() -> None:
    """What must not be the same in two processes: random states, keys, names, times."""
    modules: dict[str, Any] = dict(sys.modules)
    if "site" in modules:
        modules["site"].USER_BASE = modules["site"].USER_SITE = None
        modules["site"].getusersitepackages()  # of the job's HOME
    if "numpy.random" in modules:
        modules["numpy.random"].seed()
    if "random" in modules:
        modules["random"].seed()
    if "multiprocessing.process" in modules:
        modules["multiprocessing.process"].current_process().authkey = os.urandom(32)
    if "tempfile" in modules:
        modules["tempfile"]._name_sequence = modules["tempfile"].tempdir = None
    if "logging" in modules:
        import time

        modules["logging"]._startTime = time.time()


class MemoryMap(ctypes.Structure):
    """struct prctl_mm_map of linux/prctl.h."""

    ADDRESSES = "start_code end_code start_data end_data start_brk brk start_stack arg_start arg_end env_start env_end"
    _fields_ = [
        *((name, ctypes.c_uint64) for name in (*ADDRESSES.split(), "auxv")),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_uint32),
    ]


kept: list[Any] = []  # the memory that /proc/self/cmdline and environ show


def show(argv: list[str], environment: dict[str, str]) -> None:
    """Let /proc/self/cmdline, environ and comm tell the truth; a kernel without checkpoints keeps the parent's."""
    arguments = b"".join(os.fsencode(a) + b"\0" for a in argv)
    variables = b"".join(os.fsencode(f"{k}={v}") + b"\0" for k, v in environment.items())
    kept.append(ctypes.create_string_buffer(arguments + variables))
    start = ctypes.addressof(kept[-1])
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        fields = [0, 0, 0, *(int(f) if f.lstrip("-").isdigit() else 0 for f in file.read().rpartition(")")[2].split())]
    libc.sbrk.restype = ctypes.c_void_p
    given = MemoryMap(
        fields[26], fields[27], fields[45], fields[46], fields[47], libc.sbrk(0), fields[28],
        start, start + len(arguments), start + len(arguments), start + len(arguments) + len(variables),
        0, 0, 0xFFFFFFFF,
    )  # fmt: skip
    libc.prctl(
        PR_SET_MM,
        ctypes.c_ulong(PR_SET_MM_MAP),
        ctypes.byref(given),
        ctypes.c_ulong(ctypes.sizeof(given)),
        ctypes.c_ulong(0),
    )
    name = ctypes.create_string_buffer(os.path.basename(os.fsencode(argv[0]))[:15])  # noqa: PTH119
    prctl(PR_SET_NAME, ctypes.addressof(name))

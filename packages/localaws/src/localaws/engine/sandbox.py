"""How a process gets an /opt/ml of its own: bubblewrap, Linux namespaces, or paths that name the real directory."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localaws.engine.spec import LOOPBACK, ML, PRIVATE_HOME, ProcessSpec


@dataclass(frozen=True)
class Command:
    """What to execute; `watch` asks for a supervisor, because the sandbox cannot die with its parent.

    `guarded`: the command begins with bubblewrap, and its program waits for a line on its standard input.
    """

    argv: list[str]
    env: Mapping[str, str]
    cwd: str
    watch: bool
    guarded: bool = False


class Sandbox(Protocol):
    """A way to run a ProcessSpec; `depth` is how many parents the program has inside the sandbox's process.

    With a depth of 1 that process is the supervisor, which passes signals on by itself (see supervise).
    """

    @property
    def name(self) -> str:
        """What `--sandbox` calls it."""

    @property
    def depth(self) -> int:
        """See the class."""

    @property
    def isolates_network(self) -> bool:
        """Whether a process can be started without a network."""

    def command(self, spec: ProcessSpec, env: Mapping[str, str], hidden: Sequence[Path]) -> Command:
        """The command line that runs `spec` with exactly this environment."""


def _scratch(spec: ProcessSpec) -> tuple[Path, Path]:
    """The process's own /tmp and /etc/hosts, kept beside its root."""
    scratch = spec.root.with_name(f"{spec.root.name}.tmp")
    scratch.mkdir(exist_ok=True)
    hosts = spec.root.with_name(f"{spec.root.name}.hosts")
    named = "".join(f"{address} {name}\n" for name, address in spec.hosts.items())
    hosts.write_text(f"{LOOPBACK} localhost\n::1 localhost\n{named}", encoding="ascii")
    return scratch, hosts


def _at_home(env: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """The environment of a process that has no /tmp of its own; what its request names stays."""
    own = {"HOME": str(scratch)} if env.get("HOME") == PRIVATE_HOME else {}
    return {"TMPDIR": str(scratch), **env, **own}


def program_paths(spec: ProcessSpec) -> list[Path]:
    """Directories the program needs to be seen: the images (they may share code), its code and its Python."""
    image = spec.image
    homes = [home.resolve().parent for home in (image.directory, *image.bases)]
    return list(dict.fromkeys([*homes, *image.code, *python_paths(image.environment())]))


def python_paths(interpreter: Path) -> list[Path]:
    """Directories of an environment's Python: its own, that of the Python it was made from, and the endpoint's."""
    found = [interpreter.parent.parent, interpreter.resolve().parent.parent]
    if str(interpreter) == sys.executable:
        found += [Path(sys.prefix), Path(sys.base_prefix)]
    return list(dict.fromkeys(found))


class Bubblewrap:
    """A read-only root, private /opt, /tmp, process and host names; dies with the endpoint; no capabilities.

    `mark` is an argument that all command lines of this object have, and no other.
    """

    name = "bubblewrap"
    depth = 2
    isolates_network = True

    def __init__(self) -> None:
        self.mark = f"LOCALAWS_{uuid.uuid4().hex}"

    def command(self, spec: ProcessSpec, env: Mapping[str, str], hidden: Sequence[Path]) -> Command:
        """See Sandbox."""
        guard = f'{spec.limits.shell()}; read -r _ || exit 1; exec "$@" </dev/null'
        argv = [*self.enter(spec, hidden), "/bin/sh", "-c", guard, "sh", *spec.argv]
        return Command(argv, env, "/", watch=False, guarded=True)

    def enter(self, spec: ProcessSpec, hidden: Sequence[Path]) -> list[str]:
        """The command line as far as the program; the program follows."""
        scratch, hosts = _scratch(spec)
        # A variable that nobody has: only the mark matters.
        argv = [
            "bwrap",
            "--unsetenv",
            self.mark,
            "--die-with-parent",
            "--new-session",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
        ]
        argv += ["--hostname", spec.host, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        if os.geteuid() == 0:
            # Root without capabilities cannot write to files that are read-only: S3 objects linked in stay whole.
            argv += ["--cap-drop", "ALL"]
        if not spec.network:
            argv += ["--unshare-net"]
        covered = [Path("/tmp"), Path("/opt")]  # noqa: S108
        for path in (p.resolve() for p in hidden):
            if not any(path.is_relative_to(c) for c in covered):
                argv += ["--tmpfs", str(path)]
                covered.append(path)
        argv += ["--bind", str(scratch), "/tmp", "--tmpfs", "/opt"]  # noqa: S108
        for entry in sorted(Path("/opt").iterdir()) if Path("/opt").is_dir() else ():
            if entry.is_dir() and entry.name != "ml":
                argv += ["--ro-bind", str(entry), str(entry)]
        for path in program_paths(spec):
            if any(path.is_relative_to(c) for c in covered if c != Path("/opt")):
                argv += ["--ro-bind", str(path), str(path)]
        argv += ["--bind", str(spec.root), ML]
        for source, target in spec.bind.items():
            argv += ["--ro-bind", str(source), target]
        return [*argv, "--ro-bind", str(hosts), "/etc/hosts", "--chdir", ML, "--"]


NAMESPACE_SCRIPT = """
set -e
root=$1 scratch=$2 hosts=$3 name=$4; shift 4
stage="$scratch/.opt"; mkdir -p "$stage"; mount -t tmpfs none "$stage"
for entry in /opt/*; do
  [ -d "$entry" ] || continue
  mkdir -p "$stage/${entry##*/}"
  [ "$entry" = /opt/ml ] || mount --rbind "$entry" "$stage/${entry##*/}"
done
mkdir -p "$stage/ml"; mount --bind "$root" "$stage/ml"
while [ "$1" != -- ]; do
  target="$stage/${2#/opt/}"
  if [ -d "$1" ]; then mkdir -p "$target"; else mkdir -p "${target%/*}"; touch "$target"; fi
  mount --bind "$1" "$target"; mount -o remount,bind,ro "$target"
  shift 2
done
shift
mount --rbind "$stage" /opt
mount --bind "$hosts" /etc/hosts
mount -t proc proc /proc
hostname "$name" 2>/dev/null || :  # the name only matters where the image has that program
cd /opt/ml
# One shell more, so that nothing of the above is ever taken for the program when a signal is sent to it.
# It says nothing of its own: what it writes of a program's end ("Terminated") would stand in the program's log.
sh -c 'exec 3>&2 2>/dev/null; (exec "$@" 2>&3 3>&-); exit $?' sh "$@"
"""


class Namespaces:
    """`unshare`: a private /opt/ml and process table; the root file system stays as the user sees it."""

    name = "namespaces"
    depth = 4
    isolates_network = True

    def command(self, spec: ProcessSpec, env: Mapping[str, str], hidden: Sequence[Path]) -> Command:
        """See Sandbox. Paths of `spec.bind` must lie under /opt."""
        scratch, hosts = _scratch(spec)
        argv = [*unshare(), *([] if spec.network else ["--net"]), "sh", "-c", NAMESPACE_SCRIPT, "sh"]
        argv += [str(spec.root), str(scratch), str(hosts), spec.host]
        for source, target in spec.bind.items():
            argv += [str(source), target]
        return Command([*argv, "--", *spec.argv], _at_home(env, scratch), "/", watch=True)


def unshare() -> list[str]:
    """The `unshare` command line; an ordinary user needs a user namespace for it."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]


class NoSandbox:
    """No isolation: /opt/ml is replaced by the real directory in the arguments, the environment and
    SAGEMAKER_BASE_DIR. A program that has /opt/ml built in does not work here; nothing is read-only."""

    name = "none"
    depth = 1
    isolates_network = False

    def command(self, spec: ProcessSpec, env: Mapping[str, str], hidden: Sequence[Path]) -> Command:
        """See Sandbox."""
        scratch, _ = _scratch(spec)
        replaced = {ML: str(spec.root)}
        for source, target in spec.bind.items():
            if Path(target).is_relative_to(ML):
                _link(source, spec.root / Path(target).relative_to(ML))
            else:
                replaced = {target: str(source)} | replaced

        def real(text: str) -> str:
            for target, source in replaced.items():
                text = text.replace(target, source)
            return text

        real_env = {k: v if k == "PATH" else real(v) for k, v in env.items()}
        real_env = {**_at_home(real_env, scratch), "SAGEMAKER_BASE_DIR": str(spec.root)}
        return Command([real(a) for a in spec.argv], real_env, str(spec.root), watch=True)


def _link(source: Path, link: Path) -> None:
    """Make a path of a job's directory lead elsewhere; an empty directory laid out there gives way."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir() and not link.is_symlink():
        link.rmdir()
    link.symlink_to(source)


def _works(argv: list[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def choose(name: str = "auto") -> Sandbox:
    """The best sandbox that works here, or the named one; ValueError when that one does not work."""
    trial = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/opt", "--unshare-pid"]
    candidates: list[tuple[Sandbox, list[str]]] = [
        (Bubblewrap(), ["bwrap", *trial, "--unshare-uts", "--unshare-ipc", "--", "true"]),
        (Namespaces(), [*unshare(), "sh", "-c", "mount -t proc proc /proc && mount -t tmpfs none /opt"]),
        (NoSandbox(), []),
    ]
    for sandbox, probe in candidates:
        if name in ("auto", sandbox.name) and (not probe or _works(probe)):
            return sandbox
    raise ValueError(f"sandbox {name!r} does not work on this machine; use auto, bubblewrap, namespaces or none")


def without_sandbox() -> str:
    """What it means that `auto` has come to the sandbox `none`, in one sentence."""
    advice = "install bubblewrap, or allow user namespaces" if sys.platform == "linux" else "only Linux has sandboxes"
    return (
        "jobs run without a sandbox (none): a program with /opt/ml built in does not find it, nothing is hidden from a "
        "job or read-only for it, and EnableNetworkIsolation and jobs of several instances are refused with a "
        f"ValidationException; {advice}"
    )


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command name may hold blanks and brackets; the fields after the last one are safe to split.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        found.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    return found


def main_process(pid: int, depth: int) -> int | None:
    """The process id of the program that runs `depth` generations below `pid`, or None when it is not there."""
    children = _children()
    for _ in range(depth):
        below = children.get(pid)
        if not below:
            return None
        pid = min(below)
    return pid

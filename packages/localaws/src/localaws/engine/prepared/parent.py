"""A program of its own (standard library only): a Python that has imported an image's libraries and forks jobs.

    python parent.py FD MODULE...

FD is a socket to the endpoint. After the imports it says `ready`; then each message on it is one byte with two
descriptors: a job's own socket and the pipe for its output. For each one a process is forked, the keeper. This process
reads no orders: a job must not find another one's environment in the memory that it inherits.

The keeper lets bubblewrap make the sandbox, with the very command line of a job that is started cold, around a
program that only waits. Then it joins all its namespaces, drops every capability, and forks the job into it. When
the job has ended the program that waits is let go, and with it ends whatever the job has left.

The mounts of this process's program files must be read-only (see warm.skeleton): /proc/self/exe leads a job to them.
"""

import array
import contextlib
import fcntl
import gc
import importlib
import json
import os
import socket
import sys
from typing import Any

import prepared_parent as common  # type: ignore[import-not-found]  # it lies beside this program

CLONE_NEWUSER = 0x10000000
NAMESPACES = {"mnt": 0x20000, "ipc": 0x8000000, "uts": 0x4000000, "net": 0x40000000, "pid": 0x20000000}
NS_GET_USERNS = 0xB701
CAPABILITY_VERSION = 0x20080522
SIGKILL = 9
HOLDER = ("/bin/sh", "-c", "echo ready && read -r _")

Order = dict[str, Any]


def main() -> int:
    """Serve orders until the endpoint is gone; in a forked job: run its program, and return its exit code."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    sys.path.pop(0)  # the directory of this program
    try:
        for name in sys.argv[2:]:
            importlib.import_module(name)
        threads_gone()
        gc.collect()
        gc.freeze()  # a collection in a job need not touch, and so copy, what was here before
        control.sendall(b"ready")
    except Exception as error:
        control.sendall(f"{type(error).__name__}: {error}"[:4000].encode())
        return 1
    job = serve(control)
    return 0 if job is None else common.run(job)


def threads_gone() -> None:
    """Raise RuntimeError when a library has started threads that a forked process would miss.

    OpenBLAS ends its own before a fork and starts them anew when they are needed.
    """
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    if lost := common.others():
        raise RuntimeError(f"the modules have started threads, which a fork does not take along: {', '.join(lost)}")


def serve(control: socket.socket) -> Order | None:
    """Fork a keeper per order; returns None at the end, and an order in the process that is to run it."""
    parent = os.getpid()
    while True:
        fds = array.array("i")
        message, ancillary, _, _ = control.recvmsg(1, socket.CMSG_LEN(2 * fds.itemsize), socket.MSG_CMSG_CLOEXEC)
        for _, _, data in ancillary:
            fds.frombytes(data)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not message or len(fds) != 2:
            return None
        if os.fork() == 0:
            control.close()
            return Keeper(parent, fds[0], fds[1]).keep()
        for fd in fds:
            os.close(fd)


class Keeper:
    """Between the parent and one job: makes the sandbox, forks the job into it, tells the endpoint of its end."""

    def __init__(self, parent: int, job: int, output: int) -> None:
        self.parent = parent
        self.job = socket.socket(fileno=job)
        self.output = output

    def keep(self) -> Order:
        """Returns in the job only; the keeper itself ends here."""
        try:
            self.die_with_parent()
            order = self.receive()
            bwrap, gate, inside = self.sandbox(order["sandbox"])
            join(inside)
            drop_privileges()
            self.die_with_parent()
            pid = os.fork()
            if pid == 0:
                os.dup2(self.output, 1)
                os.dup2(self.output, 2)
                os.closerange(3, os.sysconf("SC_OPEN_MAX"))
                return order
            self.say({"pid": pid})
            os.close(self.output)
            status = os.waitpid(pid, 0)[1]
            os.close(gate)
            os.waitpid(bwrap, 0)
            code = os.waitstatus_to_exitcode(status)
            self.say({"exit": 128 - code if code < 0 else code})
        except BaseException as error:
            with contextlib.suppress(OSError):
                self.say({"error": f"{type(error).__name__}: {error}"})
        os._exit(0)

    def die_with_parent(self) -> None:
        """To be said again after every change of credentials, which makes the kernel forget it."""
        common.prctl(common.PR_SET_PDEATHSIG, SIGKILL)
        if os.getppid() != self.parent:
            os._exit(1)

    def receive(self) -> Order:
        """The order: a length in ten digits, then JSON."""
        order: Order = json.loads(self.read(int(self.read(10))))
        return order

    def read(self, length: int) -> bytes:
        """Exactly this many bytes."""
        data = b""
        while len(data) < length:
            part = self.job.recv(length - len(data))
            if not part:
                raise EOFError("the endpoint has gone")
            data += part
        return data

    def say(self, message: Order) -> None:
        """One JSON line to the endpoint."""
        self.job.sendall(json.dumps(message).encode() + b"\n")

    def sandbox(self, argv: list[str]) -> tuple[int, int, int]:
        """Start bubblewrap around HOLDER; its process id, the pipe that keeps it, a process id inside."""
        hold, gate = os.pipe()
        ready, told = os.pipe()
        info, informed = os.pipe()
        common.prctl(
            common.PR_CAP_AMBIENT, common.PR_CAP_AMBIENT_CLEAR_ALL
        )  # bubblewrap wants none that it did not take itself
        actions = [
            (os.POSIX_SPAWN_DUP2, hold, 0),
            (os.POSIX_SPAWN_DUP2, told, 1),
            (os.POSIX_SPAWN_DUP2, self.output, 2),
            (os.POSIX_SPAWN_DUP2, informed, informed),
        ]
        os.set_inheritable(informed, True)
        command = [argv[0], "--info-fd", str(informed), *argv[1:], *HOLDER]
        pid = os.posix_spawnp(command[0], command, {"PATH": os.environ["PATH"]}, file_actions=actions)
        for fd in (hold, told, informed):
            os.close(fd)
        with os.fdopen(info) as described, os.fdopen(ready) as began:
            text = described.read()
            if began.readline() != "ready\n":
                raise RuntimeError("bubblewrap could not make the sandbox")
        return pid, gate, json.loads(text)["child-pid"]


def join(pid: int) -> None:
    """Enter all namespaces of a process; the process namespace only holds for what is forked afterwards."""
    names = [name for name in NAMESPACES if not same(pid, name)]
    fds = {name: os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names}
    user = None if same(pid, "user") else os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    if user is not None:
        # The one that owns the mounts may lie between ours and the one of the program.
        owner = fcntl.ioctl(fds["mnt"], NS_GET_USERNS)
        common.check(common.libc.setns(owner, CLONE_NEWUSER), "setns user")
        between = os.fstat(owner).st_ino != os.fstat(user).st_ino
        os.close(owner)
    for name, fd in fds.items():
        common.check(common.libc.setns(fd, NAMESPACES[name]), f"setns {name}")
        os.close(fd)
    if user is not None:
        if between:
            common.check(common.libc.setns(user, CLONE_NEWUSER), "setns user")
        os.close(user)


def same(pid: int, name: str) -> bool:
    """Whether a process is in our namespace of this kind."""
    return os.stat(f"/proc/{pid}/ns/{name}").st_ino == os.stat(f"/proc/self/ns/{name}").st_ino  # noqa: PTH116


def drop_privileges() -> None:
    """No capability, now or after any exec."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:  # noqa: PTH123
        last = int(file.read())
    for capability in range(last + 1):
        common.prctl(common.PR_CAPBSET_DROP, capability)
    common.prctl(common.PR_CAP_AMBIENT, common.PR_CAP_AMBIENT_CLEAR_ALL)
    header = (common.ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    common.check(common.libc.capset(header, (common.ctypes.c_uint32 * 6)()), "capset")
    common.prctl(common.PR_SET_NO_NEW_PRIVS, 1)


if __name__ == "__main__":
    sys.exit(main())

"""Makes a Python on Linux look like one on macOS, as far as that can be pretended: read by every interpreter at start.

Installed as `sitecustomize` of an environment of its own (see `test_other_systems`), so that the endpoint, its helpers
and its jobs all run under it. It imports nothing of this project. What macOS lacks is absent or fails as it fails
there; what macOS has in another form than Linux (kqueue, its own sendfile) is not made.
"""

import _socket
import errno
import fcntl
import os
import resource
import select
import signal
import sys
import sysconfig
import time
import types

LINUX_ONLY = {
    os: (
        "O_PATH O_TMPFILE O_DIRECT O_LARGEFILE O_NOATIME O_RSYNC P_PIDFD copy_file_range eventfd eventfd_read "
        "eventfd_write fdatasync getrandom getresgid getresuid getxattr listxattr memfd_create pidfd_open pipe2 "
        "posix_fadvise posix_fallocate removexattr sched_getaffinity sched_getparam sched_getscheduler "
        "sched_rr_get_interval sched_setaffinity sched_setparam sched_setscheduler setns setresgid setresuid setxattr "
        "splice unshare waitid"
    ),
    signal: "SIGCLD SIGPOLL SIGPWR SIGRTMAX SIGRTMIN SIGSTKFLT pidfd_send_signal sigtimedwait sigwaitinfo",
    select: "epoll EPOLL_CLOEXEC EPOLLIN EPOLLOUT",
    _socket: (
        "AF_ALG AF_NETLINK AF_PACKET AF_VSOCK SOCK_CLOEXEC SOCK_NONBLOCK SO_BINDTODEVICE SO_DOMAIN SO_MARK SO_PASSCRED "
        "SO_PASSSEC SO_PEERCRED SO_PEERSEC SO_PRIORITY SO_PROTOCOL TCP_CORK TCP_DEFER_ACCEPT TCP_QUICKACK "
        "TCP_USER_TIMEOUT"
    ),
    resource: (
        "RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_OFILE RLIMIT_RTPRIO RLIMIT_RTTIME RLIMIT_SIGPENDING RUSAGE_THREAD prlimit"
    ),
    fcntl: "F_ADD_SEALS F_GETPIPE_SZ F_GET_SEALS F_NOTIFY F_OFD_SETLK F_OFD_SETLKW F_SETLEASE F_SETPIPE_SZ F_SETSIG",
    time: "CLOCK_BOOTTIME CLOCK_TAI pthread_getcpuclockid",
}
UNKNOWN_CALLS = {"capset", "eventfd", "mount", "prctl", "setns", "unshare"}
LONGEST_SOCKET_PATH = 103  # bytes


def refuse(event, arguments):
    """There is no /proc, and the C library has not all calls."""
    if event in ("open", "os.listdir", "os.scandir"):
        path = arguments[0]
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).split("/")[:2] == ["", "proc"]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    elif event == "ctypes.dlsym" and arguments[1] in UNKNOWN_CALLS:
        raise AttributeError(f"symbol not found: {arguments[1]}")


def system_value(name, known=os.sysconf):
    """`os.sysconf` without names that a macOS may not know."""
    if name in ("SC_PAGE_SIZE", "SC_PHYS_PAGES", "SC_AVPHYS_PAGES"):
        raise ValueError("unrecognized configuration name")
    return known(name)


def no_fifo_in(path, mode=0o666, *, dir_fd=None, made=os.mkfifo):
    """`os.mkfifo` as it is before macOS 13."""
    if dir_fd is not None:
        raise NotImplementedError("dir_fd unavailable on this platform")
    made(path, mode)


def send_to_socket(out, source, offset, count, made=os.sendfile):
    """`os.sendfile` sends to sockets only, from a place that must be named."""
    import stat

    if not stat.S_ISSOCK(os.fstat(out).st_mode):
        raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
    return made(out, source, int(offset), count)


def bind(sock, address, bound=_socket.socket.bind):
    """One loopback address, no abstract Unix sockets, short paths."""
    if sock.family == _socket.AF_UNIX:
        path = os.fsencode(address)
        if path.startswith(b"\0") or len(path) > LONGEST_SOCKET_PATH:
            raise OSError(errno.ENOENT if path.startswith(b"\0") else errno.EINVAL, "no such address")
    elif isinstance(address[0], str) and address[0].startswith("127.") and address[0] != "127.0.0.1":
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    bound(sock, address)


def pretend():
    """Change this interpreter."""
    sysconfig.get_config_vars()  # kept: the file that it reads is named after the real system
    for module, names in LINUX_ONLY.items():
        for name in names.split():
            module.__dict__.pop(name, None)
    os.supports_dir_fd.discard(os.mkfifo)
    os.mkfifo, os.sysconf, os.sendfile = no_fifo_in, system_value, send_to_socket
    machine = os.uname()
    os.uname = lambda: os.uname_result(("Darwin", machine.nodename, "22.6.0", "Darwin", machine.machine))
    sys.platform = "darwin"
    # Read by urllib on macOS.
    proxies = types.ModuleType("_scproxy")
    proxies._get_proxies = proxies._get_proxy_settings = dict
    sys.modules["_scproxy"] = proxies

    import socket

    socket.socket.bind = bind
    sys.addaudithook(refuse)


pretend()

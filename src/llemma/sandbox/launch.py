"""Puts up the walls around an external program and runs it: the process that ``command.walled`` starts.

Three processes: the launcher, which the caller sees; a keeper, which is process 1 of the program's namespace in T1 and
outside the group that the program cannot leave in T2; and the program. The launcher passes SIGINT and SIGTERM on and
ends as the program ends. When launcher, keeper or caller is gone, so is everything else. Failures before the program
runs are one line on stderr and exit code 125.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import json
import os
import resource
import select
import signal
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from llemma.sandbox import filter as seccomp_filter
from llemma.sandbox import isolation, linux

DOUBT = 3  # descriptor of the program-to-be on which it says why it will not run
FAILED = 125  # exit code when the program could not be started
END = struct.Struct("<idd")  # wait status, seconds of processor time, bytes of memory at the most
SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")  # where shared libraries are
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random")
_FACTS = ("/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat")  # node asks for cores and memory
_LOADERS = ("/lib64/ld-linux*.so.*", "/lib/ld-linux*.so.*", "/lib/ld-musl-*.so.1")
_NEIGHBOURS = 256  # T2: processes that others of the same user may start meanwhile; the kernel counts all in one
_READ = linux.READ_FILE | linux.READ_DIR
_WRITE = _READ | linux.WRITE_FILE | linux.TRUNCATE | linux.REMOVE_DIR | linux.REMOVE_FILE | linux.MAKE_DIR
_WRITE |= linux.MAKE_REG | linux.MAKE_SOCK | linux.REFER


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run. ``report``: descriptor for how it ended, or -1. ``bounds``: resource limit → value."""

    caller: int
    tier: str
    program: str
    argv: list[str]
    env: dict[str, str]
    read: list[str]
    write: str
    bounds: dict[str, int]
    processes: int
    report: int


def main(words: Sequence[str]) -> NoReturn:
    """Run the plan that ``words[0]`` holds as JSON; ends as the program does."""
    try:
        _run(Plan(**json.loads(words[0])))
    finally:
        os._exit(FAILED)  # whatever goes wrong in a forked process, no second copy of it may go on


def _run(plan: Plan) -> NoReturn:
    while (handle := os.open("/dev/null", os.O_RDWR)) < 3:  # what the caller has closed gets no other meaning here
        pass
    os.close(handle)
    if not plan.program:  # what a probe needs must be there before the walls are
        for name in ("mmap", "socket", "llemma.sandbox.program"):
            importlib.import_module(name)
    try:
        launcher = _Launcher(plan)
    except OSError as error:
        _fail(plan, error)
    launcher.watch()


def _fail(plan: Plan, error: OSError, doubt: int = -1) -> NoReturn:
    """Say why the program does not run, on stderr and to the one who asked for a report, and end."""
    text = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    os.write(2, f"llemma: {os.path.basename(plan.program)} was not started: {text}\n".encode())
    with contextlib.suppress(OSError):
        os.write(doubt if doubt >= 0 else plan.report, text.encode()[:1000])
    os._exit(FAILED)


class _Launcher:
    """The process that the caller sees."""

    def __init__(self, plan: Plan) -> None:
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # when memory runs out, programs go first, not their caller
        self._caller = os.pidfd_open(plan.caller)
        if os.getppid() != plan.caller:
            raise OSError(3, "the process that asked for it is not the one that starts it")
        with contextlib.suppress(PermissionError):
            os.setsid()  # the terminal's signals are for the caller
        me = os.pidfd_open(os.getpid())
        change_user = os.geteuid() == 0
        if change_user and plan.write and os.stat(plan.write).st_uid == 0:
            os.chown(plan.write, isolation.NOBODY, isolation.NOBODY)
        if plan.tier == "T1":
            _enter()
        linux.prctl(linux.PR_SET_DUMPABLE, 0)  # not before: the maps of a user namespace are written to one's own /proc
        self._status, status = os.pipe()
        self._keeper = os.fork()
        if self._keeper == 0:
            try:
                os.close(self._caller)
                os.close(self._status)
                keeper = _Keeper(plan, me, status, change_user)
            except OSError as error:
                _fail(plan, error)
            keeper.watch()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)
        null = os.open("/dev/null", os.O_RDWR)
        for handle in (0, 1, 2, *([plan.report] if plan.report >= 0 else [])):
            os.dup2(null, handle)
        os.close(status)

    def _pass_on(self, number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._keeper, number)

    def watch(self) -> NoReturn:
        """Wait for the program's end or the caller's."""
        poll = select.poll()
        poll.register(self._caller, select.POLLIN)
        poll.register(self._status, select.POLLIN)
        if any(handle == self._caller for handle, _ in poll.poll()):
            os._exit(FAILED)  # the keeper notices
        data = os.read(self._status, END.size)
        code = os.WEXITSTATUS(os.waitpid(self._keeper, 0)[1])  # in T1 all of the namespace is gone now
        if len(data) < END.size:
            os._exit(code or FAILED)
        _end_like(END.unpack(data)[0])


def _end_like(status: int) -> NoReturn:
    """End with the exit code, or by the signal, that another process ended with."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):  # KILL cannot be set
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))


def _enter() -> None:
    """Into new namespaces. Root's map of users must be written by a process that is outside."""
    if os.geteuid() != 0:
        user, group = os.geteuid(), os.getegid()
        isolation.enter_namespaces()
        isolation.map_own_user(user, group)
        return
    me = os.getpid()
    entered, say = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(say)
        try:
            if os.read(entered, 1):
                isolation.map_for(me)
                os._exit(0)
        except OSError:
            pass
        os._exit(1)
    isolation.enter_namespaces()
    os.write(say, b"x")
    if os.waitpid(helper, 0)[1]:
        raise OSError(1, "uid_map: root without the right to map users (CAP_SETUID)")
    os.close(entered)
    os.close(say)


class _Keeper:
    """The program's parent: collects the processes that end and, at the end, all that are left."""

    def __init__(self, plan: Plan, launcher: int, status: int, change_user: bool) -> None:
        self._plan, self._launcher, self._status = plan, launcher, status
        os.setsid()
        if plan.tier == "T1":
            linux.prctl(linux.PR_SET_PDEATHSIG, 9)
            _build_root(plan)
        else:
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        self._wake, wake = os.pipe()
        for handle in (self._wake, wake):
            os.set_blocking(handle, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        doubt, certain = os.pipe()
        self._program = os.fork()
        if self._program == 0:
            os.dup2(certain, DOUBT, inheritable=False)
            linux.close_from(DOUBT + 1)
            try:
                _become_program(plan, change_user)
            except OSError as error:
                _fail(plan, error, DOUBT)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)
        null = os.open("/dev/null", os.O_RDWR)
        for handle in (0, 1, 2):
            os.dup2(null, handle)
        os.close(certain)
        self._trouble = os.read(doubt, 1000)

    def _pass_on(self, number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._program, number)

    def watch(self) -> NoReturn:
        """Until the program has ended, or the launcher."""
        poll = select.poll()
        poll.register(self._launcher, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            end = self._collect()
            if end is not None:
                break
            if any(handle == self._launcher for handle, _ in poll.poll()):
                break
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 1 << 10)
        self._sweep()
        if end is not None:
            self._tell(end)
        os._exit(0)

    def _tell(self, end: bytes) -> None:
        if self._plan.report >= 0:
            with contextlib.suppress(OSError):  # nobody may be there any more
                os.write(self._plan.report, self._trouble or end)
        with contextlib.suppress(OSError):
            os.write(self._status, end)

    def _collect(self) -> bytes | None:
        """Reap what has ended; how the program did, if it did."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid and os.WIFSTOPPED(status):  # it let itself be traced
                os.kill(pid, signal.SIGKILL)
            elif pid == self._program:
                return END.pack(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0)
            if pid == 0:
                return None

    def _sweep(self) -> None:
        """In T2 end the group, which no process of the program can leave; in T1 the namespace ends with us."""
        if self._plan.tier == "T1":
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._program, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait4(-1, 0)


def _build_root(plan: Plan) -> None:
    """A root of its own: system libraries and the readable paths read-only, the scratch folder, devices."""
    linux.name_host("sandbox")
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    shown = [path for path in (*SYSTEM, *plan.read) if os.path.exists(path)]
    base = isolation.mount_point([os.path.realpath(path) for path in (*shown, *([plan.write] if plan.write else []))])
    linux.mount("none", base, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,nr_inodes=4k,mode=755")
    bound = dict.fromkeys(_reach(base, path) for path in (*shown, *DEVICES, *_FACTS) if os.path.exists(path))
    writable = _reach(base, plan.write) if plan.write else ""
    for path in sorted({*bound, *([writable] if writable else [])}, key=len):
        _place(base, path)
        linux.mount(path, base + path, None, linux.MS_BIND | linux.MS_REC)
        attributes = linux.ATTR_NOSUID | (0 if path in DEVICES else linux.ATTR_NODEV)
        kind = linux.ATTR_NOEXEC if path == writable else linux.ATTR_RDONLY
        linux.mount_attributes(base + path, attributes | kind)
    linux.change_root(base)
    linux.mount_attributes("/", linux.ATTR_RDONLY, below=False)


def _reach(base: str, path: str) -> str:
    """Repeat below ``base`` the links that lead to a path; where it really is."""
    real, rest = "", path.split("/")
    while rest:
        name = rest.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            real = os.path.dirname(real).rstrip("/")
            continue
        here = f"{real}/{name}"
        if not os.path.islink(here):
            real = here
            continue
        target = os.readlink(here)
        if not os.path.lexists(base + here):
            os.makedirs(os.path.dirname(base + here), exist_ok=True)
            os.symlink(target, base + here)
        rest = [*target.split("/"), *rest]
        real = "" if target.startswith("/") else real
    return real


def _place(base: str, path: str) -> None:
    """Something to mount over."""
    if os.path.exists(base + path):
        return
    if os.path.isdir(path):
        os.makedirs(base + path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(base + path), exist_ok=True)
        os.close(os.open(base + path, os.O_CREAT | os.O_WRONLY))


def _become_program(plan: Plan, change_user: bool) -> NoReturn:
    """Put up the walls and turn into the program."""
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if change_user:
        isolation.become_nobody()
        for path in (*plan.read, *([plan.write] if plan.write else [])):
            if not os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0)):
                raise OSError(13, f"as root, programs run as the user nobody, who must be let to {path}")
    os.chdir(plan.write or "/")
    _limit(plan)
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)  # again: a change of user has reset it
    abi = linux.landlock_abi()
    if not abi:
        raise OSError(95, "the kernel has no Landlock, or it is switched off")
    linux.landlock(_rules(plan), abi)
    linux.seccomp(seccomp_filter.build_for_command(linux.machine(), os.getpid(), plan.tier == "T1"))
    if not plan.program:
        os.close(DOUBT)
        os.environ.clear()
        sys.modules["llemma.sandbox.program"].foreign(plan.argv[1], "", "none", "probed", {})
    os.execve(plan.program, plan.argv, plan.env)


def _rules(plan: Plan) -> list[tuple[str, int]]:
    rules: list[tuple[str, int]] = [(path, linux.READ_FILE | linux.WRITE_FILE) for path in DEVICES]
    rules += [*((path, linux.READ_FILE) for path in _FACTS), *((path, _READ) for path in SYSTEM if os.path.isdir(path))]
    rules += [(path, linux.READ_FILE | linux.EXECUTE) for pattern in _LOADERS for path in glob.glob(pattern)]
    for path in plan.read:
        rules.append((path, (_READ if os.path.isdir(path) else linux.READ_FILE) | linux.EXECUTE))
    if plan.write:
        rules.append((plan.write, _WRITE))
    if plan.tier == "T1":
        rules.append(("/", linux.READ_DIR))  # of its own root
    return rules


def _limit(plan: Plan) -> None:
    # in T1 the kernel counts in the namespace: launcher and keeper beside the program
    processes = plan.processes + (2 if plan.tier == "T1" else _tasks() + _NEIGHBOURS)
    bounds = plan.bounds | {"NPROC": processes, "CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0, "SIGPENDING": 1024}
    for name, value in bounds.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _tasks() -> int:
    """Threads of this user that run now."""
    count, user = 0, os.geteuid()
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == user:
                count += len(os.listdir(f"/proc/{name}/task"))
    return count

"""The trusted process that has the libraries loaded and forks once per program.

It runs no program itself and reads none: descriptors go from the caller through it to the child. One per kind of
program and core; ends when its caller ends, however that ends. A kind is a name in ``KINDS`` or a module of ours with
``load()``, called here, and ``serve(requests, answers)``, called in the child with two descriptors.

Protocol, on the control socket: a hello, then one message per program (JSON settings and six descriptors). Of each
program the caller is told, on a socket that this process and the child close before the program starts: ``P`` with a
pidfd, ``R`` from the child when the walls stand, ``E`` when they do not, ``X`` with wait status and resources when it
and all it left behind are gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llemma.sandbox import filter as seccomp_filter
from llemma.sandbox import isolation, linux, program
from llemma.sandbox.isolation import Bounds, Walls

STDLIB = (
    "ast", "bisect", "calendar", "cmath", "collections", "copy", "dataclasses", "datetime", "decimal", "enum",
    "fractions", "functools", "hashlib", "heapq", "inspect", "io", "itertools", "json", "math", "numbers",
    "operator", "random", "re", "statistics", "string", "struct", "textwrap", "threading", "time", "typing",
)  # fmt: skip
KINDS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "light": ("numpy", "sympy", "mpmath"),
    "heavy": (
        "numpy", "sympy", "mpmath", "networkx",
        "scipy", "scipy.optimize", "scipy.integrate", "scipy.stats", "scipy.special", "scipy.linalg",
    ),
}  # fmt: skip
EXIT = struct.Struct("<cidd")  # "X", wait status, CPU seconds, bytes of memory at the most
_DESCRIPTORS = 6  # stdin, stdout, stderr, result, code, report


@dataclass(slots=True)
class _Desk:
    """What the loop holds. ``running``: pidfd of a program → its process id and the socket to its caller."""

    walls: Walls
    me: int  # an open pidfd of this process
    own_namespace: int  # the pid namespace of this process, to come back to after a fork; -1 in T2
    poll: select.poll = field(default_factory=select.poll)
    running: dict[int, tuple[int, int]] = field(default_factory=dict)


def main(argv: Sequence[str]) -> None:
    """Serve the caller: ``CONTROL PARENT TIER KIND FOLDERS`` (a descriptor, a process id, a JSON list)."""
    control, parent = socket.socket(fileno=int(argv[0])), int(argv[1])
    tier, kind, folders = argv[2], argv[3], json.loads(argv[4])
    step = "start"
    try:
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # when memory runs out, programs go first, not their caller
        alive = os.pidfd_open(parent)
        step = "namespaces"
        if tier == "T1":
            _enter(control)
        step = "libraries"
        _load(kind, folders)
        step = "walls"
        desk = _desk(tier, folders)
    except OSError as error:
        _say(control, {"error": f"{error.strerror or error}", "errno": error.errno, "step": step})
        return
    _say(control, {"ok": True, "abi": desk.walls.abi})
    want = _serve(control, alive, desk)
    control.detach()  # its number belongs to the program now
    if kind in KINDS:
        program.serve(want)
    importlib.import_module(kind).serve(program.CODE, program.RESULT)
    os._exit(0)


def _say(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())


def _enter(control: socket.socket) -> None:
    """Into new namespaces, as process 1 of the innermost; the outer process only waits for it."""
    user, group = os.geteuid(), os.getegid()
    isolation.enter_namespaces()
    if user == 0:
        _say(control, {"map": os.getpid()})
        if control.recv(16) != b"mapped":
            raise OSError(1, "uid_map: root without the right to map users (CAP_SETUID)")
    else:
        isolation.map_own_user(user, group)
    pid = os.fork()
    if pid:
        control.close()
        os.waitpid(pid, 0)
        os._exit(0)
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)


def _load(kind: str, folders: Sequence[str]) -> None:
    """Import what programs use, and use it once, so that no program pays for the first time."""
    sys.path[:] = [path for path in isolation.python_folders() if path not in folders] + list(folders)
    import site

    site.setquit()
    site.sethelper()
    for name in STDLIB:
        importlib.import_module(name)
    if kind not in KINDS:
        importlib.import_module(kind).load()
    for name in KINDS.get(kind, ()):
        with contextlib.suppress(ImportError):  # not installed: the program that wants it is told so
            importlib.import_module(name)
    sys.set_int_max_str_digits(0)  # time and memory are limited; the number of digits need not be
    if {"numpy", "sympy"} <= sys.modules.keys():
        _warm_up()
    gc.collect()
    gc.freeze()  # the children share these pages; a collection would copy them
    linux.collapse_memory()  # a fork then copies a twentieth of the page tables


def _warm_up() -> None:
    import numpy
    import sympy
    import sympy.core.random

    x, y = sympy.symbols("x y")
    sympy.solve(x**2 - 5 * x + 6, x)
    sympy.solve([x + y - 3, x - y - 1], [x, y])
    sympy.simplify(sympy.sin(x) ** 2 + sympy.cos(x) ** 2)
    sympy.integrate(x**2 * sympy.exp(x), x)
    sympy.factor(x**3 - 1)
    sympy.Rational(1, 3) + sympy.sqrt(8)
    sympy.sqrt(2).evalf()
    sympy.Matrix([[1, 2], [3, 4]]).det()
    str(sympy.latex(x / y))
    numpy.linalg.solve(numpy.eye(2), numpy.ones(2))
    repr(numpy.arange(3.0))
    numpy.random.seed(0)
    sympy.core.random.seed(0)


def _desk(tier: str, folders: Sequence[str]) -> _Desk:
    """Build the root (T1) and find out what the programs of this zygote can be confined to."""
    abi = linux.landlock_abi()
    if not abi:
        raise OSError(95, "the kernel has no Landlock, or it is switched off")
    libraries = isolation.library_folders([*isolation.python_folders(), *folders])
    own_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if tier == "T1" else -1
    walls = Walls(
        namespaces=tier == "T1",
        change_user=os.geteuid() == 0 and (tier == "T1" or _may_read_as_nobody(libraries)),
        threads=tier == "T1",
        libraries=libraries,
        abi=abi,
        size=isolation.address_space(),
    )
    seccomp_filter.build(linux.machine(), 1, walls.threads)  # the programs inherit it ready made
    if tier == "T1":
        isolation.build_root(libraries)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    os.environ.clear()
    return _Desk(walls=walls, me=os.pidfd_open(os.getpid()), own_namespace=own_namespace)


def _may_read_as_nobody(libraries: Sequence[str]) -> bool:
    """Whether the user nobody could import from these folders; asked by root, tried by a child."""
    pid = os.fork()
    if pid == 0:
        try:
            isolation.become_nobody()
            os._exit(0 if all(os.access(path, os.R_OK | os.X_OK) for path in libraries) else 1)
        except OSError:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _serve(control: socket.socket, alive: int, desk: _Desk) -> str:
    """Fork a child per request until the caller is gone. Returns in a child only: what value its caller wants."""
    desk.poll.register(control.fileno(), select.POLLIN)
    desk.poll.register(alive, select.POLLIN)
    while True:
        ready = {handle for handle, _ in desk.poll.poll()}
        if alive in ready:
            os._exit(0)  # the children go with us: PDEATHSIG, and in T1 the namespace
        # Ends first: what has ended cannot be abandoned any more. Requests last: they may get the numbers of
        # descriptors that were closed just now.
        for handle in ready & desk.running.keys():
            _end(handle, desk)
        for report in ready & {report for _, report in desk.running.values()}:
            _abandon(report, desk)
        if control.fileno() in ready:
            message, handles, _, _ = socket.recv_fds(control, 1 << 12, _DESCRIPTORS)
            if not message:
                os._exit(0)
            want = _start(json.loads(message), handles, desk)
            if want is not None:
                return want


def _start(settings: dict[str, Any], handles: list[int], desk: _Desk) -> str | None:
    """Fork; in the child put up the walls and return what value is wanted, in the zygote note the child."""
    report = handles[-1]
    if desk.own_namespace >= 0:
        linux.unshare(linux.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        _become_program(settings, handles, desk)
        return str(settings["want"])
    if desk.own_namespace >= 0:
        linux.setns(desk.own_namespace, linux.CLONE_NEWPID)
    for handle in handles[:-1]:
        os.close(handle)
    handle = os.pidfd_open(pid)
    desk.running[handle] = (pid, report)
    desk.poll.register(handle, select.POLLIN)
    desk.poll.register(report, 0)  # tells nothing but that the caller has hung up
    _tell(report, b"P", [handle])
    return None


def _tell(report: int, message: bytes, handles: list[int]) -> None:
    """A message to the caller of a program; one that has hung up is noticed by the loop."""
    with socket.socket(fileno=os.dup(report)) as channel, contextlib.suppress(OSError):
        if handles:
            socket.send_fds(channel, [message], handles)
        else:
            channel.send(message)


def _end(handle: int, desk: _Desk) -> None:
    """A child is gone, and so is everything in its namespace: reap it and tell its caller."""
    pid, report = desk.running.pop(handle)
    _, status, usage = os.wait4(pid, 0)
    _tell(report, EXIT.pack(b"X", status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0), [])
    for old in (handle, report):
        with contextlib.suppress(KeyError):  # an abandoned report is registered no longer
            desk.poll.unregister(old)
        os.close(old)


def _abandon(report: int, desk: _Desk) -> None:
    """A caller hung up on its program: end it."""
    desk.poll.unregister(report)
    for pid, owner in desk.running.values():
        if owner == report:
            os.kill(pid, signal.SIGKILL)


def _become_program(settings: dict[str, Any], handles: list[int], desk: _Desk) -> None:
    """In the child: descriptors in their places, the walls up, the caller told; nothing else stays open."""
    report = handles[-1]
    try:
        high = [fcntl.fcntl(handle, fcntl.F_DUPFD, 100) for handle in (*handles, desk.me)]
        for place, handle in enumerate(high):
            os.dup2(handle, place)
        report, zygote = len(handles) - 1, len(handles)
        linux.close_from(len(high))
        isolation.confine(desk.walls, Bounds(**settings["bounds"]), zygote)
        os.close(zygote)
        os.write(report, b"R")
        os.close(report)
        gc.enable()
        random.seed(0)  # the same numbers in every run; fork has just seeded it anew
    except OSError as error:
        os.write(report, b"E" + str(error).encode()[:200])
        os._exit(1)

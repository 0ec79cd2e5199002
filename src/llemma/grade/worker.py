"""Computes what might never end in a process that can be killed: ``call(name, payload, seconds)``.

The process is forked off a zygote of the sandbox that has sympy loaded, behind the same walls as a program we do not
trust: no file but the libraries, no network, no other process. Where no walls are to be had it is a plain child
process, which is logged once and shown by ``llemma doctor``. It works from any thread, from asyncio, from daemonic pool
processes and after a fork, stays warm, and is spoken to in JSON lines. A call has a limit of processor time, one of
wall time and one of memory, all enforced by the kernel; a process that passes one is dead, and the next call starts
another. The process ends when its caller does.

Only functions named here run, on data; no text is ever executed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.errors import RunError, SandboxError, explain
from llemma.grade.work import TIMERS
from llemma.sandbox import tiers
from llemma.sandbox.limits import Limits
from llemma.sandbox.monitor import Running
from llemma.sandbox.pool import start

Json = Any

FUNCTIONS = {  # what can be called: name -> module and function of one argument, imported in the worker only
    "paper_equal": "llemma.grade.paper.symbolic:equal",
    "paper_number": "llemma.grade.paper.symbolic:number",
    "paper_values": "llemma.grade.paper.symbolic:equal_values",
}
MEMORY = 2 << 30  # bytes of address space of one worker; sympy alone takes 0.1 GiB
LOAD_SECONDS = 120.0  # to start Python and import what a function needs, on a busy machine
GRACE = 1.0  # seconds between the limits of the worker and the caller's patience
RECYCLE = 10_000  # calls after which a worker is replaced, so that nothing it keeps can grow for ever
_KIND = "llemma.grade.work"  # the module that the process serves
_BOUNDS = Limits(cpu=86_400, memory=MEMORY >> 20, threads=1)  # of a process; each call has its own
_TRIES = 3  # zygotes that may be lost before a call gives up
_LOG = logging.getLogger("llemma.grade")
MOST = max(1, min(8, os.cpu_count() or 1))  # workers at a time; more callers wait


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The computation passed its limit of ``seconds`` and was killed."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """The computation ended without a value: out of memory, an unexpected exception, a dead process."""

    reason: str


def call(name: str, payload: Json, seconds: float, *, wall: float | None = None) -> Json | TimedOut | Crashed:
    """The value of the function ``name`` (see ``FUNCTIONS``) of ``payload``, computed in a worker process.

    ``seconds`` bounds processor time, so that verdicts do not depend on what else the machine does; ``wall`` (twice
    that, if not given) bounds the time the caller waits beyond a free worker and its start. Thread-safe.
    Raises KeyError for a name that is not there, TypeError for a payload that is not JSON, and RunError when no process
    can be started.
    """
    limits = _Limits(seconds=seconds, wall=2 * seconds if wall is None else wall)
    function = FUNCTIONS[name]
    request = {"function": function, "payload": payload, "seconds": limits.seconds, "wall": limits.wall}
    return _pool().call(function, json.dumps(request).encode() + b"\n", limits)


def shut_down() -> None:
    """End all idle workers now; the next call starts a new one. Happens by itself at the end of the program."""
    _pool().close()


@dataclass(frozen=True, slots=True)
class _Limits:
    seconds: float  # of processor time
    wall: float


class _Plain:
    """A process without walls, with the same methods as the sandbox's ``Running``."""

    def __init__(self) -> None:
        package = str(Path(__file__).resolve().parents[2])
        path = os.environ.get("PYTHONPATH")
        environment = os.environ | {
            "PYTHONPATH": package if not path else os.pathsep.join((package, path)),
            "PYTHONHASHSEED": "0",  # sympy's results may depend on the order of sets
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-P", "-W", "ignore", "-m", "llemma.grade.work", str(MEMORY)]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command,
                stdin=pipe,
                stdout=pipe,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=environment,
                process_group=0,  # Ctrl-C is for the caller
            )
        except OSError as error:
            raise RunError(f"the grading worker cannot be started: {explain(error)}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: bytes, wall: float) -> bytes | None:
        assert self._process.stdin is not None and self._process.stdout is not None
        left = memoryview(request)
        while left:
            left = left[self._process.stdin.write(left) or 0 :]
        deadline, answer = time.monotonic() + wall, b""
        poller = select.poll()
        poller.register(self._process.stdout, select.POLLIN)
        while not answer.endswith(b"\n"):
            pause = deadline - time.monotonic()
            if pause <= 0 or not poller.poll(pause * 1000):
                return None
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            if not part:
                return answer
            answer += part
        return answer

    def kill(self) -> None:
        self._process.kill()

    def outcome(self) -> int:
        self.close()
        return self._process.returncode

    def close(self) -> None:
        self._process.kill()
        self._close_pipes()
        self._process.wait()

    def forget(self) -> None:
        self._close_pipes()
        self._process.returncode = 0  # not our child: nothing to wait for

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _process() -> _Plain | Running:
    """A process behind the best walls of this machine, or without any, which is said once."""
    best = tiers.best()
    if not best.name:
        _warn_once()
        return _Plain()
    for attempt in range(_TRIES):
        try:
            return start(best.name, _KIND, _BOUNDS)
        except SandboxError as error:
            if not error.retryable or attempt == _TRIES - 1:
                raise RunError(f"the grading worker cannot be started: {error}") from error
    raise AssertionError("unreachable")


@functools.cache
def _warn_once() -> None:
    _LOG.warning("no sandbox here: sympy grades in a plain process, with your rights; see `llemma doctor`")


class _Worker:
    """One process and what it has loaded."""

    def __init__(self) -> None:
        self.process = _process()
        self.usable = True
        self._calls = 0
        self._loaded: set[str] = set()

    def load(self, function: str) -> Crashed | TimedOut | None:
        """Import a function before its time is measured."""
        if function in self._loaded:
            return None
        failed = self.ask(json.dumps({"load": function}).encode() + b"\n", _Limits(LOAD_SECONDS, LOAD_SECONDS))
        if isinstance(failed, Crashed | TimedOut):
            return failed
        self._loaded.add(function)
        return None

    def ask(self, line: bytes, limits: _Limits) -> Json | TimedOut | Crashed:
        """Send a request and wait for the answer. BrokenPipeError, SandboxError: the process is gone already."""
        self._calls += 1
        self.usable = self._calls < RECYCLE
        answer = self.process.ask(line, limits.wall + GRACE)
        if answer is not None and answer.endswith(b"\n"):
            found = json.loads(answer)
            return found["value"] if "value" in found else Crashed(reason=found["error"])
        self.usable = False
        if answer is None:
            self.process.close()
            return TimedOut(seconds=limits.seconds)
        code = self.process.outcome()
        if abs(code) in TIMERS:
            return TimedOut(seconds=limits.seconds)
        return Crashed(reason=f"the worker process ended with status {code}")


class _Pool:
    """The workers of this process: those that wait for work, and those at work."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._free = threading.Semaphore(MOST)
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()

    def call(self, function: str, line: bytes, limits: _Limits) -> Json | TimedOut | Crashed:
        """Ask a free worker, or wait for one."""
        with self._free:
            for _ in range(2):
                with contextlib.suppress(BrokenPipeError, SandboxError):  # somebody else killed it
                    return self._call(function, line, limits)
            return Crashed(reason="the worker process is killed by something outside")

    def _call(self, function: str, line: bytes, limits: _Limits) -> Json | TimedOut | Crashed:
        worker = self._take()
        try:
            failed = worker.load(function)
            answer = worker.ask(line, limits) if failed is None else failed
        except BaseException:  # a signal handler of the caller raised, or the process is gone
            worker.process.close()
            self._drop(worker)
            raise
        self._give_back(worker)
        return answer

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                with contextlib.suppress(SandboxError):  # its zygote is gone
                    if worker.process.alive():
                        break
                worker.process.close()  # it has ended while idle
            else:
                worker = _Worker()
            self._busy.add(worker)
            return worker

    def _drop(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if worker.usable:
                self._idle.append(worker)
                return
        worker.process.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.process.close()

    def end(self) -> None:
        """At the end of the program: also what daemon threads still wait for."""
        self.close()
        for worker in list(self._busy):
            worker.process.kill()

    def abandon(self) -> None:
        for worker in (*self._idle, *self._busy):
            worker.process.forget()


class _Here:
    """The one pool of this process, made when it is first asked for."""

    pool: _Pool | None = None
    making = threading.Lock()


def _pool() -> _Pool:
    pool = _Here.pool
    if pool is None or pool.pid != os.getpid():
        with _Here.making:
            pool = _Here.pool
            if pool is None or pool.pid != os.getpid():
                pool = _Here.pool = _Pool()
    return pool


def _after_fork() -> None:
    """In the child: the parent's workers are not ours, and its locks may be held by threads that are not here."""
    inherited, _Here.pool, _Here.making = _Here.pool, None, threading.Lock()
    if inherited is not None:
        inherited.abandon()


@atexit.register
def _at_exit() -> None:
    if _Here.pool is not None and _Here.pool.pid == os.getpid():
        _Here.pool.end()


os.register_at_fork(after_in_child=_after_fork)

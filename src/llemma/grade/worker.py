"""Computes what might never end in a process that can be killed: ``call(name, payload, seconds)``.

The process is ``python -m llemma.grade.worker``, started on the first call by ``subprocess`` (so it works from any
thread, from asyncio, from daemonic pool processes and after a fork), kept warm, and spoken to in JSON lines. A call has
a limit of processor time, one of wall time and one of memory, all enforced by the kernel; a process that passes one is
dead, and the next call starts another. The process ends when its caller does: at the end of its input when idle, at
its limit when busy.

Only functions named here run, on data; no text is ever executed. It is no sandbox: for code see ``llemma.sandbox``.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.errors import Caught, RunError, boundary, explain

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


class _Worker:
    """One process and the pipes to it."""

    def __init__(self) -> None:
        package = str(Path(__file__).resolve().parents[2])
        path = os.environ.get("PYTHONPATH")
        environment = os.environ | {
            "PYTHONPATH": package if not path else os.pathsep.join((package, path)),
            "PYTHONHASHSEED": "0",  # sympy's results may depend on the order of sets
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-P", "-W", "ignore", "-m", "llemma.grade.worker"]
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(
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
        self.calls = 0
        self.loaded: set[str] = set()

    def load(self, function: str) -> Crashed | TimedOut | None:
        """Import a function before its time is measured."""
        if function in self.loaded:
            return None
        failed = self.ask(json.dumps({"load": function}).encode() + b"\n", _Limits(LOAD_SECONDS, LOAD_SECONDS))
        if isinstance(failed, Crashed | TimedOut):
            return failed
        self.loaded.add(function)
        return None

    def ask(self, line: bytes, limits: _Limits) -> Json | TimedOut | Crashed:
        """Send a request and wait for the answer. Raises BrokenPipeError when the process is gone already."""
        assert self.process.stdin is not None
        self.calls += 1
        left = memoryview(line)
        while left:
            left = left[self.process.stdin.write(left) or 0 :]
        answer = self._answer(time.monotonic() + limits.wall + GRACE)
        if answer is None:
            self.kill()
            return TimedOut(seconds=limits.seconds)
        if not answer:
            return self._died(limits)
        found = json.loads(answer)
        return found["value"] if "value" in found else Crashed(reason=found["error"])

    def _answer(self, deadline: float) -> bytes | None:
        """A line of output; ``None`` when there is none in time, nothing when the process ended."""
        assert self.process.stdout is not None
        poller = select.poll()
        poller.register(self.process.stdout, select.POLLIN)
        answer = b""
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(left * 1000):
                return None
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                return b""
            answer += part
        return answer

    def _died(self, limits: _Limits) -> TimedOut | Crashed:
        self.kill()
        code = self.process.returncode
        if -code in (signal.SIGPROF, signal.SIGXCPU, signal.SIGALRM):
            return TimedOut(seconds=limits.seconds)
        return Crashed(reason=f"the worker process ended with status {code}")

    @property
    def usable(self) -> bool:
        return self.process.returncode is None and self.calls < RECYCLE

    def kill(self) -> None:
        """End the process whatever it does, and leave no zombie."""
        self.process.kill()
        self._close_pipes()
        self.process.wait()

    def close(self) -> None:
        """Let an idle process end by itself; it has nothing to lose, so not for long."""
        self._close_pipes()
        try:
            self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.kill()

    def abandon(self) -> None:
        """After a fork: this is the parent's worker. Let go of its pipes, so that it ends with the parent."""
        self._close_pipes()
        self.process.returncode = 0  # not our child: nothing to wait for

    def _close_pipes(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


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
                with contextlib.suppress(BrokenPipeError):  # somebody else killed it
                    return self._call(function, line, limits)
            return Crashed(reason="the worker process is killed by something outside")

    def _call(self, function: str, line: bytes, limits: _Limits) -> Json | TimedOut | Crashed:
        worker = self._take()
        try:
            failed = worker.load(function)
            answer = worker.ask(line, limits) if failed is None else failed
        except BaseException:  # a signal handler of the caller raised, or the process is gone
            worker.kill()
            self._drop(worker)
            raise
        self._give_back(worker)
        return answer

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.process.poll() is None:
                    break
                worker.kill()  # it has ended while idle
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
        if worker.process.returncode is None:
            worker.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()

    def end(self) -> None:
        """At the end of the program: also what daemon threads still wait for."""
        self.close()
        for worker in list(self._busy):
            worker.kill()

    def abandon(self) -> None:
        for worker in (*self._idle, *self._busy):
            worker.abandon()


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


# --- the other side: what runs in the worker process ------------------------------------------------------------------


def main() -> None:
    """Answer requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)  # the kernel ends the process, whatever Python is doing
    _limit(resource.RLIMIT_AS, MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing that is printed gets between the answers
    for line in sys.stdin.buffer:
        answers.write(_answer(json.loads(line)) + b"\n")
        answers.flush()


def _answer(request: dict[str, Any]) -> bytes:
    if "load" in request:
        loaded = boundary(lambda: _function(request["load"]))
        return json.dumps({"error": str(loaded)} if isinstance(loaded, Caught) else {"value": None}).encode()
    work = _function(request["function"])
    _set_limits(request["seconds"], request["wall"])
    try:
        answer = boundary(lambda: json.dumps({"value": work(request["payload"])}))
    except AssertionError as error:
        answer = Caught(kind="AssertionError", message=str(error))
    finally:
        _set_limits(0, 0)
    return (json.dumps({"error": str(answer)}) if isinstance(answer, Caught) else answer).encode()


def _function(name: str) -> Callable[[Json], Json]:
    module, _, function = name.partition(":")
    found: Callable[[Json], Json] = getattr(importlib.import_module(module), function)
    return found


def _set_limits(seconds: float, wall: float) -> None:
    """Arm the timers that end this process, or disarm them with 0; RLIMIT_CPU stands behind them in whole seconds."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, wall)
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2 if seconds else hard
    if hard == resource.RLIM_INFINITY or soft <= hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # not every system knows every limit
        resource.setrlimit(what, (bound, bound))


if __name__ == "__main__":
    main()

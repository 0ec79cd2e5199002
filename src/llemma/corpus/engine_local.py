"""The engine of one machine: units in this process or in a few of its own, each with one unit at a time.

A process that is killed loses the one unit it had; it is replaced, and the unit done again, a bounded number of times.
A unit is handed out when a process is free for it, so that memory does not grow with the number of units.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import TracebackType

from llemma.corpus.units import TRIES, Row, Unit, insist
from llemma.errors import Caught
from llemma.records import Progress, silent

_ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
_CONTEXT = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that do not run in it


class LocalEngine:
    """``workers`` processes, started when there is more than one unit for them, ended with the engine."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._idle: list[_Process] = []
        self._busy: dict[_Process, Unit] = {}

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in [*self._idle, *self._busy]:
            process.end()

    def each(self, units: Sequence[Unit], progress: Progress = silent) -> Iterator[tuple[Unit, Row | Caught]]:
        """Every unit with its row or what failed, in the order in which they are done."""
        if self._workers < 2 or len(units) < 2:
            for unit in units:
                yield unit, insist(unit, progress)
            return
        todo, deaths = deque(units), Counter[str]()
        while todo or self._busy:
            while todo and len(self._busy) < self._workers:
                process = self._idle.pop() if self._idle else _Process()
                self._busy[process] = unit = todo.popleft()
                process.give(unit)
            for process in _ready(self._busy):
                unit = self._busy.pop(process)
                found = process.take()
                if found is not None:
                    self._idle.append(process)
                    yield unit, found
                    continue
                deaths[unit.id] += 1
                if deaths[unit.id] < TRIES:
                    todo.appendleft(unit)
                    continue
                yield unit, Caught(kind="LlemmaError", message=f"{process.death} ({TRIES} times)")


def _ready(busy: dict[_Process, Unit]) -> list[_Process]:
    """The processes that have answered or ended; waits for the first."""
    ready = set(connection.wait([process.pipe for process in busy]))
    return [process for process in busy if process.pipe in ready]


class _Process:
    """A process that does one unit after the other; units and rows go through a pipe."""

    def __init__(self) -> None:
        self.pipe, theirs = _CONTEXT.Pipe()
        self._process: BaseProcess = _CONTEXT.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that its end is seen when the process ends

    def give(self, unit: Unit) -> None:
        """Hand out a unit."""
        with contextlib.suppress(OSError):  # it has ended meanwhile: `take` says so
            self.pipe.send(unit)

    def take(self) -> Row | Caught | None:
        """What became of the unit; None when the process has ended."""
        try:
            found: Row | Caught = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            self.pipe.close()
            return None
        return found

    @property
    def death(self) -> str:
        """How the process ended, in words."""
        code = self._process.exitcode or 0
        if code < 0:
            return f"its process was killed by {signal.Signals(-code).name}, perhaps for memory; try fewer workers"
        return f"its process ended with exit code {code}; what it said is above"

    def end(self) -> None:
        """End the process: what it was doing leaves nothing that counts."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _serve(pipe: connection.Connection) -> None:
    """The life of a process: Ctrl-C is for the one that hands out the work, and without it there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(_ONE_THREAD)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()
    while True:
        pipe.send(insist(pipe.recv()))

"""Runs programs: picks a zygote with the right libraries, starts zygotes when needed, ends them with the process.

Safe to call from any thread, after a fork, and from several processes. At most as many programs as cores run at a
time; others wait, and their waiting does not count against their limits.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import threading
from collections.abc import Iterator

from llemma.errors import ConfigError, SandboxError, nearest
from llemma.records import Execution
from llemma.run import cores
from llemma.sandbox import external, tiers
from llemma.sandbox.limits import STANDARD, Limits, Value
from llemma.sandbox.monitor import Running, Zygote

_HEAVY = re.compile(r"\b(?:scipy|networkx)\b")
_LIGHT = re.compile(r"\b(?:numpy|sympy|mpmath|pandas|matplotlib)\b")
_TRIES = 3  # zygotes that may be lost (out of memory) before a program is given up
_BLOCKS = 100  # blocks of a session that its processor time is reckoned for


def run(
    code: str, limits: Limits = STANDARD, *, value: Value = "auto", stdin: str = "", sandbox: str = "auto"
) -> Execution:
    """Run a Python program we do not trust, as ``__main__`` in a process of its own.

    ``value`` says what is reported as the value, as text: ``last`` the last expression, ``answer`` the variable,
    ``solution`` what the function returns, ``auto`` the first of them that there is, ``none``. Random generators start
    the same in every run. ``sandbox`` is ``auto`` (T1, else T2), ``T1``, ``T2``, ``bubblewrap``, ``docker:IMAGE``,
    ``fusion:URL`` or ``unsafe-subprocess``; the tier in the result says what was used. Never raises for what the
    program does. SandboxError when no sandbox is to be had, ConfigError for an unknown one.
    """
    if sandbox not in ("auto", *tiers.TIERS):
        return external.run(code, limits, value=value, stdin=stdin, sandbox=_known(sandbox))
    tier = _tier(sandbox)
    with _pool().turn():
        for attempt in range(_TRIES):
            zygote = _pool().zygote(tier, kind_of(code))
            try:
                with Running(zygote, limits, value, stdin) as running:
                    return running.run(code, last=True)
            except SandboxError as error:
                if not error.retryable or attempt == _TRIES - 1:
                    raise
                _pool().drop(zygote)
            finally:
                _pool().release(zygote)
    raise AssertionError("unreachable")


class Session:
    """One namespace for several programs, as in a notebook: names stay from block to block.

    A block that is stopped takes the process with it; the next block then starts with an empty namespace, and
    ``restarts`` counts it. Use as a context manager, from one thread at a time.
    """

    def __init__(
        self, limits: Limits = STANDARD, *, value: Value = "last", kind: str = "light", sandbox: str = "auto"
    ) -> None:
        """``kind``: the libraries that are loaded beforehand (``plain``, ``light``, ``heavy``)."""
        if sandbox not in ("auto", *tiers.TIERS):
            raise ConfigError(f"sandbox={sandbox} has no sessions; use auto, T1 or T2")
        self._limits, self._value, self._kind = limits, value, kind
        self._tier = _tier(sandbox)
        self._running: Running | None = None
        self.restarts = 0

    def run(self, code: str) -> Execution:
        """Run the next block. Never raises for what it does."""
        with _pool().turn():
            for attempt in range(_TRIES):
                fresh = self._running is None
                try:
                    running = self._running or self._start()
                    done = running.run(code, last=False)
                except SandboxError as error:
                    self._end()
                    if not (error.retryable and fresh) or attempt == _TRIES - 1:
                        raise
                    continue
                if running.ended or done.status == "timeout":
                    self._end()
                    self.restarts += 1
                return done
        raise AssertionError("unreachable")

    def _start(self) -> Running:
        self._running = start(self._tier, self._kind, self._limits, self._value, blocks=_BLOCKS)
        return self._running

    def _end(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None

    def close(self) -> None:
        """End the process of the session."""
        self._end()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def start(tier: str, kind: str, limits: Limits, value: Value = "none", *, blocks: int = 1) -> Running:
    """A process of a kind (see ``zygote``), of the caller's own; SandboxError, ``retryable`` when a zygote was lost."""
    zygote = _pool().zygote(tier, kind)
    try:
        return Running(zygote, limits, value, blocks=blocks)
    except SandboxError:
        _pool().drop(zygote)
        raise
    finally:
        _pool().release(zygote)


def kind_of(code: str) -> str:
    """Which libraries a program wants loaded, by their names in it.

    The text is not parsed: Python's parser can be crashed by a hostile one, and this is our own process.
    """
    return "heavy" if _HEAVY.search(code) else "light" if _LIGHT.search(code) else "plain"


def _tier(sandbox: str) -> str:
    if sandbox == "auto":
        best = tiers.best()
        if not best.name:
            raise tiers.refusal(best)
        return best.name
    found = tiers.probe(sandbox)
    if not isinstance(found, tiers.Tier):
        raise SandboxError(f"sandbox={sandbox} cannot be had: {found[0]}; remedy: {found[1]}")
    return sandbox


def _known(sandbox: str) -> str:
    names = ("auto", *tiers.TIERS, *external.NAMES)
    if sandbox.partition(":")[0] not in names:
        raise ConfigError(f"unknown sandbox {sandbox!r}{nearest(sandbox, names)}")
    return sandbox


class _Pool:
    """The zygotes of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[Zygote, int] = {}
        self._starting: dict[tuple[str, str], threading.Lock] = {}
        self._turns = threading.BoundedSemaphore(max(2, cores()))

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a core."""
        with self._turns:
            yield

    def zygote(self, tier: str, kind: str) -> Zygote:
        """A zygote of a kind, the least busy one; a new one when all are busy and there are fewer than cores."""
        found = self._take(tier, kind)
        if found is not None:
            return found
        with self._lock:
            starting = self._starting.setdefault((tier, kind), threading.Lock())
        with starting:
            found = self._take(tier, kind)
            if found is not None:
                return found
            fresh = Zygote(tier, kind, tiers.folders())
            with self._lock:
                self._busy[fresh] = 1
            return fresh

    def _take(self, tier: str, kind: str) -> Zygote | None:
        with self._lock:
            ours = [zygote for zygote in self._busy if (zygote.tier, zygote.kind) == (tier, kind)]
            idle = min(ours, key=lambda zygote: self._busy[zygote], default=None)
            if idle is None or (self._busy[idle] and len(ours) < cores()):
                return None
            self._busy[idle] += 1
            return idle

    def release(self, zygote: Zygote) -> None:
        """A program of the zygote has ended."""
        with self._lock:
            if zygote in self._busy:
                self._busy[zygote] -= 1

    def drop(self, zygote: Zygote) -> None:
        """The zygote is gone."""
        with self._lock:
            known = self._busy.pop(zygote, None)
        if known is not None:
            zygote.close()

    def close(self) -> None:
        """End all zygotes."""
        with self._lock:
            zygotes = list(self._busy)
            self._busy.clear()
        for zygote in zygotes:
            zygote.close()

    def forget(self) -> None:
        """In a forked process: the zygotes are the parent's."""
        for zygote in self._busy:
            zygote.forget()


_POOLS: dict[int, _Pool] = {}  # by process id: a forked process has none yet


def _pool() -> _Pool:
    return _POOLS.setdefault(os.getpid(), _Pool())


def shut_down() -> None:
    """End all zygotes of this process now; the next program starts new ones. Done by itself at exit."""
    _pool().close()


def _after_fork() -> None:
    for pool in _POOLS.values():
        pool.forget()
    _POOLS.clear()


atexit.register(shut_down)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

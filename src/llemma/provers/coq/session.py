"""Proof states as values over a few processes: clones them, replays paths, forgets the least used. Judges no proof.

For each prelude there is a base, a process that has run the prelude and never a tactic, and a copy of it in case it is
killed; preludes with the same beginning grow out of one process. Workers are clones of it; where a worker stands is a
list of sentences, and to serve a state the one is taken that has the least to replay. A worker that would lose
something slow to rebuild stays where it is and a clone of it goes on. Without clones every worker runs the prelude
itself.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from llemma.errors import ProverError
from llemma.provers.coq import forkshim, protocol, worker
from llemma.provers.coq.install import Programs, environment
from llemma.provers.coq.protocol import Answer, Goals
from llemma.provers.coq.sentences import Torn, split
from llemma.provers.coq.worker import Lost, Worker

_SLOW = 0.1  # seconds from which a sentence's time is remembered, and from which a clone (0.01 to 0.03 s) pays
_WEIGH = 8  # every so many new workers their memory is looked at, which takes milliseconds each
_PRELUDE_SECONDS = 300.0
_MOVE_SECONDS = 60.0
_KEPT_PRELUDES = 12
_HEAVY = 0.2  # seconds of a sentence of a prelude from which others shall start behind it
# Clones share what neither has written to. Coq's own 256 MB for young objects, and a collector that often marks the old
# ones, would write to all of it: 8 clones after 300 tactics took 2008 MB together so, 364 MB with these.
_COLLECTOR = "s=512k,o=200"


class Refusal(Exception):
    """Coq refused a sentence of the prelude or the statement; the message says which."""


@dataclass(kw_only=True)
class Seat:
    """A worker with what it has read: each sentence behind the prelude, and the state it led to."""

    worker: Worker
    prelude: str
    origin: int
    path: list[tuple[str, int]] = field(default_factory=list)
    busy: bool = True
    stale: bool = False  # stands behind a sentence that failed
    beginning: list[tuple[str, int]] = field(default_factory=list)  # the prelude itself, sentence by sentence

    def tip(self) -> int:
        """The state it stands at."""
        return self.path[-1][1] if self.path else self.origin

    def begins(self, sentences: Sequence[str]) -> bool:
        """Whether its prelude is a proper beginning of these sentences."""
        mine = [text for text, _ in self.beginning]
        return 0 < len(mine) <= len(sentences) and mine == list(sentences[: len(mine)])

    def shared(self, path: Sequence[str]) -> int:
        """How many sentences of ``path`` it has read already."""
        count = 0
        for (mine, _), wanted in zip(self.path, path, strict=False):
            if mine != wanted:
                break
            count += 1
        return count


@dataclass(kw_only=True)
class _Base:
    """A process behind the prelude, and its spare."""

    seat: Seat
    spare: Seat | None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Session:
    """All processes of one prover. Its methods may be called from several threads."""

    def __init__(
        self, programs: Programs, flags: Sequence[str], *, workers: int, branches: int, memory: int, clone: bool
    ):
        self._argv = [*programs.top, "-q", "-main-channel", "stdfds", "-async-proofs", "off", "-w", "none", *flags]
        self.shim = forkshim.library() if clone else forkshim.Shim(path=None, detail="switched off")
        self._workers, self._branches, self._memory = workers, max(workers, branches), memory
        self._folder = tempfile.TemporaryDirectory(prefix="llemma-coq-")
        self._bases: OrderedDict[str, _Base] = OrderedDict()
        self._seats: list[Seat] = []  # the most recently used last
        self._costs: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._ready = threading.Condition()
        self._busy = 0
        self._admitted = 0
        self._closed = False
        self._starting: dict[str, threading.Lock] = {}
        # Clones and their base die with the thread that started the base, see prctl(2): this one stays.
        self._keeper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="llemma-coq")

    # --- the one way in ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def at(self, prelude: str, path: Sequence[str]) -> Iterator[Seat]:
        """A worker that stands behind ``path`` (sentences behind the prelude), for the time of the block.

        Raises Refusal for a prelude Coq does not take, ProverError when the path does not lead there any more.
        """
        with self._ready:
            while self._busy >= self._workers and not self._closed:
                self._ready.wait()
            if self._closed:
                raise ProverError("this prover is closed")
            self._busy += 1
        seat: Seat | None = None
        try:
            for last in (False, True):  # a worker may have been killed while it was idle
                seat = self._take(prelude, path)
                try:
                    self._move(seat, path)
                    break
                except Lost as lost:
                    self._drop(seat)
                    seat = None
                    if last:
                        raise ProverError(f"a state could not be reached again: {lost}", retryable=True) from lost
            assert seat is not None
            yield seat
        finally:
            with self._ready:
                self._busy -= 1
                if seat is not None:
                    seat.busy = False
                    if not seat.worker.alive:
                        self._drop(seat)
                self._ready.notify()

    def remember(self, path: tuple[str, ...], seconds: float) -> None:
        """Note what the last sentence of a path took at the least, when that was long."""
        with self._ready:
            seconds = min(seconds, self._costs.pop(path, seconds))
            if seconds > _SLOW:
                self._costs[path] = seconds
                while len(self._costs) > 10_000:
                    self._costs.popitem(last=False)

    def close(self) -> None:
        """End all processes."""
        with self._ready:
            self._closed = True
            seats = [*self._seats, *(base.seat for base in self._bases.values())]
            seats += [base.spare for base in self._bases.values() if base.spare is not None]
            self._seats, self._bases = [], OrderedDict()
            self._ready.notify_all()
        for seat in seats:
            seat.worker.kill()
        self._keeper.shutdown()
        self._folder.cleanup()

    def processes(self) -> list[int]:
        """The ids of all processes: bases, spares and workers."""
        with self._ready:
            seats = [*self._seats, *(base.seat for base in self._bases.values())]
            seats += [base.spare for base in self._bases.values() if base.spare is not None]
            return [seat.worker.pid for seat in seats if seat.worker.alive]

    # --- choosing a worker -------------------------------------------------------------------------------------------

    def _take(self, prelude: str, path: Sequence[str]) -> Seat:
        """A worker with little to replay, marked busy; a clone where one would lose what was slow."""
        with self._ready:
            idle = [seat for seat in self._seats if not seat.busy and seat.prelude == prelude and seat.worker.alive]
            best = min(idle, key=lambda seat: self._price(seat, path), default=None)
            if best is not None:
                self._seats.remove(best)
                self._seats.append(best)
                best.busy = True
                keeps = self._lost(best, path) > _SLOW and not self._doubled(best)
        if best is None:
            return self._fresh(prelude)
        if not keeps or best.worker.control is None:
            return best
        try:
            twin = self._clone(best)
        except Lost:
            self._drop(best)
            return self._fresh(prelude)
        with self._ready:
            best.busy = False
        return self._admit(twin)

    def _price(self, seat: Seat, path: Sequence[str]) -> float:
        shared = seat.shared(path)
        missing = sum(self._cost(path[: at + 1]) for at in range(shared, len(path)))
        return missing + 0.1 * self._lost(seat, path)

    def _lost(self, seat: Seat, path: Sequence[str]) -> float:
        """Seconds to rebuild what the worker would have to leave; quick sentences are not worth a clone."""
        mine = [text for text, _ in seat.path]
        slow = (self._cost(mine[: at + 1]) for at in range(seat.shared(path), len(mine)))
        return sum(cost for cost in slow if cost > _SLOW)

    def _doubled(self, seat: Seat) -> bool:
        """Whether another worker has been where this one is."""
        mine = [text for text, _ in seat.path]
        others = (other for other in self._seats if other is not seat and other.prelude == seat.prelude)
        return any(other.worker.alive and other.shared(mine) == len(mine) for other in others)

    def _cost(self, path: Sequence[str]) -> float:
        return self._costs.get(tuple(path), 0.002)

    def _clone(self, seat: Seat) -> Seat:
        return Seat(
            worker=seat.worker.clone(), prelude=seat.prelude, origin=seat.origin, path=list(seat.path),
            beginning=seat.beginning,
        )  # fmt: skip

    def _fresh(self, prelude: str) -> Seat:
        """A new worker behind the prelude."""
        if self.shim.path is None:
            return self._admit(self._start(prelude))
        for _ in range(3):
            base = self._base(prelude)
            with base.lock:
                try:
                    return self._admit(self._clone(base.seat))
                except Lost:  # the base was killed: its spare takes its place
                    self._promote(prelude, base)
        raise ProverError("coqidetop is killed again and again; is the machine out of memory?", retryable=True)

    def _admit(self, seat: Seat) -> Seat:
        """Count a new worker in; the least used ones go when there are too many, or they take too much memory."""
        with self._ready:
            self._seats.append(seat)
            self._admitted += 1
            idle = [other for other in self._seats if not other.busy]
            while idle and (len(self._seats) > self._branches or self._heavy()):
                self._drop(idle.pop(0))
        return seat

    def _heavy(self) -> bool:
        """Whether the workers' own memory, not what they share, is above the budget."""
        if len(self._seats) < 4 or self._admitted % _WEIGH:
            return False
        return sum(worker.own_memory(seat.worker.pid) for seat in self._seats) > self._memory

    def _drop(self, seat: Seat) -> None:
        with self._ready:
            if seat in self._seats:
                self._seats.remove(seat)
        seat.worker.kill()

    # --- bases -------------------------------------------------------------------------------------------------------

    def _base(self, prelude: str) -> _Base:
        with self._ready:
            gate = self._starting.setdefault(prelude, threading.Lock())
        with gate:
            with self._ready:
                if prelude in self._bases:
                    self._bases.move_to_end(prelude)
                    return self._bases[prelude]
            return self._keep(prelude, self._start(prelude))

    def _keep(self, prelude: str, seat: Seat) -> _Base:
        base = _Base(seat=seat, spare=self._clone(seat))
        with self._ready:
            self._bases[prelude] = base
            old = [self._bases.popitem(last=False)[1] for _ in range(len(self._bases) - _KEPT_PRELUDES)]
            self._starting.pop(prelude, None)
        for gone in old:
            self._end(gone)
        return base

    def _end(self, base: _Base) -> None:
        with base.lock:
            base.seat.worker.kill()
            if base.spare is not None:
                base.spare.worker.kill()
        with self._ready:
            idle = [seat for seat in self._seats if seat.prelude == base.seat.prelude and not seat.busy]
        for seat in idle:
            self._drop(seat)

    def _promote(self, prelude: str, base: _Base) -> None:
        base.seat.worker.kill()
        if base.spare is not None and base.spare.worker.alive:
            base.seat, base.spare = base.spare, None
            with contextlib.suppress(Lost):
                base.spare = self._clone(base.seat)
            return
        with self._ready:
            if self._bases.get(prelude) is base:
                del self._bases[prelude]

    def _start(self, prelude: str) -> Seat:
        """A process that has read the prelude: a new one, or a clone of one that has read the beginning of it.

        Raises Refusal.
        """
        try:
            sentences = [sentence.text for sentence in split(prelude)]
        except Torn as error:
            raise Refusal(f"the prelude: {error}") from error
        seat = self._nearest(sentences)
        try:
            for at in range(len(seat.path), len(sentences)):
                began = time.monotonic()
                last = at == len(sentences) - 1
                self._read(seat, sentences[at : at + 1], _PRELUDE_SECONDS, run=last or _imports(sentences[at]))
                if not last and self.shim.path is not None and time.monotonic() - began > _HEAVY:
                    part = "\n".join(sentences[: at + 1])
                    self._keep(part, Seat(
                        worker=seat.worker.clone(), prelude=part, origin=seat.tip(), beginning=list(seat.path)
                    ))  # fmt: skip
        except Lost as error:
            raise ProverError(f"coqidetop ended while it read the prelude: {error}", retryable=True) from error
        except BaseException:
            seat.worker.kill()
            raise
        return Seat(worker=seat.worker, prelude=prelude, origin=seat.tip(), beginning=seat.path)

    def _nearest(self, sentences: Sequence[str]) -> Seat:
        """A process that has read as many of these sentences as any has, with them as its path."""
        with self._ready:
            bases = [base for base in self._bases.values() if base.seat.begins(sentences)]
        for base in sorted(bases, key=lambda base: -len(base.seat.beginning)):
            with base.lock, contextlib.suppress(Lost):
                return Seat(
                    worker=base.seat.worker.clone(), prelude="", origin=base.seat.beginning[0][1],
                    path=list(base.seat.beginning),
                )  # fmt: skip
        folder = Path(self._folder.name)
        made = self._keeper.submit(worker.spawn, self._argv, self._environment(), self.shim.path, folder).result()
        try:
            origin = protocol.state_id(made.ask([protocol.ABOUT, protocol.INIT], seconds=_MOVE_SECONDS)[1])
        except Lost as error:
            raise ProverError(f"{self._argv[0]} does not start: {error}") from error
        return Seat(worker=made, prelude="", origin=origin)

    @staticmethod
    def _environment() -> dict[str, str]:
        return environment() | {"OCAMLRUNPARAM": _COLLECTOR}

    # --- reading sentences -------------------------------------------------------------------------------------------

    def _move(self, seat: Seat, path: Sequence[str]) -> None:
        shared = seat.shared(path)
        if seat.stale or len(seat.path) > shared:
            del seat.path[shared:]
            seat.stale = False
            (back,) = seat.worker.ask([protocol.edit_at(seat.tip())], seconds=_MOVE_SECONDS)
            if not back.good:
                seat.worker.kill()
                raise Lost("crash", back.error)
        missing = list(path[shared:])
        if missing:
            known = sum(self._cost(path[: at + 1]) for at in range(shared, len(path)))
            try:
                self._read(seat, missing, _MOVE_SECONDS + 20 * known)
            except Refusal as refusal:
                if len(path) == 1:
                    raise  # the statement itself
                seat.worker.kill()
                raise Lost("crash", str(refusal)) from refusal

    @staticmethod
    def _read(seat: Seat, sentences: Sequence[str], seconds: float, run: bool = True) -> None:
        """Add sentences and, with ``run``, let them be executed.

        Raises Refusal for the one Coq does not take, with the worker before it.
        """
        before = seat.tip()
        for text in sentences:
            (added,) = seat.worker.ask([protocol.add(text, seat.tip())], seconds=seconds)
            if not added.good:
                raise Refusal(f"{added.error} (in: {' '.join(text.split())[:120]})")
            seat.path.append((text, protocol.state_id(added)))
        if not run:
            return
        (done,) = seat.worker.ask([protocol.GOALS], seconds=seconds)
        if not done.good:
            failed = {number: text for text, number in seat.path}.get(_failed(done), "")
            (back,) = seat.worker.ask([protocol.edit_at(before)], seconds=seconds)
            seat.path = [entry for entry in seat.path if entry[1] <= before] if back.good else []
            if not back.good:
                seat.worker.kill()
            raise Refusal(f"{done.error}{f' (in: {failed[:120]})' if failed else ''}")


def _imports(sentence: str) -> bool:
    return "Require" in sentence


def _failed(answer: Answer) -> int:
    """The state whose sentence failed, as the feedback before the answer tells; 0 when it does not."""
    marks = [int(found) for found in protocol.ERRORS.findall(answer.feedback)]
    return marks[-1] if marks else 0


def attempt(seat: Seat, sentences: Sequence[str], *, seconds: float, memory: int) -> tuple[Goals | None, str]:
    """Read sentences behind where the worker stands: the goals after them, or None and Coq's message.

    Raises Lost.
    """
    seat.worker.cap(memory)
    end = time.monotonic() + seconds
    seat.stale = True
    for number, text in enumerate(sentences):
        last = number == len(sentences) - 1
        tip = seat.tip()
        requests = [protocol.add(text, tip), protocol.GOALS] if last else [protocol.add(text, tip)]
        answers = seat.worker.ask(requests, seconds=max(end - time.monotonic(), 0.001), memory=memory)
        if not all(answer.good for answer in answers):
            return None, next(answer.error for answer in answers if not answer.good)
        seat.path.append((text, protocol.state_id(answers[0])))
    seat.stale = False
    return protocol.goals(answers[-1]), ""

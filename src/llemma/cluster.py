"""Work on the machines of a Ray cluster: actors that each have at most one unit. The only file that calls ``ray``.

An actor that died is replaced, and its unit done by another. A unit is given to an actor that has started, never to one
that waits for a machine: a cluster that lost some goes on with what is left. Units are handed out from here only, so
that one process alone writes what they give. What a unit is, its user knows.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

from llemma.errors import Caught, LlemmaError, boundary
from llemma.plugins import import_module

STARTING = 600.0  # seconds in which some actor must have started when none works
DEATHS = 20  # times one unit may lose its machine before it is given up

U = TypeVar("U")


def require() -> None:
    """Raises MissingDependency without Ray."""
    import_module("ray")


class Actors(Generic[U]):
    """Actors of one class, started when there are units for them, kept until the end of the ``with``.

    ``worker(*arguments)`` is made in each actor; it has ``ready()``, which answers when it can work, and ``work``, that
    does what ``sent(unit)`` says. ``workers`` bounds their number (0: one for each CPU of the cluster); ``opens`` names
    what an actor opens, ``error`` is raised when none of them can.
    """

    def __init__(
        self,
        worker: type,
        arguments: tuple[Any, ...],
        sent: Callable[[U], tuple[Any, ...]],
        *,
        address: str = "",
        workers: int = 0,
        opens: str,
        error: type[LlemmaError],
    ) -> None:
        self._worker, self._arguments, self._sent = worker, arguments, sent
        self._address, self._workers, self._opens, self._error = address, workers, opens, error
        self._starting: dict[Any, Any] = {}  # what tells that an actor has started → the actor
        self._running: dict[Any, tuple[Any, U]] = {}
        self._idle: list[Any] = []
        self._todo: deque[U] = deque()
        self._deaths: Counter[int] = Counter()

    def __enter__(self) -> Actors[U]:
        """Join the cluster at ``address``, or the one this process is connected to, or start one on this machine.

        Raises MissingDependency without Ray.
        """
        self._ray = import_module("ray")
        self._joined = self._ray.is_initialized()
        if not self._joined:
            self._ray.init(address=self._address or None, log_to_driver=False, include_dashboard=False)
        self._most = self._workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._made = self._ray.remote(num_cpus=1, max_restarts=0)(self._worker)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for actor in [*self._starting.values(), *(actor for actor, _ in self._running.values()), *self._idle]:
            self._ray.kill(actor)
        if not self._joined:
            self._ray.shutdown()

    def each(self, units: Sequence[U]) -> Iterator[tuple[U, Any | Caught]]:
        """Every unit with what ``work`` gave, in the order in which they are done; Caught for one that is given up.

        Raises what starting an actor raises, ``error`` when none starts.
        """
        self._todo.extend(units)
        self._deaths.clear()
        while self._idle and self._todo:
            self._give(self._idle.pop())
        for _ in range(min(self._most, len(units)) - len(self._running) - len(self._starting)):
            self._hire()
        while self._todo or self._running:
            waited = STARTING if not self._running else None
            done, _ = self._ray.wait([*self._running, *self._starting], num_returns=1, timeout=waited)
            if not done:
                raise self._error(f"no worker started on the cluster within {STARTING:.0f} s; has it free CPUs?")
            for reference in done:
                yield from self._next(reference)

    def _hire(self) -> None:
        actor = self._made.remote(*self._arguments)
        self._starting[actor.ready.remote()] = actor

    def _next(self, reference: Any) -> Iterator[tuple[U, Any | Caught]]:
        """An actor has started or finished a unit, or died: what it did, and the next unit for it."""
        if reference in self._starting:
            actor = self._starting.pop(reference)
            if self._started(reference):
                self._give(actor)
            return
        actor, unit = self._running.pop(reference)
        found = self._result(reference)
        if found is not None:
            self._give(actor)
            yield unit, found
            return
        self._hire()
        self._deaths[id(unit)] += 1
        if self._deaths[id(unit)] > DEATHS:
            message = f"its worker or machine died {self._deaths[id(unit)]} times"
            yield unit, Caught(kind=self._error.__name__, message=message)
            return
        self._todo.appendleft(unit)
        if self._idle:
            self._give(self._idle.pop())

    def _give(self, actor: Any) -> None:
        """The next unit for an actor, or none: it is kept for one that another actor loses."""
        if not self._todo:
            self._idle.append(actor)
            return
        unit = self._todo.popleft()
        self._running[actor.work.remote(*self._sent(unit))] = (actor, unit)

    def _started(self, reference: Any) -> bool:
        """Whether the actor stands; one whose machine died while it started is replaced. Raises its own errors."""
        try:
            self._ray.get(reference)
        except (self._ray.exceptions.NodeDiedError, self._ray.exceptions.ActorUnschedulableError):
            self._hire()
            return False
        except self._ray.exceptions.ActorDiedError as error:
            if error.__cause__ is not None or "creation task" in str(error):
                raise self._error(f"{self._opens} on a machine of the cluster: {error}") from error
            self._hire()
            return False
        return True

    def _result(self, reference: Any) -> Any | Caught | None:
        """What a unit gave; None when its actor or machine died."""
        errors = self._ray.exceptions

        def get() -> Any | None:
            try:
                return self._ray.get(reference)
            except (errors.RayActorError, errors.NodeDiedError, errors.ObjectLostError, errors.OutOfMemoryError):
                return None

        return boundary(get)

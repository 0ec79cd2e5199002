"""Proof search over the machines of a Ray cluster: provers as actors, one search as one task, the same rows.

Each actor opens its own prover and back end, as a worker of this machine would. A search that dies with its machine is
done again elsewhere. Tactic results are not cached across machines. The only file that knows ``ray``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llemma.config import build, to_table
from llemma.errors import Caught, ProverError, boundary
from llemma.plugins import import_module
from llemma.prove.config import ProveConfig, SearchName
from llemma.prove.work import Made, Unit, attempt, open_tools
from llemma.records import Theorem, from_row, to_row

STARTING = 600.0  # seconds in which some actor must have started when none works
DEATHS = 20  # times one search may lose its machine before it is given up


class Worker:
    """An actor: a prover with its processes, and the model where one is asked."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._tools = open_tools(build(ProveConfig, settings))

    def work(self, theorem: dict[str, Any], search: SearchName) -> Made | Caught | None:
        """One search from end to end."""
        return attempt(self._tools, (from_row(Theorem, theorem), search))

    def ready(self) -> bool:
        """Answers once the prover is open."""
        return True


def run_units(config: ProveConfig, units: Sequence[Unit], store: Callable[[Unit, Made | Caught], None]) -> None:
    """Do every unit on the cluster and store it as it comes. Raises MissingDependency without Ray.

    Joins the cluster at ``config.address``, or the one this process is connected to, or starts one on this machine.
    Searches are started from here only, so that this process alone writes the run folder.
    """
    ray = import_module("ray")
    joined = ray.is_initialized()
    if not joined:
        ray.init(address=config.address or None, log_to_driver=False, include_dashboard=False)
    try:
        _Pool(ray, config, units).run(store)
    finally:
        if not joined:
            ray.shutdown()


class _Pool:
    """The actors, each with at most one search. One that died is replaced, and its search done by another.

    A search is given to an actor that has started, never to one that waits for a machine: a cluster that lost some
    goes on with what is left.
    """

    def __init__(self, ray: Any, config: ProveConfig, units: Sequence[Unit]) -> None:
        self.ray, self.todo = ray, list(reversed(units))
        self.settings = to_table(replace(config, run=None, cache="none", engine="local"))
        slots = int(ray.cluster_resources().get("CPU", 1))
        self.size = max(1, min(config.workers or slots, len(units)))
        self.made = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        self.starting: dict[Any, Any] = {}  # what tells that an actor has started → the actor
        self.running: dict[Any, tuple[Any, Unit]] = {}
        self.idle: list[Any] = []
        self.deaths: dict[str, int] = {}

    def run(self, store: Callable[[Unit, Made | Caught], None]) -> None:
        """Do all units. Raises what opening a prover raises, and ProverError when no actor starts."""
        for _ in range(self.size):
            self._hire()
        try:
            while self.todo or self.running:
                waited = STARTING if not self.running else None
                done, _ = self.ray.wait([*self.running, *self.starting], num_returns=1, timeout=waited)
                if not done:
                    raise ProverError(f"no worker started on the cluster within {STARTING:.0f} s; has it free CPUs?")
                for reference in done:
                    self._next(reference, store)
        finally:
            self._dismiss()

    def _hire(self) -> None:
        actor = self.made.remote(self.settings)
        self.starting[actor.ready.remote()] = actor

    def _next(self, reference: Any, store: Callable[[Unit, Made | Caught], None]) -> None:
        """An actor has started or finished a search, or died: store what it did, give it the next one."""
        if reference in self.starting:
            actor = self.starting.pop(reference)
            if self._started(reference):
                self._give(actor)
            return
        actor, unit = self.running.pop(reference)
        found = self._result(reference)
        if found is None:
            self._hire()
            self._again(unit, store)
            return
        store(unit, found)
        self._give(actor)

    def _give(self, actor: Any) -> None:
        """The next search for an actor, or none: it is kept for one that another actor loses."""
        if not self.todo:
            self.idle.append(actor)
            return
        theorem, search = unit = self.todo.pop()
        self.running[actor.work.remote(to_row(theorem), search)] = (actor, unit)

    def _started(self, reference: Any) -> bool:
        """Whether the actor stands; one whose machine died while it started is replaced. Raises its own errors."""
        try:
            self.ray.get(reference)
        except (self.ray.exceptions.NodeDiedError, self.ray.exceptions.ActorUnschedulableError):
            self._hire()
            return False
        except self.ray.exceptions.ActorDiedError as error:
            if error.__cause__ is not None or "creation task" in str(error):
                raise ProverError(f"no prover could be opened on a machine of the cluster: {error}") from error
            self._hire()
            return False
        return True

    def _dismiss(self) -> None:
        """End the actors; the processes of a prover end with theirs."""
        actors = [*self.starting.values(), *(actor for actor, _ in self.running.values())]
        for actor in [*actors, *self.idle]:
            self.ray.kill(actor)

    def _result(self, reference: Any) -> Made | Caught | None:
        """What a search gave; None when its actor or machine died."""
        errors = self.ray.exceptions

        def get() -> Made | Caught | None:
            try:
                found: Made | Caught | None = self.ray.get(reference)
            except (errors.RayActorError, errors.NodeDiedError, errors.ObjectLostError, errors.OutOfMemoryError):
                return None
            return found

        return boundary(get)

    def _again(self, unit: Unit, store: Callable[[Unit, Made | Caught], None]) -> None:
        name = f"{unit[0].name}/{unit[1]}"
        self.deaths[name] = self.deaths.get(name, 0) + 1
        if self.deaths[name] > DEATHS:
            message = f"its worker or machine died {self.deaths[name]} times"
            store(unit, Caught(kind=ProverError.__name__, message=message))
            return
        self.todo.append(unit)
        if self.idle:
            self._give(self.idle.pop())

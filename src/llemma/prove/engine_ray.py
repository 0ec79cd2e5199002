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

DEATHS = 20  # times one search may lose its machine before it is given up


class Worker:
    """An actor: a prover with its processes, and the model where one is asked."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._tools = open_tools(build(ProveConfig, settings))

    def work(self, theorem: dict[str, Any], search: SearchName) -> Made | Caught | None:
        """One search from end to end."""
        return attempt(self._tools, (from_row(Theorem, theorem), search))

    def close(self) -> None:
        """End the prover's processes."""
        self._tools.prover.close()


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
    """The actors, each with at most one search; an actor that died is replaced and its search started again."""

    def __init__(self, ray: Any, config: ProveConfig, units: Sequence[Unit]) -> None:
        self.ray, self.todo = ray, list(reversed(units))
        self.settings = to_table(replace(config, run=None, cache="none", engine="local"))
        slots = int(ray.cluster_resources().get("CPU", 1))
        self.size = max(1, min(config.workers or slots, len(units)))
        self.made = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        self.running: dict[Any, tuple[Any, Unit]] = {}
        self.deaths: dict[str, int] = {}

    def run(self, store: Callable[[Unit, Made | Caught], None]) -> None:
        idle = [self.made.remote(self.settings) for _ in range(self.size)]
        try:
            while self.todo or self.running:
                while self.todo and idle:
                    self._start(idle.pop(), self.todo.pop())
                done, _ = self.ray.wait(list(self.running), num_returns=1)
                for reference in done:
                    actor, unit = self.running.pop(reference)
                    found = self._result(reference)
                    if found is None:
                        idle.append(self.made.remote(self.settings))
                        self._again(unit, store)
                    else:
                        idle.append(actor)
                        store(unit, found)
        finally:
            for actor in [*idle, *(actor for actor, _ in self.running.values())]:
                self.ray.kill(actor)

    def _start(self, actor: Any, unit: Unit) -> None:
        theorem, search = unit
        self.running[actor.work.remote(to_row(theorem), search)] = (actor, unit)

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
        else:
            self.todo.append(unit)

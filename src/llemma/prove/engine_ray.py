"""Proof search over the machines of a Ray cluster: provers as actors, one search as one task, the same rows.

Each actor opens its own prover and back end, as a worker of this machine would. A search that dies with its machine is
done again elsewhere. Tactic results are not cached across machines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llemma.cluster import Actors
from llemma.config import build, to_table
from llemma.errors import Caught, ProverError
from llemma.prove.config import ProveConfig, SearchName
from llemma.prove.work import Made, Unit, attempt, open_tools
from llemma.records import Theorem, from_row, to_row


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

    Searches are started from here only, so that this process alone writes the run folder.
    """
    settings = to_table(replace(config, run=None, cache="none", engine="local"))
    with Actors[Unit](
        Worker,
        (settings,),
        lambda unit: (to_row(unit[0]), unit[1]),
        address=config.address,
        workers=config.workers or 0,
        opens="no prover could be opened",
        error=ProverError,
    ) as actors:
        for unit, found in actors.each(units):
            store(unit, found)

"""Which samples an evaluation makes, in which order, and in which units; makes none.

A unit is a block of problems times a block of sample numbers. Its composition follows from the problems, the batch
and the block size alone, so that a unit can be made again exactly, and more samples later add units without changing
those that are done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llemma.backends import Request
from llemma.evaluate.config import request_seed
from llemma.evaluate.score import Part
from llemma.records import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One sample to make: which problem, which attempt, and the request that makes it."""

    id: str
    problem: Problem
    k: int
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The samples of one task. ``group`` sample numbers of a problem share a unit of about ``batch`` requests."""

    part: Part
    batch: int
    group: int

    @property
    def total(self) -> int:
        """How many samples there are."""
        return len(self.part.problems) * self.part.sampling.n

    def units(self) -> Iterator[list[Wanted]]:
        """All samples, unit by unit."""
        part, width = self.part, max(1, self.batch // self.group)
        for start in range(0, len(part.problems), width):
            block = [(problem, part.task.prompt(problem)) for problem in part.problems[start : start + width]]
            for first in range(0, part.sampling.n, self.group):
                ks = range(first, min(first + self.group, part.sampling.n))
                yield [self._wanted(problem, prompt, k) for problem, prompt in block for k in ks]

    def _wanted(self, problem: Problem, prompt: str, k: int) -> Wanted:
        task = self.part.task.name
        seed = request_seed(self.part.sampling.seed, task, problem.id, k)
        request = Request(prompt=prompt, seed=seed, question=problem.prompt, k=k)
        return Wanted(id=f"{task}/{problem.id}#{k}", problem=problem, k=k, request=request)


def plan(part: Part, *, batch: int, group: int | None) -> Plan:
    """The plan of a task; ``group`` is that of the run it goes on with, None for a new one."""
    return Plan(part=part, batch=batch, group=max(1, min(group or part.sampling.n, batch)))

"""Which samples an evaluation makes, in which order, and in which units; makes none.

A unit is a block of problems times a block of sample numbers. Its composition follows from the problems, the batch
and the block size alone, so that a unit can be made again exactly, and more samples later add units without changing
those that are done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llemma.backends import Request
from llemma.evaluate.config import Shard, request_seed
from llemma.records import Problem, Sampling, Task


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

    task: Task
    problems: Sequence[Problem]
    sampling: Sampling
    batch: int
    group: int

    @property
    def total(self) -> int:
        """How many samples there are."""
        return len(self.problems) * self.sampling.n

    def units(self) -> Iterator[list[Wanted]]:
        """All samples, unit by unit."""
        width = max(1, self.batch // self.group)
        for start in range(0, len(self.problems), width):
            block = self.problems[start : start + width]
            prompts = [self.task.prompt(problem) for problem in block]
            for first in range(0, self.sampling.n, self.group):
                ks = range(first, min(first + self.group, self.sampling.n))
                yield [
                    self._wanted(problem, prompt, k) for problem, prompt in zip(block, prompts, strict=True) for k in ks
                ]

    def _wanted(self, problem: Problem, prompt: str, k: int) -> Wanted:
        seed = request_seed(self.sampling.seed, self.task.name, problem.id, k)
        request = Request(prompt=prompt, seed=seed, question=problem.prompt, k=k)
        return Wanted(id=f"{self.task.name}/{problem.id}#{k}", problem=problem, k=k, request=request)


def plan(task: Task, sampling: Sampling, *, batch: int, group: int, limit: int | None, shard: Shard | None) -> Plan:
    """The plan of a task: its first ``limit`` problems, of these the ones of the shard."""
    problems = task.problems[:limit]
    if shard is not None:
        problems = problems[shard.index - 1 :: shard.of]
    assert len({problem.id for problem in problems}) == len(problems), f"{task.name}: two problems have the same id"
    return Plan(task=task, problems=problems, sampling=sampling, batch=batch, group=max(1, min(group, batch)))

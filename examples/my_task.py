"""A task of one's own: squares of small numbers, graded exactly."""

from __future__ import annotations

from dataclasses import dataclass

from llemma import Problem, Sampling, Task
from llemma.config import setting
from llemma.grade.equal import grade_numeric, vote_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task: ``options.count=3`` on the command line."""

    count: int = setting(5, "number of problems")


def load(options: Options) -> Task:
    """The squares of 1 to ``count``."""
    numbers = range(1, options.count + 1)
    return Task(
        name="squares",
        problems=tuple(Problem(id=str(n), prompt=f"Calculate {n} * {n}.", answer=str(n * n)) for n in numbers),
        prompt=lambda problem: f"Problem:\n{problem.prompt}\n\nSolution:\n",
        grade=lambda problem, text: grade_numeric(text, problem.answer),
        key=vote_key,
        sampling=Sampling(max_tokens=32, stop=("I hope it is correct.",)),
    )

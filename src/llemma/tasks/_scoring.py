"""How the tasks judge: the strict grader, and the paper's scorer beside it where it is asked for.

Here only the two are chosen and named; what they do is in ``llemma.grade``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llemma.grade.answer import read
from llemma.grade.equal import grade_numeric, vote_key
from llemma.records import Grade, Problem, Scorer

Judge = Callable[[Problem, str], Grade]


def strict(kind: str) -> Judge:
    """The strict judgement of a completion of a task of this kind."""

    def judge(problem: Problem, text: str) -> Grade:
        return grade_numeric(text, problem.answer)

    return judge


def key(grade: Grade) -> str | None:
    """The class an answer votes for under the strict grader."""
    return vote_key(grade)


def scorers(kind: str) -> Mapping[str, Scorer]:
    """The other scorers of a task of this kind."""
    return {}


def readable(answer: str) -> bool:
    """Whether a reference is in the strict grader's scope."""
    return read(answer) is not None

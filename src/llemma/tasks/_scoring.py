"""How the tasks judge: the strict grader, and the paper's scorer beside it where it is asked for.

Here only the two are chosen and named; what they do is in ``llemma.grade``.
"""

from __future__ import annotations

from collections.abc import Mapping

from llemma.grade.answer import read
from llemma.grade.equal import grade_numeric, vote_key
from llemma.grade.kinds import Value
from llemma.records import Grade, Problem, Scorer


def strict(problem: Problem, text: str) -> Grade:
    """The strict judgement of a completion, which must mark its answer."""
    return grade_numeric(text, problem.answer)


def key(grade: Grade) -> str | None:
    """The class an answer votes for under the strict grader."""
    return vote_key(grade)


def scorers(kind: str) -> Mapping[str, Scorer]:
    """The other scorers of a task of this kind."""
    return {}


def is_number(answer: str) -> bool:
    """Whether a reference is one number, written with a digit."""
    return any(map(str.isdigit, answer)) and isinstance(read(answer), Value)

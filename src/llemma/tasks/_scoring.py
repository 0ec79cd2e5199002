"""How the tasks judge: the strict grader, and the paper's scorer beside it where it is asked for.

Here only the two are chosen and named; what they do is in ``llemma.grade``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from llemma.grade.answer import read
from llemma.grade.equal import equivalent, grade_numeric, vote_key
from llemma.grade.kinds import Value
from llemma.grade.vote import classes
from llemma.records import Grade, Problem, Scorer


def strict(problem: Problem, text: str) -> Grade:
    """The strict judgement of a completion, which must mark its answer."""
    return grade_numeric(text, problem.answer)


def key(grade: Grade) -> str | None:
    """The class an answer votes for under the strict grader."""
    return vote_key(grade)


def equal_classes(keys: Sequence[str | None], shown: Mapping[str, str]) -> Sequence[Hashable | None]:
    """Which keys are equal after all: those whose answers the strict grader takes for the same, as 25 % and 0.25."""
    return classes(keys, key=str, same=lambda one, other: equivalent(shown[one], shown[other]))


def scorers(kind: str) -> Mapping[str, Scorer]:
    """The other scorers of a task of this kind."""
    return {}


def program_scorers(kind: str) -> Mapping[str, Scorer]:
    """The other scorers of a task that is answered by programs."""
    return {}


def is_number(answer: str) -> bool:
    """Whether a reference is one number, written with a digit."""
    return any(map(str.isdigit, answer)) and isinstance(read(answer), Value)

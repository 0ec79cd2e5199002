"""How the tasks judge: the strict grader, and the paper's scorer beside it where it is asked for.

Here only the two are chosen and named; what they do is in ``llemma.grade``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from fractions import Fraction

from llemma.grade.answer import read
from llemma.grade.equal import equivalent, grade_numeric, vote_key
from llemma.grade.kinds import Value
from llemma.grade.paper import grade_paper, is_tex_equiv, numeric_equality
from llemma.grade.paper.programs import printed_number
from llemma.grade.vote import classes
from llemma.records import Classes, Grade, Problem, Scorer
from llemma.tasks._programs import PAPER_OUTPUT, failure, output_of

MOST = 1000  # pairs of answers to one problem that sympy compares for a vote: a few seconds
_FRACTION = re.compile(r"(-?)(?:\\frac\{([1-9]\d{0,30})\}\{([1-9]\d{0,30})\}|([1-9]\d{0,30}|0))")


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
    """The paper's scorer for a task of this kind."""

    def grade(problem: Problem, text: str) -> Grade:
        return grade_paper(text, problem.answer, kind, extracted=False)

    return {"paper": Scorer(grade=grade, key=paper_key, classes=CLASSES.get(kind))}


def program_scorers(kind: str) -> Mapping[str, Scorer]:
    """The paper's scorer for a task that is answered by programs, which run as its scorer ran them."""

    def grade(problem: Problem, text: str) -> Grade:
        output = output_of(text, PAPER_OUTPUT)
        failed = failure(output)
        if failed is not None:
            return failed
        assert output is not None
        return grade_paper(output.text, problem.answer, kind)

    return {"paper": Scorer(grade=grade, key=paper_key)}


def paper_key(grade: Grade) -> str | None:
    """What an answer votes for under the paper's rules: its normalised text, read or not; a refused one has no vote."""
    return None if grade.verdict in ("unsafe", "timeout") else grade.answer


def _clusters(same: Callable[[str, str], bool]) -> Classes:
    """The paper's classes: an answer joins the first cluster whose first answer it equals.

    At most ``MOST`` pairs of a problem are compared by sympy; an answer beyond that is a cluster of its own.
    """

    def classes_of(keys: Sequence[str | None], shown: Mapping[str, str]) -> Sequence[Hashable | None]:
        homes: dict[str, str] = {}
        founders: list[str] = []
        asked = itertools.count()

        def alike(one: str, other: str) -> bool:
            first, second = _fraction(one), _fraction(other)
            if first is not None and second is not None:
                return first == second != 0  # what sympy finds; a zero on its right side is never read (kept bug)
            return next(asked) < MOST and same(one, other)

        for key in keys:
            if key is not None and key not in homes:
                homes[key] = next((first for first in founders if alike(key, first)), key)
                if homes[key] == key:
                    founders.append(key)
        return [None if key is None else homes[key] for key in keys]

    return classes_of


def _fraction(text: str) -> Fraction | None:
    """The value of a whole number or a fraction of two, spelled as normalised answers are; None for all else."""
    found = _FRACTION.fullmatch(text)
    if found is None or (found[2] and int(found[3]) == 0):
        return None
    value = Fraction(int(found[2]), int(found[3])) if found[2] else Fraction(int(found[4]))
    return -value if found[1] else value


def _ocw_same(one: str, other: str) -> bool:
    """OCW's equality: of numbers when both answers are some, else of formulas.

    The paper chooses by the reference; an expression that is met by a plain number is judged here as a number.
    """
    first, second = printed_number(one), printed_number(other)
    if first is not None and second is not None:
        return numeric_equality(first, second)
    return is_tex_equiv(one, other)


CLASSES: Mapping[str, Classes] = {"math": _clusters(is_tex_equiv), "ocw": _clusters(_ocw_same)}


def is_number(answer: str) -> bool:
    """Whether a reference is one number, written with a digit."""
    return any(map(str.isdigit, answer)) and isinstance(read(answer), Value)

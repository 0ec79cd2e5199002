"""Word problems with large numbers: GSM-Hard (Gao et al., 2022), GSM8K's 1,319 test questions with other numbers.

Its references were computed by programs and hold the rounding of floating-point numbers, and some numbers make no
sense in their story (negative people); both are as published. A reference with a fraction is met within 1e-3, the rule
of its authors; whole numbers must be equal.
"""

from __future__ import annotations

import re
from dataclasses import replace

from llemma.records import Grade, Problem, Task
from llemma.tasks._data import Dataset
from llemma.tasks._scoring import strict
from llemma.tasks._words import Options, pal_task

CLOSE = 1e-3
_DECIMAL = re.compile(r"[-+]?\d{1,30}(?:\.\d{0,30})?")

DATA = Dataset(
    file="gsm_hard.jsonl",
    rows=1319,
    sha256="2032b0188a49ac0ec38cbe1e695e7d62d6dddc44bbb64f920728aca710e9ddef",
    repo="reasoning-machines/pal",
    commit="f81ca2a9777f002f98a6b4d0f10b61bd5c8feb02",
    path="datasets/gsmhardv2.jsonl",
    original_sha256="2032b0188a49ac0ec38cbe1e695e7d62d6dddc44bbb64f920728aca710e9ddef",
    hub="reasoning-machines/gsm-hard",
    licence="Apache-2.0",
)


def load(options: Options) -> Task:
    """The problems. Raises DataError when they cannot be had or a row is not of this form."""
    return replace(pal_task("gsm_hard", DATA, options), grade=grade)


def grade(problem: Problem, text: str) -> Grade:
    """The strict judgement, but within ``CLOSE`` of a reference that has a fraction."""
    judged = strict(problem, text)
    if judged.verdict != "wrong" or "." not in problem.answer or judged.answer is None:
        return judged
    given = number(judged.answer)
    if given is None or abs(given - float(problem.answer)) >= CLOSE:
        return judged
    reason = f"{judged.answer!r} is within {CLOSE:g} of the reference {problem.answer!r}, which holds rounding"
    return replace(judged, verdict="correct", reason=reason)


def number(text: str) -> float | None:
    """A plain decimal number, perhaps with ``$`` and thousands separators."""
    plain = text.replace(",", "").replace("$", "").strip()
    return float(plain) if _DECIMAL.fullmatch(plain) else None

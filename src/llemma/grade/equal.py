"""Judges a completion against a reference by exact equality of the numbers they state.

Scope: what ``llemma.grade.answer`` reads. Outside of it the verdict is ``unparsable``, never a guess. Units are
dropped on both sides and not compared; a rounded number is not equal to the exact one.
"""

from __future__ import annotations

from llemma.grade.answer import read
from llemma.grade.extract import extract
from llemma.records import Grade


def grade_numeric(prediction: str, reference: str, *, last_number: bool = False) -> Grade:
    """The judgement of a whole completion. ``Grade.answer`` is the canonical form (the class for voting) when read.

    ``last_number`` lets the last number of the text be the answer when no answer is marked. Never raises: a
    reference outside the numeric scope gives ``unparsable`` and says so.
    """
    found = extract(prediction, last_number=last_number)
    if found is None:
        return Grade(verdict="unparsable", answer=None, reason="no final answer found in the text")
    return grade_answer(found.text, reference)


def grade_answer(answer: str, reference: str) -> Grade:
    """The judgement of a final answer that is already separate from its reasoning. Never raises."""
    mine, theirs = read(answer), read(reference)
    if theirs is None:
        return Grade(
            verdict="unparsable",
            answer=_short(answer) if mine is None else mine.key,
            reason=f"the reference {_short(reference)!r} is not a number or a list of numbers",
        )
    if mine is None:
        reason = f"{_short(answer)!r} is not read as a number or a list of numbers"
        return Grade(verdict="unparsable", answer=_short(answer), reason=reason)
    dropped = f" (unit {_short(mine.unit)!r} not compared)" if mine.unit else ""
    if mine.values == theirs.values:
        reason = f"{_short(answer)!r} equals the reference {_short(reference)!r}{dropped}"
        return Grade(verdict="correct", answer=mine.key, reason=reason)
    reason = f"{_short(mine.key)} is not the reference {_short(theirs.key)}{dropped}"
    return Grade(verdict="wrong", answer=mine.key, reason=reason)


def same_value(one: str, other: str) -> bool | None:
    """Whether two final answers state the same numbers; ``None`` when one of them cannot be read."""
    first, second = read(one), read(other)
    return None if first is None or second is None else first.values == second.values


def vote_key(grade: Grade) -> str | None:
    """The class an answer votes for: its canonical form, or ``None`` when it could not be read."""
    return grade.answer if grade.verdict in ("correct", "wrong") else None


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"

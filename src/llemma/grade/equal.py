r"""The strict grader: whether two final answers are the same thing, and the judgement of a completion by it.

``equivalent`` is symmetric and reflexive and never raises, executes or waits: all work is bounded by sizes (see
``llemma.grade.value``), so it is safe in any thread, process pool or event loop. The rules, with examples:

- Values are equal when they are the same number or function; a rounded number is not the exact one.
- Order counts in tuples and intervals, not in sets and bare lists; ``(0, 1)``, ``[0, 1)`` and ``[0, 1]`` differ.
- What only names the value is dropped: ``x = 5`` is 5; ``x = 1, y = 2`` is (1, 2). ``6 = 5`` is not 5.
- Units may be missing; where both sides have one they must agree. Nothing is converted: 100 cm is not 1 m here.
- ``25 %`` is 25 and 0.25; ``30°`` is 30 and π/6: questions ask for either.
- Equations are equal when they have the same solutions up to a constant factor of both sides.
- A numeral with a base is only equal to a numeral with that base: ``52_8`` is neither 52 nor 42.
"""

from __future__ import annotations

import re

from llemma.grade.answer import read
from llemma.grade.extract import Extracted, extract, last_formula, last_sentence, visible
from llemma.grade.keys import key
from llemma.grade.kinds import (
    Answer,
    Choice,
    Conditions,
    Congruence,
    Group,
    Joined,
    Matrix,
    Named,
    Piecewise,
    Ratio,
    Relation,
    Value,
    Words,
)
from llemma.grade.limits import bounded
from llemma.grade.same import Same, same_answer
from llemma.records import Grade

# What an answer that wants to be run looks like; it is only looked for in what is no mathematics.
_CODE = re.compile(
    r"__\w+__|\b(?:import|exec|eval|open|compile|globals|locals|getattr|setattr|subprocess|lambda|os\.\w+|sys\.\w+)\b\s*[(\w.]"
)


# --- whole completions ----------------------------------------------------------------------------------------------


def grade_final(prediction: str, reference: str, task: str | None = None) -> Grade:
    """The judgement of a completion, or of a bare final answer, against a reference. Never raises.

    Both sides may mark their answer (``The answer is …``, ``\\boxed{…}``, ``#### …``); a text without a mark is taken
    for the answer itself. ``Grade.answer`` is the answer as it was found, shortened; the reason names the rule that
    found it. ``task`` is accepted for symmetry with the paper's scorer: strict rules are the same for every task.
    """
    found = _find(prediction)
    if found is None:
        return Grade(verdict="unparsable", answer=None, reason="no final answer found in the text")
    if _identical(prediction, reference) and read(reference) is not None:
        return Grade(verdict="correct", answer=_short(found.text, 2_000), reason="the text is the reference itself")
    target = extract(reference)
    stated = target.text if target and target.rule != "the-answer" else reference
    return grade_answer(found.text, stated, found_by=found.rule)


def _find(text: str) -> Extracted | None:
    """The marked answer; without a mark the text itself, or the formula or sentence it ends with."""
    found = extract(text)
    if found is not None:
        return found
    bare = visible(text).strip()
    if not bare:
        return None
    whole = read(bare)
    if whole is not None and not isinstance(whole, Words):
        return Extracted(text=bare, rule="whole")
    sentence = last_sentence(bare)
    last = sentence.text if sentence else bare
    for shorter in (last_formula(last), sentence, last_formula(bare)):
        answer = read(shorter.text) if shorter and shorter.text != bare else None
        if shorter and answer is not None and not isinstance(answer, Words):
            return shorter
    return Extracted(text=bare, rule="whole")


def grade_numeric(prediction: str, reference: str, *, last_number: bool = False) -> Grade:
    """The judgement of a completion that must mark its answer; ``last_number`` accepts the last number without a mark.

    This is the form that tasks use: what a base model rambles without a mark is no answer.
    """
    found = extract(prediction, last_number=last_number)
    if found is None:
        return Grade(verdict="unparsable", answer=None, reason="no final answer found in the text")
    return grade_answer(found.text, reference, found_by=found.rule)


def grade_answer(answer: str, reference: str, *, found_by: str = "") -> Grade:
    """The judgement of a final answer that is already separate from its reasoning. Never raises."""
    mine, theirs = read(answer), read(reference)
    shown, rule = _short(answer, 2_000), f" (found by: {found_by})" if found_by and found_by != "whole" else ""
    if mine is None:
        return Grade(verdict="unparsable", answer=shown, reason=f"{_short(answer)!r} is not read as an answer{rule}")
    if theirs is None:
        return Grade(verdict="unparsable", answer=shown, reason=f"the reference {_short(reference)!r} is not readable")
    same = _same(answer, mine, reference, theirs)
    sides = f"{_kind(mine)} {_short(answer)!r}", f"{_kind(theirs)} {_short(reference)!r}"
    if same:
        return Grade(verdict="correct", answer=shown, reason=f"the {sides[0]} equals the {sides[1]}{rule}")
    if isinstance(mine, Words) and _CODE.search(answer):
        return Grade(verdict="unsafe", answer=shown, reason="the answer is program text; it is never run")
    if isinstance(mine, Words) and mine.prose:
        return Grade(verdict="unparsable", answer=shown, reason=f"the text holds no single answer{rule}")
    if same is None:
        reason = f"the {sides[0]} and the {sides[1]} cannot be compared within the limits of size"
        return Grade(verdict="timeout", answer=shown, reason=reason)
    return Grade(verdict="wrong", answer=shown, reason=f"the {sides[0]} is not the {sides[1]}{rule}")


def vote_key(grade: Grade) -> str | None:
    """The class an answer votes for, or ``None`` when it has no vote."""
    if grade.answer is None or grade.verdict not in ("correct", "wrong"):
        return None
    return vote_class(grade.answer)


def equivalent(a: str, b: str) -> bool:
    """Whether two final answers are the same. Symmetric, reflexive for what can be read; never raises."""
    return bool(same_value(a, b))


def same_value(one: str, other: str) -> bool | None:
    """Like ``equivalent``; ``None`` when a side cannot be read or the comparison is out of reach."""
    first, second = read(one), read(other)
    return None if first is None or second is None else _same(one, first, other, second)


def _same(one: str, first: Answer, other: str, second: Answer) -> Same:
    """``same_answer`` within the limits of one judgement, in the order of the texts: running out is symmetric too."""
    if _identical(one, other):
        return True
    if other < one:
        first, second = second, first
    return bounded(lambda: same_answer(first, second), None)


def _identical(a: str, b: str) -> bool:
    return a.strip() == b.strip()


def _short(text: str, limit: int = 80) -> str:
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _kind(answer: Answer) -> str:
    if isinstance(answer, Group):
        return {"": "list", "{": "set"}.get(answer.left, "tuple or interval")
    names = {Value: "value", Joined: "set", Matrix: "matrix", Relation: "relation", Conditions: "condition",
             Named: "value", Congruence: "congruence", Piecewise: "function", Ratio: "ratio", Choice: "option",
             Words: "text"}  # fmt: skip
    return names[type(answer)]


# --- classes for voting ---------------------------------------------------------------------------------------------


def vote_class(answer: str) -> str | None:
    """A name of what the answer states, for counting votes: equal names are equal answers.

    Different names may still be equal answers of different form (``25 %`` and ``0.25``): compare representatives with
    ``equivalent``. ``None``: nothing readable, no vote.
    """
    found = read(answer)
    if found is None or (isinstance(found, Words) and found.prose):
        return None
    return bounded(lambda: key(found), None)

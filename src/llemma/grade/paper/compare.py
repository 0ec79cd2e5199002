"""Compares normalised answers as the paper's scorers do, in the worker process where it takes sympy, and says why.

An outcome of ``llemma.grade.paper.symbolic`` becomes a verdict and a note here. A comparison that does not end in time
is a ``timeout``: not equal, as in the original.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from llemma.grade.paper.text import normalize_tex
from llemma.grade.worker import Crashed, TimedOut, call
from llemma.records import GradeVerdict

# Processor time of one comparison; wall time is bounded by six times as much. The original allows 5 s of wall time to
# each of parsing twice and simplifying, so that its verdicts depend on what else the machine does.
SECONDS = 5.0


_NOTES: dict[str, tuple[GradeVerdict, str]] = {  # outcomes of the worker's comparison
    "equal": ("correct", "sympy simplifies the difference to 0"),
    "equal but for the end": (
        "correct",
        "sympy simplifies the difference to 0 of what its parser read; it passed over the end of a text (kept bug)",
    ),
    "different": ("wrong", "sympy does not simplify the difference to 0"),
    "not subtractable": ("wrong", "sympy cannot subtract them (a relation, a truth value)"),
    "prediction unread": ("unparsable", "sympy's LaTeX parser cannot read the answer, and it is not the same text"),
    "reference unread": ("wrong", "sympy's LaTeX parser cannot read the reference: only the same text is right (kept)"),
    "reference zero": ("wrong", "a reference equal to 0 is taken for unread: only the same text is right (kept bug)"),
    "crash": ("wrong", "the reference is a relation: the original stops with TypeError; counted as wrong"),
    "equal by the cut": ("correct", "both are cut to integers, and only those are equal (kept bug: 0.5, 2/3 are 0)"),
    "unread": ("unparsable", "this is not the printed form of a number or a sympy object"),
    "other": ("wrong", "neither two numbers nor two sympy objects: lists, sets, None and text are never right"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two normalised texts compare: a verdict, and in words what decided."""

    verdict: GradeVerdict
    note: str


def is_tex_equiv(one: str, other: str) -> bool:
    """Whether two normalised texts are equal to the original; not symmetric (a 0 on the right is never read)."""
    return compare_tex(one, other).verdict == "correct"


def compare_tex(prediction: str, reference: str) -> Comparison:
    """``is_tex_equiv`` of two normalised texts, with what decided. Never raises."""
    if prediction == reference:
        return Comparison(verdict="correct", note="the same text after normalisation")
    if _plain(prediction) and _plain(reference):  # no need of sympy: integers without leading zeros
        if reference == "0":
            return _noted("reference zero")
        return _noted("equal" if prediction == reference else "different")
    return _asked("paper_equal", (prediction, reference))


def compare_values(value: str, *, reference: str | None = None, other: str | None = None) -> Comparison:
    """The printed value of a MATH+Python program, compared with a normalised reference or another value's print."""
    assert (reference is None) != (other is None)
    side = ("other", other or "") if reference is None else ("reference", reference)
    return _asked("paper_values", (value, *side))


def kept_bugs(answer: str, reference: str) -> Iterator[str]:
    """Which bugs of the normalisation may have made two texts equal."""
    if answer.strip() == reference.strip():
        return
    given, wanted = normalize_tex(answer), normalize_tex(reference)
    if "=" in answer or "=" in reference:
        yield "only what stands behind the last = was compared"
    if given == wanted and given.isdigit() and answer.count(",") != reference.count(","):
        yield "commas between digits were dropped"
    if given != wanted and given.isalpha() and wanted.isalpha():
        yield "letters are multiplied, in any order"


def _plain(text: str) -> bool:
    return len(text) <= 300 and text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def _asked(function: str, texts: tuple[str, ...]) -> Comparison:
    """A comparison in the worker. Samples repeat each other, so answers are kept, timeouts too; accidents are not."""
    if sum(map(len, texts)) > 2000:
        outcome = _ask(function, texts)
    else:
        try:
            outcome = _ask_once(function, texts)
        except _Accident as accident:
            outcome = accident.crashed
    if isinstance(outcome, str):
        return _noted(outcome)
    if isinstance(outcome, TimedOut):
        return Comparison(verdict="timeout", note=f"no comparison within {outcome.seconds:g} s: not equal")
    return Comparison(verdict="timeout", note=f"the comparison ended without a result ({outcome.reason}): not equal")


def _ask(function: str, texts: tuple[str, ...]) -> str | TimedOut | Crashed:
    found: str | TimedOut | Crashed = call(function, list(texts), SECONDS, wall=6 * SECONDS)
    return found


class _Accident(Exception):
    """Carries a crash past the cache."""

    def __init__(self, crashed: Crashed) -> None:
        self.crashed = crashed
        super().__init__(crashed.reason)


@functools.lru_cache(maxsize=1 << 14)
def _ask_once(function: str, texts: tuple[str, ...]) -> str | TimedOut:
    outcome = _ask(function, texts)
    if isinstance(outcome, Crashed):
        raise _Accident(outcome)
    return outcome


def _noted(outcome: str) -> Comparison:
    verdict, note = _NOTES[outcome]
    return Comparison(verdict=verdict, note=note)

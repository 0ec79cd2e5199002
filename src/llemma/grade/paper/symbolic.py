"""The comparisons of the paper's scorers that need sympy, as functions of plain data for the worker process.

Each is the original's (``SymbolicMathMixin`` and ``normalize_numeric`` of the paper's harness), with its time limits
left to the worker. An exception that the original catches is an outcome here; one that it does not catch, and that
ended its scoring run, is the outcome ``crash``.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import sympy

from llemma.errors import Caught, boundary
from llemma.grade.paper.arithmetic import NotANumber, Unsafe, python_float
from llemma.grade.paper.expressions import Expression, read_latex, unread
from llemma.grade.paper.programs import cut_to_number, isclose, numbers_equal
from llemma.grade.paper.values import read_value

T = TypeVar("T")

_DEEP = 10_000  # Python's compiler allows deeper nesting than its interpreter


def equal(pair: list[str]) -> str:
    """Outcome of ``is_tex_equiv(prediction, reference)`` for two normalised texts that differ.

    ``equal``, ``equal but for the end`` (which sympy's parser passed over), ``different``, ``prediction unread``,
    ``reference unread``, ``reference zero`` (sympy's 0 is false, so the original takes it for unread), ``crash`` (the
    truth value of a relation), ``not subtractable``.
    """
    prediction, reference = pair
    wanted = _read(reference)
    if isinstance(wanted, Caught):
        return "reference unread"
    try:
        if not wanted:
            return "reference zero"
    except TypeError:
        return "crash"
    given = _read(prediction)
    if isinstance(given, Caught):
        return "prediction unread"
    outcome = same_expression(given, wanted)
    if outcome == "equal" and (unread(prediction) or unread(reference)):
        return "equal but for the end"
    return outcome


def same_expression(given: Expression, wanted: Expression) -> str:
    """Outcome of ``is_exp_equiv``: ``equal``, ``different`` or ``not subtractable``."""
    difference = _attempt(lambda: given - wanted)
    if isinstance(difference, Caught):
        return "not subtractable"
    same = _attempt(lambda: bool(sympy.simplify(difference) == 0))
    return "equal" if same is True else "different"


def number(text: str) -> dict[str, Any]:
    """What ``normalize_numeric`` makes of text behind its units: ``value`` (a float or null), ``unsafe`` (or null)."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(_DEEP)
    try:
        return {"value": python_float(text), "unsafe": None}
    except Unsafe as refusal:
        return {"value": None, "unsafe": str(refusal)}
    except NotANumber:
        pass
    finally:
        sys.setrecursionlimit(limit)
    value = _attempt(lambda: _as_float(read_latex(text)))
    return {"value": None if isinstance(value, Caught) else value, "unsafe": None}


def equal_values(question: list[str]) -> str:
    """Outcome of comparing the value a MATH+Python program left in ``answer`` with another value or a reference.

    ``question`` is its printed form, then ``other`` and a printed value, or ``reference`` and normalised LaTeX.
    ``equal``, ``different``, ``not subtractable``, ``unread`` (the value's text), ``other`` (neither two numbers nor
    two sympy objects); ``equal by the cut`` when the numbers differ before they are cut to integers.
    """
    text, kind, side = question
    value = _attempt(lambda: read_value(text))
    if isinstance(value, Caught):
        return "unread"
    against = _attempt(lambda: read_value(side)) if kind == "other" else _read(side)
    against = None if isinstance(against, Caught) else against
    given, wanted = cut_to_number(value), cut_to_number(against)
    if isinstance(given, int | float) and isinstance(wanted, int | float):
        if not numbers_equal(wanted, given):
            return "different"
        uncut = _attempt(lambda: bool(isclose(float(value), float(against))))  # type: ignore[arg-type]
        return "equal" if uncut is True else "equal by the cut"
    if isinstance(given, sympy.Basic) and isinstance(wanted, sympy.Basic):
        return same_expression(wanted, given)
    return "other"


def _as_float(expression: Expression) -> float | None:
    return float(expression) if expression.is_number else None


def _attempt(work: Callable[[], T]) -> T | Caught:
    """The value, or what was raised: the original catches everything at these places."""
    try:
        return boundary(work)
    except AssertionError as error:  # one of sympy's own
        return Caught(kind="AssertionError", message=str(error))


@functools.lru_cache(maxsize=256)
def _read_short(text: str) -> Expression | Caught:
    return _attempt(lambda: read_latex(text))


def _read(text: str) -> Expression | Caught:
    """The expression of a text; votes ask for the same texts again and again."""
    return _read_short(text) if len(text) <= 200 else _attempt(lambda: read_latex(text))

"""OCWCourses' numbers: units taken off the text, the value read as the original would, and its tests of equality.

The original evaluates the text as Python. Here a plain decimal is read at once and everything else goes to the worker
process, where it is parsed, never run (``llemma.grade.paper.arithmetic``).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from llemma.grade.paper.programs import isclose
from llemma.grade.worker import Crashed, TimedOut, call

SECONDS = 5.0  # of processor time; the original has no limit here, its others are 5 s

_UNITS = (
    "eV",
    r" \mathrm{~kg} \cdot \mathrm{m} / \mathrm{s}",
    *(" kg m/s", "kg*m/s", "kg", "m/s", "m / s", "m s^{-1}"),
    *(r"\text{ m/s}", r" \mathrm{m/s}", r" \text{ m/s}"),
    *("g/mole", "g/mol", r"\mathrm{~g}", r"\mathrm{~g} / \mathrm{mol}"),
    *("W", "erg/s", "years", "year", "cm"),
)
_LETTER_UNITS = ("m", "s", "cm")
# A decimal that Python and ``float`` read alike: no underscores, no leading zeros, not thousands of digits.
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9]\d{0,299}|\d{0,299}\.\d{1,299}|\d{1,299}\.)(?:[eE][+-]?\d{1,4})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A text read as a number: ``value``, or why there is none (``invalid``, ``unsafe``, ``timeout``)."""

    value: float | None
    kind: str = "number"
    detail: str = ""


def without_units(text: str) -> str:
    """The text with the original's units removed wherever they stand: in ``12 eV`` and in ``Wyears``."""
    for unit in _UNITS:
        text = text.replace(unit, "").strip()
    for unit in _LETTER_UNITS:
        text = text.replace(rf"\mathrm{{{unit}}}", "").replace(rf"\mathrm{{~{unit}}}", "").strip()
    return text.strip("$")


def normalize_numeric(text: str) -> Reading:
    """The number a text states, as the original reads it: as Python, then as LaTeX. Never raises."""
    text = without_units(text)
    if _DECIMAL.fullmatch(text):
        return Reading(value=float(int(text) if text.lstrip("+-").isdigit() else text))  # -0 is an integer, hence 0
    found = call("paper_number", text, SECONDS, wall=6 * SECONDS)
    if isinstance(found, TimedOut):
        return Reading(value=None, kind="timeout", detail=f"no value after {found.seconds:g} s")
    if isinstance(found, Crashed):
        return Reading(value=None, kind="timeout", detail=found.reason)
    if found["unsafe"]:
        return Reading(value=None, kind="unsafe", detail=found["unsafe"])
    if found["value"] is None:
        return Reading(value=None, kind="invalid", detail="neither Python nor sympy's LaTeX parser reads a number")
    return Reading(value=found["value"])


def numeric_equality(one: float, other: float, threshold: float = 0.01) -> bool:
    """The original's equality of two numbers, which no negative number and no zero has to itself.

    ``|one - other| < 0.01 (one + other) / 2`` when both or their difference are near 0, and the right side is negative
    for negative numbers; else a relative tolerance of 1e-5.
    """
    if isclose(one, 0) or isclose(other, 0) or isclose(one - other, 0):
        return abs(one - other) < threshold * (one + other) / 2
    return isclose(one, other)


def never_equal_to_itself(value: float) -> bool:
    """Whether ``numeric_equality`` refuses the value even to itself."""
    return math.isnan(value) or not numeric_equality(value, value)

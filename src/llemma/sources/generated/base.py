"""The records the families share: a problem with its working, and a family that samples problems.

Decides nothing about splits, styles or documents: that is the package's ``__init__``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """A problem with its working. ``key`` names the problem whatever its wording; ``solution`` lacks the answer line.

    ``answer`` is LaTeX without dollar signs; ``program`` is a Python program that prints the same value (``3/4`` for
    a fraction, ``2, 3`` for two roots). ``split`` is ``"train"``, ``"test"`` or ``"extrapolation"``.
    """

    family: str
    key: str
    question: str
    solution: str
    answer: str
    program: str
    difficulty: int
    split: str


@dataclass(frozen=True, slots=True)
class Text:
    """One wording of a problem."""

    question: str
    solution: str
    answer: str
    program: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A sampled problem before it is worded: its key, and ``write``, which words it."""

    key: str
    write: Callable[[Random], Text]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of problem. ``levels`` are (difficulty, weight) of the training range, ``beyond`` the harder levels.

    ``sample(rng, difficulty)`` draws one problem; the keys of two difficulties must not overlap between ``levels``
    and ``beyond``. ``difficulty`` says in words what the levels mean.
    """

    name: str
    difficulty: str
    levels: tuple[tuple[int, float], ...]
    beyond: tuple[int, ...]
    sample: Callable[[Random, int], Draft]


def latex(value: Fraction | int) -> str:
    """``value`` as a LaTeX answer: ``7``, ``-7`` or ``\\frac{3}{4}``."""
    value = Fraction(value)
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def plain(value: Fraction | int) -> str:
    """``value`` as text: ``7`` or ``3/4``, the form ``print(Fraction(...))`` gives."""
    return str(value)

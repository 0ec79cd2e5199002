"""Finds the weights with which linear comparisons contradict each other, by Fourier-Motzkin elimination.

Complete over the rationals up to ``MOST`` comparisons; what it finds is checked by the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from llemma.provers.toy.formula import Linear

K = TypeVar("K", str, int)

MOST = 2_000  # comparisons at one time; elimination squares their number in the worst case


@dataclass(frozen=True, slots=True)
class _Fact:
    """A weighted sum of the given comparisons: ``left <= bound``, or ``<`` when strict."""

    left: dict[str, Fraction]
    bound: Fraction
    strict: bool
    weights: dict[int, Fraction]


def refute(facts: Sequence[Linear]) -> list[Fraction] | None:
    """One weight for each comparison such that their sum is false; None when there are none or too many steps."""
    pool = [fact for i, linear in enumerate(facts) for fact in _inequalities(i, linear)]
    while True:
        contradiction = next((x for x in pool if not x.left and (x.bound < 0 or (x.bound == 0 and x.strict))), None)
        if contradiction is not None:
            return [contradiction.weights.get(i, Fraction(0)) for i in range(len(facts))]
        pool = [x for x in pool if x.left]
        if not pool:
            return None
        name = _cheapest(pool)
        above = [x for x in pool if x.left.get(name, 0) > 0]
        below = [x for x in pool if x.left.get(name, 0) < 0]
        if len(above) * len(below) + len(pool) > MOST:
            return None
        pool = [x for x in pool if name not in x.left] + [_without(name, a, b) for a in above for b in below]


def _inequalities(number: int, linear: Linear) -> list[_Fact]:
    left, one = dict(linear.terms), Fraction(1)
    found = [_Fact(left, linear.bound, linear.comparison == "<", {number: one})]
    if linear.comparison == "=":
        found.append(_Fact({name: -c for name, c in left.items()}, -linear.bound, False, {number: -one}))
    return found


def _cheapest(pool: list[_Fact]) -> str:
    """The variable whose elimination makes the fewest comparisons, the first name among equals."""
    counts: dict[str, list[int]] = {}
    for fact in pool:
        for name, c in fact.left.items():
            counts.setdefault(name, [0, 0])[c > 0] += 1
    return min(sorted(counts), key=lambda name: counts[name][0] * counts[name][1])


def _without(name: str, a: _Fact, b: _Fact) -> _Fact:
    """The sum of two facts in which ``name`` falls out."""
    u, v = -b.left[name], a.left[name]
    left = _sum(a.left, u, b.left, v)
    return _Fact(left, u * a.bound + v * b.bound, a.strict or b.strict, _sum(a.weights, u, b.weights, v))


def _sum(x: dict[K, Fraction], u: Fraction, y: dict[K, Fraction], v: Fraction) -> dict[K, Fraction]:
    total = {key: u * c for key, c in x.items()}
    for key, c in y.items():
        total[key] = total.get(key, Fraction(0)) + v * c
    return {key: c for key, c in total.items() if c}

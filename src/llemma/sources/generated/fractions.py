"""Fractions: simplify, add, subtract, multiply and divide.

Does not pose mixed numbers, decimals or negative operands.
"""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from math import gcd, lcm
from random import Random

from llemma.sources.generated.base import Draft, Family, Text, latex, plain

_ASKS = ("What is {e}?", "Calculate {e}.", "Compute {e} in lowest terms.", "Work out {e}.")
_ASK_SIMPLIFY = ("Simplify {e}.", "Write {e} in lowest terms.", "Reduce {e} to lowest terms.")
_TEX_SIGN = {"+": "+", "-": "-", "*": " \\times ", "/": " \\div "}


def _proper(rng: Random, low: int, high: int) -> tuple[int, int]:
    """A proper fraction in lowest terms with denominator in low..high."""
    while True:
        bottom = rng.randint(low, high)
        top = rng.randint(1, bottom - 1)
        if gcd(top, bottom) == 1:
            return top, bottom


def _sample(rng: Random, level: int) -> Draft:
    if level == 1:
        return _simplify(rng, 9, 9) if rng.random() < 0.5 else _same_denominator(rng)
    if level == 2:
        return _two(rng, rng.choice("*/"), 2, 9)
    if level == 3:
        return _two(rng, rng.choice("+-"), 2, 10)
    return _two(rng, rng.choice("+-*/"), 11, 16)


def _simplify(rng: Random, high: int, factors: int) -> Draft:
    top, bottom = _proper(rng, 2, high)
    k = rng.randint(2, factors)
    return Draft(f"fractions:{top * k}/{bottom * k}", partial(_write_simplify, top * k, bottom * k))


def _write_simplify(a: int, b: int, rng: Random) -> Text:
    shown = f"{a}/{b}" if rng.random() < 0.6 else f"$\\frac{{{a}}}{{{b}}}$"
    working, value = _lowest(a, b)
    program = f"from fractions import Fraction\nprint(Fraction({a}, {b}))"
    return Text(rng.choice(_ASK_SIMPLIFY).format(e=shown), f"{working} So {plain(value)}.", latex(value), program)


def _same_denominator(rng: Random) -> Draft:
    bottom = rng.randint(3, 20)
    a, b = rng.randint(1, bottom - 1), rng.randint(1, bottom - 1)
    sign = rng.choice("+-")
    if sign == "-" and a < b:
        a, b = b, a
    if sign == "+" and a > b:
        a, b = b, a
    return Draft(f"fractions:{a}/{bottom}{sign}{b}/{bottom}", partial(_write_two, a, bottom, b, bottom, sign))


def _two(rng: Random, sign: str, low: int, high: int) -> Draft:
    (a, b), (c, d) = _proper(rng, low, high), _proper(rng, low, high)
    while sign in "+-" and b == d:
        c, d = _proper(rng, low, high)
    swap = Fraction(a, b) < Fraction(c, d) if sign == "-" else sign in "+*" and (a, b) > (c, d)
    if swap:
        a, b, c, d = c, d, a, b
    return Draft(f"fractions:{a}/{b}{sign}{c}/{d}", partial(_write_two, a, b, c, d, sign))


def _write_two(a: int, b: int, c: int, d: int, sign: str, rng: Random) -> Text:
    if sign in "+*" and rng.random() < 0.5:
        a, b, c, d = c, d, a, b
    if rng.random() < 0.6:
        left, right = (f"{a}/{b}", f"{c}/{d}") if sign != "/" else (f"({a}/{b})", f"({c}/{d})")
        shown = f"{left} {sign} {right}"
    else:
        shown = f"$\\frac{{{a}}}{{{b}}}{_TEX_SIGN[sign]}\\frac{{{c}}}{{{d}}}$"
    working, value = _combine(a, b, c, d, sign)
    program = f"from fractions import Fraction\nprint(Fraction({a}, {b}) {sign} Fraction({c}, {d}))"
    return Text(rng.choice(_ASKS).format(e=shown), f"{working} So {plain(value)}.", latex(value), program)


def _combine(a: int, b: int, c: int, d: int, sign: str) -> tuple[str, Fraction]:
    if sign == "/":
        lowest, value = _lowest(a * d, b * c)
        return f"Flip {c}/{d} to {d}/{c}. {a}*{d}={a * d}, {b}*{c}={b * c}: {a * d}/{b * c}. {lowest}", value
    if sign == "*":
        lowest, value = _lowest(a * c, b * d)
        return f"{a}*{c}={a * c}, {b}*{d}={b * d}: {a * c}/{b * d}. {lowest}", value
    common = lcm(b, d)
    left, right = a * common // b, c * common // d
    top = left + right if sign == "+" else left - right
    lowest, value = _lowest(top, common)
    shared = f"{left}{sign}{right}={top}: {top}/{common}. {lowest}"
    if b == d:
        return shared, value
    first = f"{common}/{b}={common // b}, {a}*{common // b}={left}"
    second = f"{common}/{d}={common // d}, {c}*{common // d}={right}"
    return f"lcm({b},{d})={common}. {first}; {second}. {shared}", value


def _lowest(a: int, b: int) -> tuple[str, Fraction]:
    """The sentence that brings ``a/b`` to lowest terms, and its value."""
    factor = gcd(a, b)
    if factor == 1:
        return f"gcd({a},{b})=1.", Fraction(a, b)
    return f"gcd({a},{b})={factor}: {a}/{factor}={a // factor}, {b}/{factor}={b // factor}.", Fraction(a, b)


FRACTIONS = Family(
    name="fractions",
    difficulty="1: simplify, or one denominator; 2: times, divided by; 3: two denominators; beyond: above 10",
    levels=((1, 3.0), (2, 2.0), (3, 2.0)),
    beyond=(4,),
    sample=_sample,
)

r"""What expressions are worth: exact rationals where possible, else numbers with an explicit error bound.

``equal`` decides in three steps of rising cost: exact rational arithmetic; double precision with a first-order bound of
its error, which settles nearly all unequal pairs; mpmath at rising precision, where values that still agree within
bounds of 10^-60 and then 10^-300 relative are equal. Expressions with variables are compared at fixed pseudo-random
points (Schwartz 1980, Zippel 1979), positive ones first because roots and logarithms live there.

All work is bounded by sizes, not by clocks: exact numbers have at most MAX_BITS bits, series MAX_TERMS terms, and what
leaves the range is ``TooLarge``, never a long computation. So it is safe in any thread and needs no signal.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from llemma.grade.balls import (
    DOUBLE,
    Arithmetic,
    Ball,
    Double,
    Evaluation,
    Multi,
    evaluate,
    is_real,
    multi,
    unit,
)
from llemma.grade.exact import Undefined, exact
from llemma.grade.limits import TooLarge
from llemma.grade.node import INF, Node, number, shown, structure, substitute, tree, variables

PRECISIONS = (200, 1_100)  # bits: the first look and the second
_RETRIES = 3  # fourfold precision each time, when cancellation ate the digits

Point = Mapping[str, Fraction]


def _discrete(node: Node) -> bool:
    """Whether it only makes sense at natural numbers: factorials, binomials, series with a variable bound."""
    return node.op in ("fact", "binom", "sum", "prod", "mod") or any(_discrete(arg) for arg in node.args)


def points(names: frozenset[str], *, discrete: bool = False) -> list[Point]:
    """Where expressions in these variables are compared: two positive points, then a negative one."""
    if not names:
        return [{}]
    if discrete:
        return [{name: Fraction(zlib.crc32(name.encode()) % 7 + 4 + k) for name in names} for k in (0, 3, 5)]
    return [
        {name: unit(name) + Fraction(1, 7) for name in names},
        {name: 3 * unit(name + "'") + Fraction(1, 11) for name in names},
        {name: -unit(name + '"') - Fraction(2, 13) for name in names},
    ]


# --- equality -----------------------------------------------------------------------------------------------------


def equal(a: Node, b: Node) -> bool | None:
    """Whether two expressions have the same value; ``None``: not decided within the limits. Symmetric, never raises."""
    if a == b:
        return True
    try:
        first, second = exact(a), exact(b)
    except Undefined:
        return _both_undefined(a, b)
    except TooLarge:
        return None
    if first is not None and second is not None:
        return first == second
    names = variables(a) | variables(b)
    discrete = _discrete(a) or _discrete(b)
    undecided = False
    for place, point in enumerate(points(names, discrete=discrete)):
        same = _equal_at(a, b, point, deep=place == 0)
        if place == 2 and not discrete:  # roots and logarithms of negative numbers are conventions
            if same is False and _both_real(a, b, point):
                return False
        elif same is False:
            return False
        else:
            undecided |= same is None
    return None if undecided else True


def _both_undefined(a: Node, b: Node) -> bool | None:
    return None if _undefined(a) and _undefined(b) else False


def _undefined(node: Node) -> bool:
    try:
        exact(node)
    except Undefined:
        return True
    except TooLarge:
        return False
    return False


def _equal_at(a: Node, b: Node, point: Point, *, deep: bool) -> bool | None:
    quick = _compare(a, b, DOUBLE, point)
    if quick is False:
        return False
    extra = _bits(a) + _bits(b)
    for precision in PRECISIONS if deep else PRECISIONS[:1]:
        same = None
        for retry in range(_RETRIES):
            bits = (precision + (extra if precision > 1_000 else 0)) * 4**retry
            if bits > 30_000:
                break
            same = _compare(a, b, multi(bits), point)
            if same is not None:
                break
        if not same:
            return same
    return True


def _compare(a: Node, b: Node, arithmetic: Arithmetic, point: Point) -> bool | None:
    """False: their balls are apart. True: the balls touch and are tiny. None: too coarse, too large or undefined."""
    try:
        first = evaluate(a, arithmetic, point)
        second = evaluate(b, arithmetic, point)
    except (Undefined, TooLarge):
        return _one_undefined(a, b, arithmetic, point)
    gap, error = abs(first.mid - second.mid), first.rad + second.rad
    if gap > 4 * error:
        return False
    size = max(abs(first.mid), abs(second.mid), arithmetic.number(Fraction(1)))
    return True if error <= size * arithmetic.number(Fraction(1, 10**9)) * _root_of(arithmetic) else None


def _root_of(arithmetic: Arithmetic) -> Any:
    """About the square root of the unit of precision: half of the digits must be left after cancellation."""
    return 1e6 * 2.0**-26 if isinstance(arithmetic, Double) else arithmetic.context.sqrt(arithmetic.eps)


def _one_undefined(a: Node, b: Node, arithmetic: Arithmetic, point: Point) -> bool | None:
    """Values where only one side has one are unequal; both without, or a number too large: not decided."""
    states = []
    for node in (a, b):
        try:
            evaluate(node, arithmetic, point)
            states.append("value")
        except Undefined:
            states.append("undefined")
        except TooLarge:
            states.append("large")
    infinite = {node == INF or node == tree("neg", (INF,)) for node in (a, b)}
    return False if sorted(states) == ["undefined", "value"] and infinite == {True, False} else None


def _both_real(a: Node, b: Node, point: Point) -> bool | None:
    try:
        return all(is_real(evaluate(node, multi(PRECISIONS[0]), point).mid) for node in (a, b))
    except (Undefined, TooLarge):
        return None


def _bits(node: Node) -> int:
    """Bits of the exact numbers in an expression: so much precision tells 2^{1/2^1000} from 1."""
    try:
        value = exact(node)
    except (Undefined, TooLarge):
        value = None
    if value is not None:
        return min(2 * max(value.numerator.bit_length(), value.denominator.bit_length()), 20_000)
    return min(sum(_bits(arg) for arg in node.args), 20_000)


def zero(node: Node) -> bool | None:
    """Whether an expression vanishes identically."""
    return equal(node, number(0))


def proportional(f: Node, g: Node) -> tuple[bool | None, int]:
    """Whether f = c·g for a constant c ≠ 0, and the sign of c (0 when it is not real).

    So are the two sides of equivalent equations, once everything is on one side.
    """
    names = variables(f) | variables(g)
    where = points(names, discrete=_discrete(f) or _discrete(g))
    where = [*where, *({name: value * 2 + Fraction(1, 3) for name, value in point.items()} for point in where[:2])]
    for arithmetic in (DOUBLE, multi(PRECISIONS[0])):
        try:
            ratios = []
            walk = Evaluation(arithmetic)
            for point in where:
                ratios.append(walk.over(walk.ball(f, point), walk.ball(g, point)))
                if abs(ratios[-1].mid) <= ratios[-1].rad:
                    return False, 0
        except (Undefined, TooLarge):
            return None, 0
        first = ratios[0]
        if any(abs(r.mid - first.mid) > 4 * (r.rad + first.rad) for r in ratios[1:]):
            return False, 0
    if not is_real(first.mid):
        return True, 0
    return True, 1 if first.mid > 0 else -1


# --- order and names ------------------------------------------------------------------------------------------------


def real_order(a: Node, b: Node) -> int | None:
    """-1, 0 or 1 as a <, = or > b; infinities included; ``None`` when one is not a real constant."""
    ends = [_infinite_sign(node) for node in (a, b)]
    if ends[0] or ends[1]:
        return (ends[0] > ends[1]) - (ends[0] < ends[1])
    same = equal(a, b)
    if same or same is None:
        return 0 if same else None
    try:
        first, second = (evaluate(node, multi(PRECISIONS[1]), {}) for node in (a, b))
    except (Undefined, TooLarge, KeyError):
        return None
    if not (is_real(first.mid) and is_real(second.mid)):
        return None
    return 1 if first.mid > second.mid else -1


def _infinite_sign(node: Node) -> int:
    if node.op == "neg":
        return -_infinite_sign(node.args[0])
    return 1 if node == INF else 0


def fingerprint(node: Node) -> str:
    """A name of the value: the exact rational, or digits at fixed points. Equal values have equal names.

    Different values have different names but for what agrees in 30 digits at two points. What cannot be evaluated is
    named by its form.
    """
    sign = _infinite_sign(node)
    if sign:
        return "inf" if sign > 0 else "-inf"
    try:
        value = exact(node)
        if value is not None:
            return shown(value)
        names = variables(node)
        where = points(names, discrete=_discrete(node))
        digits = [_digits(node, point) for point in where[:2]]
        if not names:
            return _as_fraction(digits[0]) or "≈" + digits[0]
        if len(where) > 2 and _both_real(node, node, where[2]):  # |x| is not x
            digits.append(_digits(node, where[2]))
        return "≈" + "|".join(digits)
    except (Undefined, TooLarge):
        return "form:" + structure(node)


def _as_fraction(digits: str) -> str:
    """The rational number of a small denominator that has these digits, or an empty text: log 8 / log 2 is 3."""
    if not digits.endswith("+0") or "e" in digits:
        return ""
    value = Fraction(digits[:-2])
    near = value.limit_denominator(10_000)
    return str(near) if abs(near - value) * 10**26 < 1 else ""


def _digits(node: Node, point: Point) -> str:
    for precision in (160, 640, 2560):
        arithmetic = multi(precision)
        ball = evaluate(node, arithmetic, point)
        small = arithmetic.number(Fraction(1, 10**34))
        if ball.rad <= small * abs(ball.mid) or ball.rad <= small * small:
            return "".join(_rounded(part, ball, arithmetic) for part in (ball.mid.real, ball.mid.imag))
    raise Undefined("cancellation")


def _rounded(part: Any, ball: Ball, arithmetic: Multi) -> str:
    if abs(part) <= ball.rad * 4 or abs(part) < abs(ball.mid) * arithmetic.number(Fraction(1, 10**32)):
        return "+0"
    digits: str = arithmetic.context.nstr(part, 30, strip_zeros=True)
    return ("" if digits.startswith("-") else "+") + digits


def solve_linear(f: Node, name: str) -> tuple[Node, int] | None:
    """Root and sign of the slope of f = a·x + b with real constants a ≠ 0 and b; ``None`` for other forms."""
    if variables(f) != {name}:
        return None
    at = [substitute(f, name, number(x)) for x in (0, 1, 3)]
    slope = tree("add", (at[1], tree("neg", (at[0],))))
    line = tree("add", (at[0], tree("mul", (number(3), slope))))
    if not equal(at[2], line):
        return None
    half = substitute(f, name, number(Fraction(-5, 7)))
    if not equal(half, tree("add", (at[0], tree("mul", (number(Fraction(-5, 7)), slope))))):
        return None
    sign = real_order(slope, number(0))
    if not sign:
        return None
    return tree("neg", (tree("div", (at[0], slope)),)), sign

r"""What expressions are worth: exact rationals where possible, else numbers with an explicit error bound.

``equal`` decides in three steps of rising cost: exact rational arithmetic; double precision with a first-order bound of
its error, which settles nearly all unequal pairs; mpmath at rising precision, where values that still agree within
bounds of 10^-60 and then 10^-300 relative are equal. Expressions with variables are compared at fixed pseudo-random
points (Schwartz 1980, Zippel 1979), positive ones first because roots and logarithms live there.

All work is bounded by sizes, not by clocks: exact numbers have at most MAX_BITS bits, series MAX_TERMS terms, and what
leaves the range is ``TooLarge``, never a long computation. So it is safe in any thread and needs no signal.
"""

from __future__ import annotations

from contextlib import suppress
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
)
from llemma.grade.exact import Undefined, exact
from llemma.grade.limits import TooLarge
from llemma.grade.node import INF, ZERO, Node, has, number, shown, structure, substitute, tree, variables, with_products
from llemma.grade.points import Point, breaks, discrete, elsewhere, main

PRECISIONS = (200, 1_100)  # bits: the first look and the second
_RETRIES = 3  # fourfold precision each time, when cancellation ate the digits

# --- equality -----------------------------------------------------------------------------------------------------


def equal(a: Node, b: Node) -> bool | None:
    """Whether two expressions have the same value; ``None``: not decided within the limits. Symmetric, never raises."""
    found = a == b or _equal(a, b)
    if found is False and (has(a, "call") or has(b, "call")):  # ½h(a+b) where h is a height
        products = with_products(a, variables(b)), with_products(b, variables(a))
        if products != (a, b):
            return _equal(*products)
    return found


def _equal(a: Node, b: Node) -> bool | None:
    try:
        first, second = exact(a), exact(b)
    except Undefined:
        return _both_undefined(a, b)
    except TooLarge:
        return None
    if first is not None and second is not None:
        return first == second
    names = variables(a) | variables(b)
    whole = discrete(a) or discrete(b)
    undecided = False
    for place, point in enumerate(main(names, whole=whole)):
        same = _equal_at(a, b, point, deep=place == 0)
        if same is False:
            return False
        undecided |= same is None
    if any(_apart(a, b, point) for point in elsewhere(names, a, b, whole=whole)):
        return False
    return None if undecided else True


def _apart(a: Node, b: Node, point: Point) -> bool:
    """Whether both have a value there without complex numbers on the way, and not the same one.

    Roots and logarithms of negative numbers are conventions, so nothing is concluded from them.
    """
    for arithmetic in (DOUBLE, multi(PRECISIONS[0])):
        try:
            gap = _gap(evaluate(a, arithmetic, point, real=True), evaluate(b, arithmetic, point, real=True), arithmetic)
        except Undefined:
            return False
        except TooLarge:
            continue
        if gap is not None:
            return not gap
    return False


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
    return _gap(first, second, arithmetic)


def _gap(first: Ball, second: Ball, arithmetic: Arithmetic) -> bool | None:
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
    return equal(node, ZERO)


def near(a: Node, b: Node) -> bool:
    """Whether constants are within a hundredth of each other, as a number and its rounding are, or cannot be told."""
    try:
        first, second = (evaluate(node, DOUBLE, {}) for node in (a, b))
    except (Undefined, TooLarge, KeyError):
        return True
    return bool(abs(first.mid - second.mid) <= 0.01 * max(abs(first.mid), abs(second.mid)))


def proportional(f: Node, g: Node) -> tuple[bool | None, int]:
    """Whether f = c·g for a constant c ≠ 0, and the sign of c (0 when it is not real).

    So are the two sides of equivalent equations, once everything is on one side.
    """
    names = variables(f) | variables(g)
    whole = discrete(f) or discrete(g)
    where = main(names, whole=whole)
    where += [{name: value * 2 + Fraction(1, 3) for name, value in point.items()} for point in where if not whole]
    sign = 0
    for arithmetic in (DOUBLE, multi(PRECISIONS[0])):
        try:
            ratios = [_ratio(f, g, arithmetic, point) for point in where]
        except (Undefined, TooLarge):
            return None, 0
        for point in elsewhere(names, f, g, whole=whole):
            with suppress(Undefined, TooLarge):
                ratios.append(_ratio(f, g, arithmetic, point, real=True))
        first = ratios[0]
        if any(abs(r.mid - first.mid) > 4 * (r.rad + first.rad) or abs(r.mid) <= r.rad for r in ratios):
            return False, 0
        sign = 0 if not is_real(first.mid) else 1 if first.mid > 0 else -1
    return True, sign


def _ratio(f: Node, g: Node, arithmetic: Arithmetic, point: Point, *, real: bool = False) -> Ball:
    walk = Evaluation(arithmetic, real=real)
    return walk.over(walk.ball(f, point), walk.ball(g, point))


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
        names, whole = variables(node), discrete(node)
        digits = [_digits(node, point) for point in main(names, whole=whole)]
        if not names:
            return _as_fraction(digits[0]) or "≈" + digits[0]
    except (Undefined, TooLarge):
        return "form:" + structure(node)
    if breaks(node):  # the points depend on the form then, and so does the name
        return "form:" + structure(node)
    for point in elsewhere(names, node, whole=whole):  # x is not √x²
        try:
            digits.append(_digits(node, point, real=True))
        except (Undefined, TooLarge):
            digits.append("?")
    return ("∈ℕ" if whole else "") + "≈" + "|".join(digits)


def _as_fraction(digits: str) -> str:
    """The rational number of a small denominator that has these digits, or an empty text: log 8 / log 2 is 3."""
    if not digits.endswith("+0") or "e" in digits:
        return ""
    value = Fraction(digits[:-2])
    near = value.limit_denominator(10_000)
    return str(near) if abs(near - value) * 10**26 < 1 else ""


def _digits(node: Node, point: Point, *, real: bool = False) -> str:
    for precision in (160, 640, 2560):
        arithmetic = multi(precision)
        ball = evaluate(node, arithmetic, point, real=real)
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
    sign = real_order(slope, ZERO)
    if not sign:
        return None
    return tree("neg", (tree("div", (at[0], slope)),)), sign

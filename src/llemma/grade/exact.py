"""Exact rational values of expressions, where plain arithmetic gives them; bounded in size and in work."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from llemma.grade.limits import TooLarge, spend
from llemma.grade.node import Node

MAX_BITS = 100_000  # of an exact number: 2006! has 19,000, 2024^4046 44,000
MAX_WORK = 20_000  # steps of one evaluation, those on long numbers counting more
MAX_TERMS = 2_000  # of a sum or product that is written out
MAX_FACTORIAL = 5_000

Env = Mapping[str, Fraction]


class Undefined(ArithmeticError):
    """The expression has no value there: division by zero, logarithm of zero, an unknown function."""


def exact(node: Node, env: Env | None = None) -> Fraction | None:
    """The exact rational value, or ``None`` when it is not rational by plain arithmetic.

    Raises Undefined for a division by zero and TooLarge beyond MAX_BITS or MAX_WORK.
    """
    return node.value if node.op == "num" else _Exact().value(node, env or {})


class _Exact:
    """One walk over a tree in rational arithmetic; counts the work, which grows with the square of the digits."""

    def __init__(self) -> None:
        self.left = MAX_WORK

    def value(self, node: Node, env: Env) -> Fraction | None:
        op = node.op
        if op == "num" or op == "based":
            return node.value
        if op == "sym":
            return env.get(node.name)
        if op in ("const", "deg", "log", "call", "pm"):
            return None
        if op in ("sum", "prod"):
            return self.series(node, env)
        args = []
        for arg in node.args:
            value = self.value(arg, env)
            if value is None:
                return None
            args.append(value)
        return self.small(_EXACT[op](node, args))

    def small(self, value: Fraction | None) -> Fraction | None:
        if value is not None:
            bits = value.numerator.bit_length() + value.denominator.bit_length()
            work = 1 + (bits // 1000) ** 2 // 10
            self.left -= work
            if bits > MAX_BITS or self.left < 0:
                raise TooLarge
            spend(2 * work)
        return value

    def series(self, node: Node, env: Env) -> Fraction | None:
        ends = bounds(self.value(node.args[0], env), self.value(node.args[1], env))
        if ends is None:
            return None
        total: Fraction | None = Fraction(0 if node.op == "sum" else 1)
        for k in range(ends[0], ends[1] + 1):
            term = self.value(node.args[2], {**env, node.name: Fraction(k)})
            if term is None or total is None:
                return None
            total = self.small(total + term if node.op == "sum" else total * term)
        return total


def bounds(first: Fraction | None, last: Fraction | None) -> tuple[int, int] | None:
    """First and last index of a series; ``None`` when they are not rational. Raises Undefined, TooLarge."""
    if first is None or last is None:
        return None
    if first.denominator != 1 or last.denominator != 1:
        raise Undefined("a series whose bounds are not integers")
    if last - first > MAX_TERMS:
        raise TooLarge
    return first.numerator, last.numerator


def _add(node: Node, args: list[Fraction]) -> Fraction:
    return sum(args[1:], args[0])


def _mul(node: Node, args: list[Fraction]) -> Fraction:
    if sum(arg.numerator.bit_length() + arg.denominator.bit_length() for arg in args) > 2 * MAX_BITS:
        raise TooLarge
    return args[0] * args[1]


def _div(node: Node, args: list[Fraction]) -> Fraction:
    if args[1] == 0:
        raise Undefined("division by zero")
    return args[0] / args[1]


def _pow(node: Node, args: list[Fraction]) -> Fraction | None:
    base, exponent = args
    if base == 1 or exponent == 0:
        return Fraction(1)
    if exponent.denominator != 1:
        root = _exact_root(base, exponent.denominator)
        return None if root is None else _pow(node, [root, Fraction(exponent.numerator)])
    if base == 0:
        if exponent < 0:
            raise Undefined("division by zero")
        return Fraction(0)
    if base == -1:
        return Fraction(1 if exponent.numerator % 2 == 0 else -1)
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * bits > MAX_BITS:
        raise TooLarge
    return base**exponent.numerator


def _root(node: Node, args: list[Fraction]) -> Fraction | None:
    degree, radicand = args
    if degree.denominator != 1 or degree < 2:
        return None
    return _exact_root(radicand, degree.numerator)


def _exact_root(value: Fraction, degree: int) -> Fraction | None:
    """The rational root, real for odd degrees; ``None`` when it is irrational or complex."""
    if value < 0:
        found = _exact_root(-value, degree) if degree % 2 else None
        return None if found is None else -found
    if degree > 64:
        return value if value in (0, 1) else None
    top, bottom = _integer_root(value.numerator, degree), _integer_root(value.denominator, degree)
    return None if top is None or bottom is None else Fraction(top, bottom)


def _integer_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(value)
        return root if root * root == value else None
    if value.bit_length() > 2_000:
        return None
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:  # the largest integer whose power does not pass the value
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
    return low if low**degree == value else None


def factorial(n: Fraction) -> Fraction:
    """n!. Raises Undefined for what is no natural number, TooLarge above MAX_FACTORIAL."""
    if n.denominator != 1 or n < 0:
        raise Undefined("factorial of what is no natural number")
    if n > MAX_FACTORIAL:
        raise TooLarge
    return Fraction(math.factorial(n.numerator))


def binomial(n: Fraction, k: Fraction) -> Fraction | None:
    """n over k for natural numbers, ``None`` for others. Raises TooLarge."""
    if n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
        return None
    smaller = min(k, n - k)
    if smaller > MAX_FACTORIAL or smaller * n.numerator.bit_length() > MAX_BITS:
        raise TooLarge
    return Fraction(math.comb(n.numerator, k.numerator))


def _mod(node: Node, args: list[Fraction]) -> Fraction:
    if args[1] == 0:
        raise Undefined("remainder by zero")
    return args[0] % args[1]


def _function(node: Node, args: list[Fraction]) -> Fraction | None:
    name = node.name
    if name == "abs" and len(args) == 1:
        return abs(args[0])
    if name in ("floor", "ceil") and len(args) == 1:
        return Fraction(math.floor(args[0]) if name == "floor" else math.ceil(args[0]))
    if name in ("max", "min"):
        return max(args) if name == "max" else min(args)
    if name in ("gcd", "lcm") and all(arg.denominator == 1 for arg in args):
        whole = [arg.numerator for arg in args]
        return Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))
    if name == "ln" and args == [1]:
        return Fraction(0)
    if name in ("sin", "tan", "arcsin", "arctan") and args == [0]:
        return Fraction(0)
    return Fraction(1) if name == "cos" and args == [0] else None


_EXACT: dict[str, Callable[[Node, list[Fraction]], Fraction | None]] = {
    "add": _add,
    "mul": _mul,
    "div": _div,
    "neg": lambda node, args: -args[0],
    "pow": _pow,
    "root": _root,
    "fact": lambda node, args: factorial(args[0]),
    "binom": lambda node, args: binomial(args[0], args[1]),
    "pct": lambda node, args: args[0] / 100,
    "mod": _mod,
    "fn": _function,
}

"""Approximate values with a bound of their error, in double precision or in mpmath at any precision.

Errors are of first order: each operation adds what it passes on and half a unit of its own. Work is bounded by sizes:
numbers by MAX_MAGNITUDE, one evaluation by MAX_OPERATIONS.
"""

from __future__ import annotations

import cmath
import math
import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from mpmath import MPContext

from llemma.grade.exact import Undefined, binomial, bounds, exact, factorial
from llemma.grade.limits import TooLarge, spend
from llemma.grade.node import Node
from llemma.grade.points import unit
from llemma.grade.vocabulary import CONTINUOUS

MAX_MAGNITUDE = 60_000  # binary exponent of a number
MAX_OPERATIONS = 20_000  # of one evaluation, terms of sums included

Env = Mapping[str, Fraction]


class Ball(NamedTuple):
    """A number and a bound of its error, both of one arithmetic (float/complex, or mpmath's)."""

    mid: Any
    rad: Any


class Double:
    """Double precision. Overflow is TooLarge; mpmath then decides."""

    price, call_price = 2.0, 1.0  # of an operation, and of a function in addition; see ``llemma.grade.limits``
    eps = 2.0**-51
    pi, e, i = math.pi, math.e, 1j
    zero = 0.0

    def number(self, value: Fraction) -> float:
        try:
            return value.numerator / value.denominator
        except OverflowError as error:
            raise TooLarge from error

    def function(self, name: str) -> Callable[..., Any]:
        real, general = getattr(math, _MATH.get(name, name), None), getattr(cmath, _MATH.get(name, name), None)
        if real is None and general is None:
            raise Undefined(f"the function {name}")

        def call(x: Any) -> Any:
            if isinstance(x, float) and real is not None:
                try:
                    return real(x)
                except ValueError:
                    pass
            if general is None:
                raise Undefined(name)
            return general(x)

        return call

    def power(self, base: Any, exponent: Any) -> Any:
        return base**exponent

    def magnitude(self, value: Any) -> int:
        size = abs(value)
        if not size <= 1e290:
            raise TooLarge
        return int(math.frexp(size)[1])


class Multi:
    """mpmath at a fixed precision, in a context of its own: mpmath's global one belongs to others."""

    def __init__(self, precision: int) -> None:
        self.context = MPContext()
        self.context.prec = precision + 10
        self.price = 6 + (precision / 1000) ** 2
        self.call_price = 20 + 60 * (precision / 1000) ** 2
        self.eps = self.context.mpf(2) ** -precision
        self.pi, self.e, self.i = +self.context.pi, +self.context.e, self.context.mpc(0, 1)
        self.zero = self.context.mpf(0)

    def number(self, value: Fraction) -> Any:
        return self.context.mpf(value.numerator) / value.denominator

    def function(self, name: str) -> Callable[..., Any]:
        found = getattr(self.context, _MPMATH.get(name, name), None)
        if found is None:
            raise Undefined(f"the function {name}")
        call: Callable[..., Any] = found
        return call

    def power(self, base: Any, exponent: Any) -> Any:
        return self.context.power(base, exponent)

    def magnitude(self, value: Any) -> int:
        if not self.context.isfinite(value):
            raise Undefined("an infinite value")
        size = self.context.mag(value)
        return -(10**9) if size == self.context.ninf else int(size)


_MATH = {
    "ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arsinh": "asinh", "arcosh": "acosh",
    "artanh": "atanh",
}  # fmt: skip
_MPMATH = _MATH | {"arccot": "acot", "arcsec": "asec", "arccsc": "acsc"}
_PRICES = {"erf": 30, "gamma": 15}  # times that of a sine, in mpmath
_RECIPROCAL = {"sec": "cos", "csc": "sin", "sech": "cosh", "csch": "sinh", "coth": "tanh", "cot": "tan"}

Arithmetic = Double | Multi
DOUBLE = Double()
_local = threading.local()  # an mpmath context is not to be shared between threads


def multi(precision: int) -> Multi:
    """The arithmetic of this thread with so many bits."""
    found: dict[int, Multi] = _local.__dict__.setdefault("contexts", {})
    if precision not in found:
        found[precision] = Multi(precision)
        if len(found) > 16:
            found.pop(next(iter(found)))
    return found[precision]


def evaluate(node: Node, arithmetic: Arithmetic, point: Env, *, real: bool = False) -> Ball:
    """The value at a point; ``real``: without complex numbers on the way. Raises Undefined or TooLarge."""
    return Evaluation(arithmetic, real=real).ball(node, point)


class Evaluation:
    """One walk over a tree; counts what it does."""

    def __init__(self, arithmetic: Arithmetic, *, real: bool = False) -> None:
        self.k = arithmetic
        self.real = real
        self.left = MAX_OPERATIONS

    def ball(self, node: Node, env: Env) -> Ball:
        self.left -= 1
        if self.left < 0:
            raise TooLarge
        spend(self.k.price)
        try:
            found = getattr(self, "_" + node.op)(node, env)
        except (ZeroDivisionError, ValueError) as error:
            raise Undefined(str(error)) from error
        except OverflowError as error:
            raise TooLarge from error
        if self.k.magnitude(found.mid) > MAX_MAGNITUDE:
            raise TooLarge
        if self.real and not is_real(found.mid):
            raise Undefined("a complex number")
        return Ball(*found)

    def made(self, mid: Any, rad: Any) -> Ball:
        return Ball(mid, rad + self.k.eps * abs(mid))

    def _num(self, node: Node, env: Env) -> Ball:
        assert node.value is not None
        return self.made(self.k.number(node.value), self.k.zero)

    _based = _num

    def _sym(self, node: Node, env: Env) -> Ball:
        return self.made(self.k.number(env[node.name]), self.k.zero)

    def _const(self, node: Node, env: Env) -> Ball:
        if node.name == "inf":
            raise Undefined("infinity")
        return self.made(getattr(self.k, node.name), self.k.zero)

    def _add(self, node: Node, env: Env) -> Ball:
        parts = [self.ball(arg, env) for arg in node.args]
        mid, rad, size = parts[0].mid, parts[0].rad, abs(parts[0].mid)
        for part in parts[1:]:
            mid, rad, size = mid + part.mid, rad + part.rad, size + abs(part.mid)
        return Ball(mid, rad + self.k.eps * size)

    def _neg(self, node: Node, env: Env) -> Ball:
        inner = self.ball(node.args[0], env)
        return Ball(-inner.mid, inner.rad)

    def _mul(self, node: Node, env: Env) -> Ball:
        return self.times(self.ball(node.args[0], env), self.ball(node.args[1], env))

    def times(self, a: Ball, b: Ball) -> Ball:
        return self.made(a.mid * b.mid, abs(a.mid) * b.rad + abs(b.mid) * a.rad + a.rad * b.rad)

    def _div(self, node: Node, env: Env) -> Ball:
        return self.over(self.ball(node.args[0], env), self.ball(node.args[1], env))

    def over(self, a: Ball, b: Ball) -> Ball:
        size = abs(b.mid) - b.rad
        if not size > 0:
            raise Undefined("division by zero")
        mid = a.mid / b.mid
        return self.made(mid, (a.rad + abs(mid) * b.rad) / size)

    def _pct(self, node: Node, env: Env) -> Ball:
        return self.over(self.ball(node.args[0], env), Ball(self.k.number(Fraction(100)), self.k.zero))

    def _deg(self, node: Node, env: Env) -> Ball:
        turn = self.over(self.ball(node.args[0], env), Ball(self.k.number(Fraction(180)), self.k.zero))
        return self.times(turn, self.made(self.k.pi, self.k.zero))

    def _pow(self, node: Node, env: Env) -> Ball:
        return self.power(self.ball(node.args[0], env), self.ball(node.args[1], env), exact(node.args[1], env))

    def power(self, base: Ball, exponent: Ball, whole: Fraction | None) -> Ball:
        """``whole``: the exponent where it is rational; an odd root of a negative number is the real one."""
        k = self.k
        if base.mid == 0 and base.rad == 0:
            if whole is None or whole <= 0:
                raise Undefined("a power of zero")
            return Ball(k.zero, k.zero)
        if not abs(base.mid) > 2 * base.rad:
            return self._power_near_zero(base, whole)
        size = max(k.magnitude(base.mid), 1 - k.magnitude(base.mid), 1)
        reach = k.magnitude(exponent.mid)
        if reach > 40 or size * 2.0 ** max(reach, 0) > MAX_MAGNITUDE:
            raise TooLarge
        if whole is not None and whole.denominator == 1:
            mid = k.power(base.mid, whole.numerator)
        elif whole is not None and whole.denominator % 2 and is_real(base.mid) and base.mid < 0:
            positive = self.power(Ball(-base.mid, base.rad), exponent, whole)
            return positive if whole.numerator % 2 == 0 else Ball(-positive.mid, positive.rad)
        else:
            spend(3 * k.call_price)
            mid = k.power(base.mid, exponent.mid)
        spread = abs(exponent.mid) * base.rad / (abs(base.mid) - base.rad) + (size + 4) * exponent.rad
        return self.made(mid, abs(mid) * (2 * spread + (8 + abs(exponent.mid)) * k.eps))

    def _power_near_zero(self, base: Ball, whole: Fraction | None) -> Ball:
        if whole is None or whole <= 0:
            raise Undefined("a power of what may be zero")
        bound = abs(base.mid) + base.rad
        return Ball(self.k.zero, self.k.power(bound, self.k.number(min(whole, Fraction(50)))) if bound else bound)

    def _root(self, node: Node, env: Env) -> Ball:
        degree = exact(node.args[0], env)
        inner = self.ball(node.args[1], env)
        if degree is None:
            one_over = self.over(Ball(self.k.number(Fraction(1)), self.k.zero), self.ball(node.args[0], env))
            return self.power(inner, one_over, None)
        if degree == 0:
            raise Undefined("a root of degree 0")
        return self.power(inner, self.fraction(1 / degree), 1 / degree)

    def fraction(self, value: Fraction) -> Ball:
        return self.made(self.k.number(value), self.k.zero)

    def _log(self, node: Node, env: Env) -> Ball:
        base, inner = (self.apply("ln", self.ball(arg, env)) for arg in node.args)
        return self.over(inner, base)

    def _fact(self, node: Node, env: Env) -> Ball:
        n = exact(node.args[0], env)
        if n is None:
            inner = self.ball(node.args[0], env)
            return self.apply("gamma", Ball(inner.mid + 1, inner.rad))
        value = factorial(n)
        return self.fraction(value)

    def _binom(self, node: Node, env: Env) -> Ball:
        n, k = (exact(arg, env) for arg in node.args)
        if n is None or k is None:
            raise Undefined("a binomial coefficient of what is not rational")
        value = binomial(n, k)
        if value is None:
            raise Undefined("a binomial coefficient of what is no natural number")
        return self.fraction(value)

    def _mod(self, node: Node, env: Env) -> Ball:
        value = exact(node, env)
        if value is None:
            raise Undefined("a remainder of what is not rational")
        return self.fraction(value)

    def _fn(self, node: Node, env: Env) -> Ball:
        value = exact(node, env) if node.name in ("gcd", "lcm", "floor", "ceil") else None
        if value is not None:
            return self.fraction(value)
        args = [self.ball(arg, env) for arg in node.args]
        if node.name in ("max", "min") and all(is_real(arg.mid) for arg in args):
            chosen = max(args, key=lambda b: b.mid) if node.name == "max" else min(args, key=lambda b: b.mid)
            return Ball(chosen.mid, max(arg.rad for arg in args))
        if len(args) != 1:
            raise Undefined(f"{node.name} of {len(args)} arguments")
        return self.apply(node.name, args[0])

    def apply(self, name: str, inner: Ball) -> Ball:
        """A function of one argument; the error is that of moving the argument by its own."""
        if name == "abs":
            return self.made(abs(inner.mid), inner.rad)
        if name == "log":
            return self.over(self.apply("ln", inner), self.apply("ln", self.fraction(Fraction(10))))
        if name in ("floor", "ceil", "sign"):
            return self._step(name, inner)
        if name in _RECIPROCAL:
            return self.over(self.fraction(Fraction(1)), self.apply(_RECIPROCAL[name], inner))
        if name not in CONTINUOUS:
            raise Undefined(f"the function {name}")
        if name == "ln" and not abs(inner.mid) > inner.rad:
            raise Undefined("the logarithm of zero")
        # beyond it trigonometric functions cost more the larger the argument is; gamma grows like a factorial
        if self.k.magnitude(inner.mid) > (14 if name in ("gamma", "sinh", "cosh", "tanh") else 4_000):
            raise TooLarge
        spend(self.k.call_price * _PRICES.get(name, 1))
        function = self.k.function(name)
        mid = function(inner.mid)
        moved = abs(function(inner.mid + inner.rad) - mid) if inner.rad else self.k.zero
        return Ball(mid, 2 * moved + self.k.eps * (4 * abs(mid) + abs(inner.mid) * self.k.eps))

    def _step(self, name: str, inner: Ball) -> Ball:
        if not is_real(inner.mid):
            raise Undefined(f"{name} of a complex number")
        if name == "sign":
            if not abs(inner.mid) > inner.rad:
                raise Undefined("the sign of what may be zero")
            return self.fraction(Fraction(1 if inner.mid > 0 else -1))
        if self.k.magnitude(inner.mid) > 50:
            raise TooLarge
        low, high = (math.floor(inner.mid + sign * inner.rad) for sign in (-1, 1))
        if low != high:
            raise Undefined(f"{name} of what may be an integer")
        return self.fraction(Fraction(low if name == "floor" else low + 1))

    def _call(self, node: Node, env: Env) -> Ball:
        """An unknown function: a number that depends on its name and on the value of its arguments."""
        found = self.fraction(unit(node.name + "("))
        for place, arg in enumerate(node.args):
            moved = self.times(self.fraction(unit(f"{node.name}/{place}") + place), self.ball(arg, env))
            bent = self.apply("sin", moved)  # f(2x) is not 2 f(x)
            found = self.made(found.mid + moved.mid + bent.mid, found.rad + moved.rad + bent.rad)
        return found

    def _series(self, node: Node, env: Env) -> Ball:
        """A sum or product over an integer range, term by term."""
        ends = bounds(exact(node.args[0], env), exact(node.args[1], env))
        if ends is None:
            raise Undefined("a series without numeric bounds")
        total = self.fraction(Fraction(0 if node.op == "sum" else 1))
        for k in range(ends[0], ends[1] + 1):
            term = self.ball(node.args[2], {**env, node.name: Fraction(k)})
            total = (
                self.made(total.mid + term.mid, total.rad + term.rad) if node.op == "sum" else self.times(total, term)
            )
            if self.k.magnitude(total.mid) > MAX_MAGNITUDE:
                raise TooLarge
        return total

    _sum = _prod = _series

    def _pm(self, node: Node, env: Env) -> Ball:
        raise Undefined("a double sign")


def is_real(value: Any) -> bool:
    """Whether a number of either arithmetic has no imaginary part."""
    return not hasattr(value, "imag") or value.imag == 0

"""Quadratic equations with integer roots, solved by trying factor pairs.

Does not use the quadratic formula and poses no equation without real roots.
"""

from __future__ import annotations

from functools import partial
from random import Random

from llemma.sources.generated.base import Draft, Family, Text

_ASKS = (
    "Solve ${equation}$.",
    "Find all solutions of ${equation}$.",
    "What are the roots of ${equation}$?",
    "Solve ${equation}$ by factoring.",
)


def _polynomial(a: int, b: int, c: int) -> str:
    square = "x^2" if a == 1 else f"{a}x^2"
    middle = "" if b == 0 else {1: "+x", -1: "-x"}.get(b, f"{b:+d}x")
    return f"{square}{middle}{c:+d}"


def _code(a: int, b: int, c: int) -> str:
    square = "x * x" if a == 1 else f"{a} * x * x"
    middle = f" {'+' if b > 0 else '-'} {abs(b)} * x" if b else ""
    return f"{square}{middle} {'+' if c > 0 else '-'} {abs(c)}"


def _sample(rng: Random, level: int) -> Draft:
    if level == 1:
        sign = rng.choice((-1, 1))
        return _draft(1, sign * rng.randint(1, 12), sign * rng.randint(1, 12))
    if level == 2:
        return _draft(1, -rng.randint(1, 12), rng.randint(1, 12))
    if level == 3:
        return _draft(rng.randint(2, 5), _signed(rng, 1, 9), _signed(rng, 1, 9))
    return _draft(1, _signed(rng, 13, 20), _signed(rng, 2, 20))


def _signed(rng: Random, low: int, high: int) -> int:
    return rng.choice((-1, 1)) * rng.randint(low, high)


def _draft(a: int, p: int, q: int) -> Draft:
    low, high = min(p, q), max(p, q)
    return Draft(f"quadratic:{a},{low},{high}", partial(_write, a, low, high))


def _pairs(p: int, q: int, limit: int) -> str:
    """The factor pairs of ``|p*q|`` up to ``limit``, with sum or difference, until the wanted pair comes."""
    product = abs(p * q)
    wanted = min(abs(p), abs(q))
    sign = 1 if p * q > 0 else -1
    tried = []
    for small in range(1, wanted + 1):
        large = product // small
        if product % small or large > limit:
            continue
        first, second = (large, small) if sign < 0 else (small, large)
        tried.append(f"{small}*{large}={product}, {first}{'+' if sign > 0 else '-'}{second}={first + sign * second}")
    return "; ".join(tried)


def _factor(root: int) -> str:
    return f"(x{-root:+d})"


def _write(a: int, p: int, q: int, rng: Random) -> Text:
    b, c = -(p + q), p * q
    equation = f"{_polynomial(a, a * b, a * c)}=0"
    start = f"Divide by {a}: {_polynomial(1, b, c)}=0. " if a > 1 else f"{equation}. "
    pairs = _pairs(p, q, 20 if max(abs(p), abs(q)) > 12 else 12)
    if p == q:
        roots, answer = f"x={p}", str(p)
    else:
        roots, answer = f"x={p} or x={q}", f"{p}, {q}"
    solution = f"{start}{pairs}. {_factor(p)}{_factor(q)}=0. So {roots}."
    program = f"print(*[x for x in range(-50, 51) if {_code(a, a * b, a * c)} == 0], sep=', ')"
    return Text(rng.choice(_ASKS).format(equation=equation), solution, answer, program)


QUADRATIC = Family(
    name="quadratic",
    difficulty="1: roots of one sign, at most 12; 2: of two signs; 3: a leading factor; beyond: a root above 12",
    levels=((1, 2.0), (2, 2.0), (3, 1.0)),
    beyond=(4,),
    sample=_sample,
)

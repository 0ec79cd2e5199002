"""Where expressions in variables are compared: fixed points that depend on names and constants only.

Two expressions that are analytic and agree at random points are the same (Schwartz 1980, Zippel 1979). Absolute values,
steps and even roots are not: ``|x + 5|`` is ``x + 5`` from -5 on. So there are points of three kinds: *main* ones, all
positive, where roots and logarithms live; points with the *other signs*; and for functions that break, points on
each side of where the constants in them may break them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from llemma.grade.node import Node, variables

Point = Mapping[str, Fraction]

_BREAKING = frozenset(
    ["abs", "sign", "floor", "ceil", "max", "min", "arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc"]
)
_DISCRETE = frozenset(("fact", "binom", "sum", "prod", "mod"))
_MAX_CONSTANTS = 6  # of an expression, for points on each side of them and of their quotients
_MAX_PATTERNS = 3  # of signs: tells any two of eight variables apart
_MAX_VARIABLES = 3  # that are moved along the constants, one at a time


def _hash(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "replace"))


@lru_cache(maxsize=4096)
def unit(name: str) -> Fraction:
    """A number in 0.4..1.4 that depends on nothing but the name."""
    return Fraction(_hash(name) % 9973 + 4001, 9973)


def discrete(node: Node) -> bool:
    """Whether it only makes sense at natural numbers: factorials, binomials, series, remainders, ``(-1)^n``."""
    if node.op in _DISCRETE:
        return True
    if node.op == "pow" and _negative(node.args[0]) and variables(node.args[1]):
        return True
    return any(discrete(arg) for arg in node.args)


def _negative(node: Node) -> bool:
    if node.op == "neg":
        return not variables(node.args[0])
    return node.op == "num" and node.value is not None and node.value < 0


def main(names: frozenset[str], *, whole: bool = False) -> list[Point]:
    """The points where both expressions should have values; ``whole``: natural numbers, for discrete ones."""
    if not names:
        return [{}]
    if whole:
        return [
            {name: Fraction(zlib.crc32(name.encode("utf-8", "replace")) % 7 + 4 + k) for name in names} for k in (0, 3)
        ]
    return [
        {name: unit(name) + Fraction(1, 7) for name in names},
        {name: 3 * unit(name + "'") + Fraction(1, 11) for name in names},
    ]


def elsewhere(names: frozenset[str], *nodes: Node, whole: bool = False) -> Iterator[Point]:
    """The other points: a difference there counts, that there is no value does not."""
    if not names:
        return
    first, second = main(names, whole=whole)
    if whole:
        past = int(max([abs(c) for c in _constants(nodes) if c < 1000], default=0))
        for k in (5, 29, 102 + past):
            yield {name: value + k for name, value in first.items()}
        return
    order = sorted(names)
    yield {name: -unit(name + '"') - Fraction(2, 13) for name in order}
    for bit in range(min((len(order) - 1).bit_length(), _MAX_PATTERNS)):
        for parity in (0, 1):
            yield {name: -second[name] if (i >> bit) % 2 == parity else first[name] for i, name in enumerate(order)}
    if any(breaks(node) for node in nodes):
        for name in order[:_MAX_VARIABLES]:
            for value in _between(_constants(nodes)):
                yield {**first, name: value}


def breaks(node: Node) -> bool:
    """Whether it may be given by different formulas in different places: it has a step, a corner or an even root."""
    if node.op == "fn" and node.name in _BREAKING and variables(node):
        return True
    if node.op == "root" and node.args[1].op != "sym" and variables(node.args[1]):
        return True
    if node.op == "pow" and node.args[0].op != "sym" and variables(node.args[0]):
        exponent = node.args[1]
        if exponent.op != "num" and not variables(exponent):
            return True
    return any(breaks(arg) for arg in node.args)


def _constants(nodes: tuple[Node, ...]) -> list[Fraction]:
    """The smallest different numbers in expressions, without signs."""
    found: set[Fraction] = set()

    def collect(node: Node) -> None:
        if node.op == "num" and node.value:
            found.add(abs(node.value))
        for arg in node.args:
            collect(arg)

    for node in nodes:
        collect(node)
    return sorted(found)[:_MAX_CONSTANTS]


def _between(constants: list[Fraction]) -> list[Fraction]:
    """Numbers between the constants, their quotients and 0, beyond all of them, and the opposites of these numbers."""
    marks = sorted({Fraction(0), *constants, *(a / b for a in constants for b in constants)})
    found = [(a + b) / 2 for a, b in pairwise(marks)]
    found += [marks[-1] * 2 + Fraction(7, 3), marks[-1] * 20 + Fraction(700, 3)]
    return [*found, *(-value for value in found)]

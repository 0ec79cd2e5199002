"""Conversions of length, time, mass, volume and money within one system of units.

Does not convert between metric and imperial units, where factors are not whole.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from random import Random

from llemma.sources.generated.base import Draft, Family, Text
from llemma.sources.generated.columns import add_columns, times

# (larger unit, smaller unit, factor); units by their singular.
_FACTORS = (
    ("hour", "minute", 60),
    ("minute", "second", 60),
    ("day", "hour", 24),
    ("week", "day", 7),
    ("year", "month", 12),
    ("foot", "inch", 12),
    ("yard", "foot", 3),
    ("meter", "centimeter", 100),
    ("centimeter", "millimeter", 10),
    ("kilometer", "meter", 1000),
    ("kilogram", "gram", 1000),
    ("gram", "milligram", 1000),
    ("liter", "milliliter", 1000),
    ("dollar", "cent", 100),
    ("quarter", "cent", 25),
    ("dime", "cent", 10),
    ("nickel", "cent", 5),
)
# A chain of two conversions, the amounts in training and beyond it; None where the working would grow too long.
_CHAINS = (
    (("hour", "minute", "second"), range(2, 10), range(10, 13)),
    (("day", "hour", "minute"), range(2, 10), None),
    (("week", "day", "hour"), None, range(10, 13)),
    (("yard", "foot", "inch"), range(2, 5), range(10, 13)),
    (("meter", "centimeter", "millimeter"), range(2, 31), range(31, 100)),
    (("kilometer", "meter", "centimeter"), range(2, 31), range(31, 100)),
    (("kilogram", "gram", "milligram"), range(2, 31), range(31, 100)),
)
_SHORT = tuple((chain, counts) for chain, counts, _ in _CHAINS if counts is not None)
_LONG = tuple((chain, counts) for chain, _, counts in _CHAINS if counts is not None)
_FACTOR = {(big, small): factor for big, small, factor in _FACTORS}
_PLURAL = {"foot": "feet", "inch": "inches"}
_ASKS = (
    "How many {small} are in {amount}?",
    "Convert {amount} to {small}.",
    "Express {amount} in {small}.",
    "What is {amount} in {small}?",
)
_ASKS_MONEY = ("How many {small} are {amount} worth?", "Convert {amount} to {small}.", "What is {amount} in {small}?")
_ASKS_UP = ("How many {big} make {amount}?", "Convert {amount} to {big}.", "Express {amount} in {big}.")


def plural(unit: str) -> str:
    """The plural of a unit in the table: ``inches``, ``feet``, ``hours``."""
    return _PLURAL.get(unit, f"{unit}s")


def amount(n: int, unit: str) -> str:
    """``"1 foot"``, ``"3 feet"``."""
    return f"{n} {unit if n == 1 else plural(unit)}"


def _count(rng: Random, factor: int) -> int:
    if factor in (10, 100, 1000):
        return rng.randint(2, 99)
    return rng.randint(2, 12 if factor == 60 or factor <= 12 else 9)


def _sample(rng: Random, level: int) -> Draft:
    # keys name the arithmetic, not the units: 7 kilometers in meters is 7 kilograms in grams over again
    if level <= 3:
        big, small, factor = rng.choice(_FACTORS)
        n = _count(rng, factor)
        if level == 1:
            return Draft(f"units:{n}*{factor}", partial(_write_down, n, 0, (big, small)))
        if level == 2 and small == "cent" and big != "dollar":
            big, factor = "dollar", 100
        if level == 2:
            n, rest = rng.randint(1, min(n, 20)), rng.randint(1, factor - 1)
            return Draft(f"units:{n}*{factor}+{rest}", partial(_write_down, n, rest, (big, small)))
        return Draft(f"units:{n * factor}/{factor}", partial(_write_up, n, big, small))
    chain, counts = rng.choice(_SHORT if level == 4 else _LONG)
    n, first, second = rng.choice(counts), _FACTOR[chain[0], chain[1]], _FACTOR[chain[1], chain[2]]
    if level == 4:
        return Draft(f"units:{n}*{first}*{second}", partial(_write_down, n, 0, chain))
    rest = rng.randint(1, min(first - 1, 99))
    return Draft(f"units:({n}*{first}+{rest})*{second}", partial(_write_down, n, rest, chain))


def _write_down(n: int, rest: int, chain: tuple[str, ...], rng: Random) -> Text:
    small = chain[-1]
    told = amount(n, chain[0]) + (f" {amount(rest, chain[1])}" if rest else "")
    asks = _ASKS_MONEY if chain[0] in ("quarter", "dime", "nickel") else _ASKS
    steps, value, code = [], n, str(n)
    for place, (big, less) in enumerate(pairwise(chain)):
        factor = _FACTOR[big, less]
        steps.append(f"1 {big} is {amount(factor, less)}. {times(value, factor)}.")
        value, code = value * factor, f"{code} * {factor}"
        if place == 0 and rest:
            shown = f"{value}+{rest}={value + rest}" if factor in (10, 100, 1000) else add_columns(value, rest)
            steps.append(f"Add {rest}: {shown}.")
            value, code = value + rest, f"({code} + {rest})" if len(chain) > 2 else f"{code} + {rest}"
    question = rng.choice(asks).format(small=plural(small), amount=told)
    return Text(question, " ".join(steps), str(value), f"print({code})")


def _write_up(n: int, big: str, small: str, rng: Random) -> Text:
    factor = _FACTOR[big, small]
    total = n * factor
    middle = f"{total // 10}/{factor // 10}=" if factor == 60 else ""
    solution = f"1 {big} is {amount(factor, small)}. {total}/{factor}={middle}{n}."
    question = rng.choice(_ASKS_UP).format(big=plural(big), amount=amount(total, small))
    return Text(question, solution, str(n), f"print({total} // {factor})")


UNITS = Family(
    name="units",
    difficulty="1: to a smaller unit; 2: from two units; 3: to a larger unit; 4: two steps; beyond: 2 and 4 at once",
    levels=((1, 3.0), (2, 2.0), (3, 2.0), (4, 1.0)),
    beyond=(5,),
    sample=_sample,
)

"""Percentages by way of ten percent: a part of a number, a rise or fall, what percent one number is of another.

Every result is a whole number. Does not pose reverse percentages or compound growth.
"""

from __future__ import annotations

from functools import partial
from random import Random

from llemma.sources.generated.base import Draft, Family, Text
from llemma.sources.generated.columns import add_columns, subtract_columns, times

_ASK_OF = (
    "What is {p}% of {n}?",
    "Find {p}% of {n}.",
    "Calculate {p} percent of {n}.",
    "There are {n} students in a school and {p}% of them walk to school. How many students walk?",
    "A book has {n} pages. Ana has read {p}% of it. How many pages has she read?",
)
_ASK_WHAT = (
    "What percent of {n} is {m}?",
    "{m} is what percent of {n}?",
    "A test has {n} points. Leo gets {m} points. What percent is that?",
    "Of {n} seats, {m} are taken. What percent of the seats are taken?",
)
_ASK_RISE = (
    "Increase {n} by {p}%.",
    "A coat costs {n} dollars. The price rises by {p}%. What is the new price in dollars?",
    "A town of {n} people grows by {p}%. How many people live there now?",
    "What is {n} after an increase of {p} percent?",
)
_ASK_FALL = (
    "Decrease {n} by {p}%.",
    "A coat costs {n} dollars. The price falls by {p}%. What is the new price in dollars?",
    "A shop takes {p}% off a price of {n} dollars. What is the price now in dollars?",
    "What is {n} after a decrease of {p} percent?",
)


def _sample(rng: Random, level: int) -> Draft:
    if level == 1:
        p, n = 10 * rng.randint(1, 9), 10 * rng.randint(2, 12 if rng.random() < 0.5 else 30)
        return Draft(f"percent:{p}%{n}", partial(_write_of, p, n))
    if level == 2:
        p, n = 10 * rng.randint(1, 9), 10 * rng.randint(2, 20)
        return Draft(f"percent:{p * n // 100} of {n}", partial(_write_what, p, n))
    if level == 3:
        p, n, sign = 10 * rng.randint(1, 9), 10 * rng.randint(2, 30), rng.choice((-1, 1))
        return Draft(f"percent:{n}{sign * p:+d}%", partial(_write_change, p, n, sign))
    if level == 4:
        p, n = 10 * rng.randint(0, 9) + 5, 20 * rng.randint(1, 30)
        return Draft(f"percent:{p}%{n}", partial(_write_of_five, p, n))
    p, n = 10 * rng.randint(1, 9) + rng.choice((1, 2, 3, 4, 6, 7, 8, 9)), 100 * rng.randint(2, 9)
    return Draft(f"percent:{p}%{n}", partial(_write_of_any, p, n))


def _tens(p: int, n: int) -> str:
    """The working of ``p`` % of ``n`` for multiples of ten."""
    working = f"10% of {n}: {n}/10={n // 10}."
    return working if p == 10 else f"{working} {p}%: {times(n // 10, p // 10)}."


def _of(p: int, n: int, solution: str, rng: Random) -> Text:
    return Text(rng.choice(_ASK_OF).format(p=p, n=n), solution, str(p * n // 100), f"print({p} * {n} // 100)")


def _write_of(p: int, n: int, rng: Random) -> Text:
    return _of(p, n, _tens(p, n), rng)


def _write_of_five(p: int, n: int, rng: Random) -> Text:
    ten = n // 10
    if p == 5:
        return _of(p, n, f"10% of {n}: {n}/10={ten}. 5%: {ten}/2={ten // 2}.", rng)
    total = add_columns((p - 5) * n // 100, ten // 2)
    return _of(p, n, f"{_tens(p - 5, n)} 5%: {ten}/2={ten // 2}. {p}%: {total}.", rng)


def _write_of_any(p: int, n: int, rng: Random) -> Text:
    return _of(p, n, f"1% of {n}: {n}/100={n // 100}. {p}%: {times(p, n // 100)}.", rng)


def _write_what(p: int, n: int, rng: Random) -> Text:
    m = p * n // 100
    solution = f"10% of {n}: {n}/10={n // 10}. {m}/{n // 10}={p // 10}. {p // 10}*10={p}."
    return Text(rng.choice(_ASK_WHAT).format(n=n, m=m), solution, str(p), f"print(100 * {m} // {n})")


def _write_change(p: int, n: int, sign: int, rng: Random) -> Text:
    part = p * n // 100
    if sign > 0:
        asks, change = _ASK_RISE, f"Add: {add_columns(n, part)}."
    else:
        asks, change = _ASK_FALL, f"Subtract: {subtract_columns(n, part)}."
    value = n + sign * part
    program = f"part = {n} * {p} // 100\nprint({n} {'+' if sign > 0 else '-'} part)"
    return Text(rng.choice(asks).format(n=n, p=p), f"{_tens(p, n)} {change} So {value}.", str(value), program)


PERCENT = Family(
    name="percent",
    difficulty="1: tens of percent; 2: what percent; 3: rise and fall; 4: fives of percent; beyond: any percent",
    levels=((1, 3.0), (2, 2.0), (3, 2.0), (4, 1.0)),
    beyond=(5,),
    sample=_sample,
)

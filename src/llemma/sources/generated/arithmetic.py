"""Addition, subtraction, multiplication and division of whole numbers, worked digit by digit.

Does not touch decimals or negative operands.
"""

from __future__ import annotations

from functools import partial
from random import Random

from llemma.sources.generated.base import Draft, Family, Text
from llemma.sources.generated.columns import add_columns, long_division, product_columns, subtract_columns

_ASK_SUM = (
    "What is {a} + {b}?",
    "Calculate {a}+{b}.",
    "Add {a} and {b}.",
    "Find the sum of {a} and {b}.",
    "Compute ${a}+{b}$.",
)
_ASK_DIFFERENCE = (
    "What is {a} - {b}?",
    "Calculate {a}-{b}.",
    "Subtract {b} from {a}.",
    "Take {b} away from {a}.",
    "Compute ${a}-{b}$.",
)
_ASK_PRODUCT = (
    "What is {a} * {b}?",
    "Calculate {a}*{b}.",
    "Multiply {a} by {b}.",
    "Find the product of {a} and {b}.",
    "Compute ${a} \\times {b}$.",
)
_ASK_EXACT = ("What is {a} / {b}?", "Calculate {a}/{b}.", "Divide {a} by {b}.", "Compute ${a} \\div {b}$.")
_ASK_QUOTIENT = (
    "What is the quotient when {a} is divided by {b}?",
    "How many times does {b} fit into {a}?",
    "Divide {a} by {b} and ignore the remainder.",
)
_ASK_REMAINDER = (
    "What is the remainder when {a} is divided by {b}?",
    "Find the remainder of {a} divided by {b}.",
    "Divide {a} by {b}. What is the remainder?",
)


def _number(rng: Random, digits: int) -> int:
    low = 0 if digits == 1 else 10 ** (digits - 1)
    return rng.randrange(low, 10**digits)


def _sample_sum(rng: Random, level: int) -> Draft:
    a = _number(rng, level)
    b = _number(rng, level if rng.random() < 0.6 else rng.randint(1, level))
    return Draft(f"addition:{min(a, b)}+{max(a, b)}", partial(_write_sum, a, b))


def _write_sum(a: int, b: int, rng: Random) -> Text:
    if rng.random() < 0.5:
        a, b = b, a
    return Text(rng.choice(_ASK_SUM).format(a=a, b=b), f"{add_columns(a, b)}.", str(a + b), f"print({a} + {b})")


def _sample_difference(rng: Random, level: int) -> Draft:
    a = _number(rng, level)
    b = _number(rng, level if rng.random() < 0.6 else rng.randint(1, level))
    if a < b and rng.random() < 0.6:  # about one problem in seven has a negative result
        a, b = b, a
    return Draft(f"subtraction:{a}-{b}", partial(_write_difference, a, b))


def _write_difference(a: int, b: int, rng: Random) -> Text:
    if a < b:
        solution = f"{a} is less than {b}, so take {b}-{a} and negate. {subtract_columns(b, a)}. So {a - b}."
    else:
        solution = f"{subtract_columns(a, b)}. So {a - b}."
    return Text(rng.choice(_ASK_DIFFERENCE).format(a=a, b=b), solution, str(a - b), f"print({a} - {b})")


# Number of digits of the two factors.
_FACTORS = {1: (1, 1), 2: (2, 1), 3: (3, 1), 4: (2, 2), 5: (4, 1), 6: (3, 2)}


def _sample_product(rng: Random, level: int) -> Draft:
    first, second = _FACTORS[level]
    a = rng.randrange(2 if first == 1 else 10 ** (first - 1), 10**first)
    b = rng.randrange(2 if second == 1 else 11, 10**second)
    return Draft(f"multiplication:{min(a, b)}*{max(a, b)}", partial(_write_product, a, b))


def _write_product(a: int, b: int, rng: Random) -> Text:
    solution = f"{product_columns(a, b)}."
    asked = (a, b) if rng.random() < 0.5 else (b, a)
    question = rng.choice(_ASK_PRODUCT).format(a=asked[0], b=asked[1])
    return Text(question, solution, str(a * b), f"print({asked[0]} * {asked[1]})")


def _sample_quotient(rng: Random, level: int) -> Draft:
    divisor = rng.randint(2, 9)
    if level == 1:
        n = divisor * rng.randint(1, 9) + rng.randrange(divisor)
    else:
        n = rng.randrange(max(10 * divisor, 10 ** (level - 1)), 10**level)
    if rng.random() < 0.4:
        n -= n % divisor
        if n < 10 ** (level - 1) and level > 1:
            n += divisor
    return Draft(f"division:{n}/{divisor}", partial(_write_quotient, n, divisor))


def _write_quotient(n: int, divisor: int, rng: Random) -> Text:
    quotient, rest = divmod(n, divisor)
    working = long_division(n, divisor)
    if rest and (n + divisor) % 2 == 0:  # what is asked follows from the numbers: one key, one answer
        question = rng.choice(_ASK_REMAINDER).format(a=n, b=divisor)
        return Text(question, f"{working}. Remainder {rest}.", str(rest), f"print({n} % {divisor})")
    question = rng.choice(_ASK_QUOTIENT if rest else _ASK_EXACT).format(a=n, b=divisor)
    return Text(question, f"{working}. Quotient {quotient}.", str(quotient), f"print({n} // {divisor})")


ADDITION = Family(
    name="addition",
    difficulty="digits of the longer number",
    levels=((1, 1.0), (2, 4.0), (3, 3.0), (4, 1.0)),
    beyond=(5, 6),
    sample=_sample_sum,
)
SUBTRACTION = Family(
    name="subtraction",
    difficulty="digits of the longer number",
    levels=((1, 1.0), (2, 4.0), (3, 3.0), (4, 1.0)),
    beyond=(5, 6),
    sample=_sample_difference,
)
MULTIPLICATION = Family(
    name="multiplication",
    difficulty="digits of the factors: 1x1, 2x1, 3x1, 2x2; beyond 4x1, 3x2",
    levels=((1, 2.0), (2, 4.0), (3, 2.0), (4, 1.0)),
    beyond=(5, 6),
    sample=_sample_product,
)
DIVISION = Family(
    name="division",
    difficulty="1: from the times table; n: an n-digit number by a digit",
    levels=((1, 3.0), (2, 4.0), (3, 2.0)),
    beyond=(4, 5),
    sample=_sample_quotient,
)

"""Greatest common divisors by Euclid, least common multiples, prime factors and remainders of products.

Answers are single whole numbers. Does not pose proofs or yes/no questions.
"""

from __future__ import annotations

from functools import partial
from math import gcd, lcm
from random import Random

from llemma.sources.generated.base import Draft, Family, Text
from llemma.sources.generated.columns import times

_ASK_GCD = (
    "What is the greatest common divisor of {a} and {b}?",
    "Find the gcd of {a} and {b}.",
    "Compute $\\gcd({a},{b})$.",
    "What is the largest number that divides both {a} and {b}?",
)
_ASK_LCM = (
    "What is the least common multiple of {a} and {b}?",
    "Find the lcm of {a} and {b}.",
    "What is the smallest positive number that both {a} and {b} divide?",
)
_ASK_PRIME = (
    "What is the largest prime factor of {n}?",
    "Find the greatest prime that divides {n}.",
    "Factor {n} into primes. What is the largest one?",
)
_ASK_MODULAR = (
    "What is the remainder when {a}*{b} is divided by {m}?",
    "Find the remainder of ${a} \\times {b}$ divided by {m}.",
    "Compute ${a} \\cdot {b} \\bmod {m}$.",
)
_LARGEST_PRIME = """\
while p * p <= n:
    if n % p == 0:
        n //= p
    else:
        p += 1
print(n)"""
# Per level the least and most number for gcd, lcm, prime factors and products. The larger number of a pair is above
# the pairs of the level before, so that a problem has one difficulty.
_RANGES = {
    1: ((2, 30), (2, 9), (4, 40), (3, 20)),
    2: ((10, 60), (6, 15), (41, 100), (10, 50)),
    3: ((30, 99), (10, 24), (101, 200), (30, 99)),
    4: ((100, 300), (25, 50), (201, 600), (100, 300)),
}
_FLOORS = {1: (1, 1, 1), 2: (30, 9, 20), 3: (60, 15, 50), 4: (99, 24, 99)}  # for gcd, lcm, products


def _sample(rng: Random, level: int) -> Draft:
    for_gcd, for_lcm, for_prime, for_product = _RANGES[level]
    gcd_floor, lcm_floor, product_floor = _FLOORS[level]
    kind = rng.randrange(4)
    if kind == 0:
        a, b = _gcd_pair(rng, *for_gcd, gcd_floor)
        return Draft(f"number_theory:gcd({b},{a})", partial(_write_gcd, a, b))
    if kind == 1:
        a, b = _lcm_pair(rng, *for_lcm, lcm_floor)
        return Draft(f"number_theory:lcm({b},{a})", partial(_write_lcm, a, b))
    if kind == 2:
        n = rng.randint(*for_prime)
        while prime_factors(n)[-1] > 47:  # larger primes are not recognised at sight
            n = rng.randint(*for_prime)
        return Draft(f"number_theory:prime({n})", partial(_write_prime, n))
    a, b, m = rng.randint(*for_product), rng.randint(product_floor + 1, for_product[1]), rng.randint(2, 9)
    return Draft(f"number_theory:{min(a, b)}*{max(a, b)}%{m}", partial(_write_modular, a, b, m))


def _gcd_pair(rng: Random, low: int, high: int, floor: int) -> tuple[int, int]:
    """Two different numbers, the larger first, most of them with a common divisor above 1."""
    while True:
        shared = rng.randint(1, min(15, high // 3)) if rng.random() < 0.8 else 1
        a, b = (shared * rng.randint(-(-low // shared), high // shared) for _ in range(2))
        if a != b and max(a, b) > floor:
            return max(a, b), min(a, b)


def _lcm_pair(rng: Random, low: int, high: int, floor: int) -> tuple[int, int]:
    """Two different numbers, the larger first, whose lcm is the larger one times a digit."""
    while True:
        a, b = rng.randint(low, high), rng.randint(low, high)
        a, b = max(a, b), min(a, b)
        if a != b and a > floor and b // gcd(a, b) <= 9:
            return a, b


def prime_factors(n: int) -> list[int]:
    """The prime factors of n >= 2 in rising order, with repetition."""
    found, divisor = [], 2
    while divisor * divisor <= n:
        while n % divisor == 0:
            found.append(divisor)
            n //= divisor
        divisor += 1
    return [*found, n] if n > 1 else found


def _euclid(a: int, b: int) -> str:
    steps = []
    while b:
        steps.append(f"{a}={b}*{a // b}+{a % b}")
        a, b = b, a % b
    return f"{'; '.join(steps)}. gcd {a}."


def _write_gcd(a: int, b: int, rng: Random) -> Text:
    shown = (a, b) if rng.random() < 0.5 else (b, a)
    question = rng.choice(_ASK_GCD).format(a=shown[0], b=shown[1])
    return Text(question, _euclid(a, b), str(gcd(a, b)), f"from math import gcd\nprint(gcd({shown[0]}, {shown[1]}))")


def _write_lcm(a: int, b: int, rng: Random) -> Text:
    shared, shown = gcd(a, b), (a, b) if rng.random() < 0.5 else (b, a)
    solution = f"{_euclid(a, b)} {b}/{shared}={b // shared}, {times(a, b // shared)}."
    question = rng.choice(_ASK_LCM).format(a=shown[0], b=shown[1])
    return Text(question, solution, str(lcm(a, b)), f"from math import lcm\nprint(lcm({shown[0]}, {shown[1]}))")


def _write_prime(n: int, rng: Random) -> Text:
    factors, rest, steps = prime_factors(n), n, []
    for factor in factors[:-1]:
        steps.append(f"{rest}={factor}*{rest // factor}")
        rest //= factor
    solution = f"{'; '.join([*steps, f'{rest} is prime'])}. Largest {rest}."
    program = f"n, p = {n}, 2\n{_LARGEST_PRIME}"
    return Text(rng.choice(_ASK_PRIME).format(n=n), solution, str(rest), program)


def _write_modular(a: int, b: int, m: int, rng: Random) -> Text:
    if rng.random() < 0.5:
        a, b = b, a
    small, other = a % m, b % m
    product = small * other
    solution = (
        f"{a}={m}*{a // m}+{small}. {b}={m}*{b // m}+{other}. "
        f"{small}*{other}={product}. {product}={m}*{product // m}+{product % m}. Remainder {product % m}."
    )
    return Text(rng.choice(_ASK_MODULAR).format(a=a, b=b, m=m), solution, str(product % m), f"print({a} * {b} % {m})")


NUMBER_THEORY = Family(
    name="number_theory",
    difficulty="size of the numbers: about 30, 60, 100; beyond: above what training has",
    levels=((1, 3.0), (2, 2.0), (3, 1.0)),
    beyond=(4,),
    sample=_sample,
)

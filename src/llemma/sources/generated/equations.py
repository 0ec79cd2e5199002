"""Linear equations in one unknown with an integer solution.

Does not pose systems, inequalities or equations without exactly one solution.
"""

from __future__ import annotations

from functools import partial
from random import Random

from llemma.sources.generated.base import Draft, Family, Text

_ASKS = (
    "Solve for {x}: ${equation}$.",
    "If ${equation}$, what is {x}?",
    "Solve ${equation}$.",
    "Find {x} when ${equation}$.",
    "What value of {x} makes ${equation}$ true?",
)
_LETTERS = "xxxynt"


def side(a: int, b: int, x: str) -> str:
    """``a*x + b`` as written: ``3x+5``, ``x-2``, ``-x``; ``b`` alone when a is 0."""
    if a == 0:
        return str(b)
    head = {1: x, -1: f"-{x}"}.get(a, f"{a}{x}")
    return head if b == 0 else f"{head}{b:+d}"


def _undo(a: int, b: int, c: int, x: str) -> list[str]:
    """The steps that solve ``a*x + b = c``."""
    steps = []
    if b:
        move = f"Subtract {b}" if b > 0 else f"Add {-b}"
        steps.append(f"{move}: {side(a, 0, x)}={c}{-b:+d}={c - b}.")
    if a != 1:
        steps.append(f"Divide by {a}: {x}={c - b}/{a}={(c - b) // a}.")
    return steps


def _sample(rng: Random, level: int) -> Draft:
    if level == 1:
        if rng.random() < 0.4:
            a, value, b = rng.randint(2, 9), rng.randint(1, 12), 0
        else:
            a, value, b = 1, rng.randint(1, 20), rng.choice((-1, 1)) * rng.randint(1, 20)
        return _one_side(a, b, value)
    if level == 2:
        a, value, b = rng.randint(2, 9), rng.randint(1, 12), rng.choice((-1, 1)) * rng.randint(1, 20)
        return _one_side(a, b, value)
    if level == 3:
        a, c = rng.randint(2, 9), rng.randint(1, 8)
        a, c = max(a, c + 1), min(a, c)
        value, b = rng.randint(-9, 12), rng.choice((-1, 1)) * rng.randint(1, 20)
        return _both_sides(a, b, c, value)
    if level == 4:
        a, b = rng.randint(2, 9), rng.choice((-1, 1)) * rng.randint(1, 9)
        return _bracket(a, b, rng.randint(-9, 12), rng.choice((-1, 0, 1)) * rng.randint(1, 20))
    c = rng.randint(2, 9)
    return _bracket_both(c + rng.randint(2, 6), rng.choice((-1, 1)) * rng.randint(1, 12), c, rng.randint(-20, 20))


def _one_side(a: int, b: int, value: int) -> Draft:
    return Draft(f"linear:{side(a, b, 'x')}={a * value + b}", partial(_write_one_side, a, b, value))


def _write_one_side(a: int, b: int, value: int, rng: Random) -> Text:
    x = rng.choice(_LETTERS)
    c = a * value + b
    equation = f"{side(a, b, x)}={c}"
    moved = f"{c}" if b == 0 else f"{c} - {b}" if b > 0 else f"{c} + {-b}"
    program = f"print({moved})" if a == 1 else f"print(({moved}) // {a})" if b else f"print({c} // {a})"
    return _text(equation, x, _undo(a, b, c, x), value, program, rng)


def _both_sides(a: int, b: int, c: int, value: int) -> Draft:
    d = (a - c) * value + b
    return Draft(f"linear:{side(a, b, 'x')}={side(c, d, 'x')}", partial(_write_both_sides, a, b, c, value))


def _write_both_sides(a: int, b: int, c: int, value: int, rng: Random) -> Text:
    x = rng.choice(_LETTERS)
    d = (a - c) * value + b
    steps = [f"Subtract {side(c, 0, x)}: {side(a - c, b, x)}={d}.", *_undo(a - c, b, d, x)]
    program = f"a, b, c, d = {a}, {b}, {c}, {d}\nprint((d - b) // (a - c))"
    return _text(f"{side(a, b, x)}={side(c, d, x)}", x, steps, value, program, rng)


def _bracket(a: int, b: int, value: int, d: int) -> Draft:
    right = a * (value + b) + d
    tail = f"{d:+d}" if d else ""
    return Draft(f"linear:{a}(x{b:+d}){tail}={right}", partial(_write_bracket, a, b, value, d))


def _write_bracket(a: int, b: int, value: int, d: int, rng: Random) -> Text:
    x = rng.choice(_LETTERS)
    inner = value + b
    right = a * inner + d
    steps = []
    if d:
        move = f"Subtract {d}" if d > 0 else f"Add {-d}"
        steps.append(f"{move}: {a}({x}{b:+d})={right}{-d:+d}={a * inner}.")
    steps.append(f"Divide by {a}: {x}{b:+d}={a * inner}/{a}={inner}.")
    steps += _undo(1, b, inner, x)
    tail = f"{d:+d}" if d else ""
    program = f"a, b, c, d = {a}, {b}, {right}, {d}\nprint((c - d) // a - b)"
    return _text(f"{a}({x}{b:+d}){tail}={right}", x, steps, value, program, rng)


def _bracket_both(a: int, b: int, c: int, value: int) -> Draft:
    d = a * (value + b) - c * value
    return Draft(f"linear:{a}(x{b:+d})={side(c, d, 'x')}", partial(_write_bracket_both, a, b, c, value))


def _write_bracket_both(a: int, b: int, c: int, value: int, rng: Random) -> Text:
    x = rng.choice(_LETTERS)
    d = a * (value + b) - c * value
    steps = [
        f"Expand: {a}*({b})={a * b}: {side(a, a * b, x)}={side(c, d, x)}.",
        f"Subtract {side(c, 0, x)}: {side(a - c, a * b, x)}={d}.",
        *_undo(a - c, a * b, d, x),
    ]
    program = f"a, b, c, d = {a}, {b}, {c}, {d}\nprint((d - a * b) // (a - c))"
    return _text(f"{a}({x}{b:+d})={side(c, d, x)}", x, steps, value, program, rng)


def _text(equation: str, x: str, steps: list[str], value: int, program: str, rng: Random) -> Text:
    question = rng.choice(_ASKS).format(x=x, equation=equation)
    return Text(question, f"{equation}. {' '.join(steps)}", str(value), program)


LINEAR = Family(
    name="linear",
    difficulty="1: one step; 2: ax+b=c; 3: x on both sides; 4: a(x+b)+d=c; beyond: a(x+b)=cx+d",
    levels=((1, 2.0), (2, 3.0), (3, 2.0), (4, 2.0)),
    beyond=(5,),
    sample=_sample,
)

"""Word problems of two to four steps (five beyond the training range), from the templates in ``stories``.

Samples the numbers, checks that every step stays a small whole number, and fills names and objects in. Does not
vary the order of the steps.
"""

from __future__ import annotations

from functools import partial
from random import Random

from llemma.sources.generated.base import Draft, Family, Text
from llemma.sources.generated.stories import NAMES, STORIES, THINGS, Story

_LARGEST = 200  # no step of a word problem passes it: the arithmetic is not what is asked


def _apply(sign: str, a: int, b: int) -> int | None:
    """``a sign b`` when it is a whole number from 1 to ``_LARGEST``."""
    if sign == "/":
        value = a // b if a % b == 0 else 0
    else:
        value = a + b if sign == "+" else a - b if sign == "-" else a * b
    return value if 1 <= value <= _LARGEST else None


def _solve(story: Story, numbers: dict[str, int]) -> list[int] | None:
    """The results of the steps, or None when one is not allowed."""
    known, results = dict(numbers), []
    for step in story.steps:
        value = _apply(step.sign, _operand(step.left, known), _operand(step.right, known))
        if value is None:
            return None
        known[step.name] = value
        results.append(value)
    return results


def _operand(text: str, known: dict[str, int]) -> int:
    return int(text) if text.isdigit() else known[text]


def _sample(rng: Random, level: int) -> Draft:
    story = rng.choice(_BY_STEPS[level])
    while True:
        numbers = {name: rng.choice(values) for name, values in story.numbers}
        results = _solve(story, numbers)
        if results is not None:
            told = ",".join(str(value) for value in numbers.values())
            return Draft(f"words:{story.name}:{told}", partial(_write, story, numbers, results))


def _write(story: Story, numbers: dict[str, int], results: list[int], rng: Random) -> Text:
    (name, he, his), (other, _, _) = rng.sample(NAMES, 2)
    fill = {"name": name, "he": he, "He": he.capitalize(), "his": his, "other": other, "things": rng.choice(THINGS)}
    question = rng.choice(story.asks).format(**fill, **numbers)
    known, parts, code = dict(numbers), [], []
    for step, value in zip(story.steps, results, strict=True):
        left, right = _operand(step.left, known), _operand(step.right, known)
        parts.append(f"{step.label}: {left}{step.sign}{right}={value}.")
        known[step.name] = value
        terms = [term if term not in numbers else str(numbers[term]) for term in (step.left, step.right)]
        code.append(f"{step.name} = {terms[0]} {'//' if step.sign == '/' else step.sign} {terms[1]}")
    code.append(f"print({story.steps[-1].name})")
    return Text(question, " ".join(parts), str(results[-1]), "\n".join(code))


_BY_STEPS = {steps: tuple(s for s in STORIES if len(s.steps) == steps) for steps in (2, 3, 4, 5)}

WORDS = Family(
    name="words",
    difficulty="number of steps",
    levels=((2, 4.0), (3, 2.0), (4, 1.0)),
    beyond=(5,),
    sample=_sample,
)

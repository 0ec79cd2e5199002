"""Products of two whole numbers of so many digits: problems for the tasks, examples for fine-tuning.

Which problems are for the test is decided by the hash that ``llemma.sources.generated`` keeps its own test problems
apart with, on the same names: no text that this project generates for training holds a product asked here. Whether
products are answered in words or by a program is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from llemma.config import setting
from llemma.errors import ConfigError, DataError
from llemma.records import Problem
from llemma.sources import generated

_ASKED = (
    "What is {a} * {b}?",
    "Calculate {a} * {b}.",
    "Multiply {a} by {b}.",
    "Find the product of {a} and {b}.",
    "How much is {a} times {b}?",
)
_MOST = 30  # digits of a factor
_TRIES = 5_000  # repeats in a row before a width counts as used up
_SHOT_SEED = 0  # the examples are part of the task: they do not change with the problems' seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the tasks."""

    variant: str = setting("5", "digits of the factors: 5, or 5x3 for different ones")
    shots: int = setting(2, "worked examples before the question")
    count: int = setting(200, "number of problems; fewer when there are no more")
    seed: int = setting(0, "another seed draws other problems of the test")

    def __post_init__(self) -> None:
        if self.shots < 0 or self.count < 1:
            raise ValueError(f"shots={self.shots} count={self.count}: shots must be at least 0 and count at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A problem: two factors in the order they are asked in, and the words."""

    a: int
    b: int
    question: str

    @property
    def key(self) -> str:
        """The name of the problem whatever its wording and order."""
        return _key(self.a, self.b)


def draw(widths: tuple[int, int], *, split: Literal["train", "test"], seed: int, count: int) -> Iterator[Product]:
    """Up to ``count`` problems with distinct keys; a shorter draw is the head of a longer one."""
    rng = Random(f"products:{widths}:{split}:{seed}")
    seen: set[str] = set()
    while len(seen) < count:
        for _ in range(_TRIES):
            a, b = (rng.randrange(10 ** (digits - 1), 10**digits) for digits in widths)
            key = _key(a, b)
            if key not in seen and generated.held_out(key) == (split == "test"):
                break
        else:
            return
        seen.add(key)
        if rng.random() < 0.5:
            a, b = b, a
        yield Product(a=a, b=b, question=rng.choice(_ASKED).format(a=a, b=b))


def problems(options: Options) -> tuple[Problem, ...]:
    """The problems of a task. Raises ConfigError for a variant that is no widths, DataError when there are none."""
    widths = widths_of(options.variant)
    drawn = draw(widths, split="test", seed=options.seed, count=options.count)
    found = tuple(
        Problem(id=p.key, prompt=p.question, answer=str(p.a * p.b), meta={"factors": [p.a, p.b]}) for p in drawn
    )
    if not found:
        raise DataError(f"no products of {options.variant} digits are held out for the test; ask for wider factors")
    return found


def examples(options: Options) -> list[Product]:
    """The examples of the prompt: of the training split, always the same for the same widths."""
    return list(draw(widths_of(options.variant), split="train", seed=_SHOT_SEED, count=options.shots))


def widths_of(variant: str) -> tuple[int, int]:
    """Digits of both factors: ``5`` is (5, 5), ``5x3`` is (5, 3). Raises ConfigError for anything else."""
    found = re.fullmatch(r"([0-9]{1,2})(?:x([0-9]{1,2}))?", variant)
    if found:
        widths = int(found[1]), int(found[2] or found[1])
        if min(widths) >= 1 and max(widths) <= _MOST:
            return widths
    raise ConfigError(f"products of {variant!r} digits: write 5, or 5x3, with 1 to {_MOST} digits each")


def name_of(task: str, variant: str) -> str:
    """The task's name with its widths, as they are asked for."""
    return task if variant == "5" else f"{task}:{variant}"


def _key(a: int, b: int) -> str:
    return f"multiplication:{min(a, b)}*{max(a, b)}"  # as the generated family of this name has it

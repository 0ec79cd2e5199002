"""Tasks on which trained models compare number encodings: prompts and answers as text.

A sample is a pure function of task, seed, split and index, so that every encoding learns and answers the same. What a
test asks, training never sees: sums and products are held out in both orders, expressions with all their rearrangements
by the laws of commutation, sentences by their prompt. Free of torch; nothing is encoded here.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache, partial
from random import Random

import numpy as np

from llemma.errors import ConfigError, nearest
from llemma.tokens.numbers.encoding import Places
from llemma.tokens.numbers.problems import Orbits, Problems, orbits

TRAIN = "train"
SHARE = 10  # one problem of so many is for tests alone
POOL = 20_000  # orbits that training draws from: they come again after that
_ORBIT_TESTS = 2_000
_KNOWN = ("addition3", "product3", "product4", "product5", "trees", "orbits", "text")
_NAME = re.compile(r"(addition|product)([1-9])|trees|orbits|text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A prompt and the answer that should follow it."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A family of samples. ``figures`` names what is worth telling of its answers, most telling first.

    ``places`` is a range that all its numbers lie in; ``scale`` times any answer, ``given_scale``
    times any number of a prompt, is about -5 to 5 (one scale for both, as in a mixed corpus, would hide small operands
    from linear encodings: 3 digits beside a product of 6); ``answers`` is how
    many numbers an answer has (0: that varies), ``decimals`` how many places behind the point they have.
    """

    name: str
    places: Places
    scale: float
    given_scale: float
    tests: tuple[str, ...]
    answers: int
    decimals: int
    figures: tuple[str, ...]
    draw: Callable[[Random, str], tuple[str, Sample]]  # what tells problems apart ("": never in training), the problem
    indexed: Callable[[str, int, int], Sample] | None = None  # of (split, index, seed), where samples are not drawn

    def samples(self, split: str, first: int, count: int, seed: int) -> list[Sample]:
        """The samples ``first`` to ``first + count`` of ``train`` or a test. Raises ConfigError for another split."""
        if split not in (TRAIN, *self.tests):
            raise ConfigError(f"{self.name} has no split {split!r}{nearest(split, (TRAIN, *self.tests))}")
        return [self._sample(split, index, seed) for index in range(first, first + count)]

    def _sample(self, split: str, index: int, seed: int) -> Sample:
        if self.indexed is not None:
            return self.indexed(split, index, seed)
        random = Random(f"{self.name} {seed} {split} {index}")
        while True:
            key, sample = self.draw(random, split)
            if not key or held_out(key) == (split != TRAIN):
                return sample


def held_out(key: str) -> bool:
    """Whether the problem that ``key`` stands for is for tests alone; the same for every seed."""
    return zlib.crc32(key.encode()) % SHARE == 0


def task(name: str) -> Task:
    """The task of this name: ``additionN``, ``productN`` (N digits), ``trees``, ``orbits``, ``text``."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ConfigError(f"no number task {name!r}{nearest(name, _KNOWN)}")
    kind, digits = found[1], int(found[2] or 0)
    if kind == "addition":
        return _addition(digits)
    if kind == "product":
        return _product(digits)
    return {"trees": _TREES, "orbits": _ORBITS, "text": _TEXT}[name]


# --- sums and products ----------------------------------------------------------------------------------------------

_WHOLE = ("exact", "median_error", "r2", "units", "three_figures", "within_1_percent")
LONGER = 2  # digits by which the operands of the test "longer" exceed those of training


def _addition(digits: int) -> Task:
    """Sums of two numbers of 1 to so many digits, each number of digits as often; the test ``longer`` has more."""
    return Task(
        name=f"addition{digits}",
        places=Places(whole=digits + LONGER + 1, decimals=0),
        scale=5 / (2 * 10**digits),
        given_scale=5 / 10**digits,
        tests=("test", "longer"),
        answers=1,
        decimals=0,
        figures=_WHOLE,
        draw=partial(_sum, digits),
    )


def _sum(digits: int, random: Random, split: str) -> tuple[str, Sample]:
    if split == "longer":
        length = digits + random.randint(1, LONGER)
        a, b = _whole(random, length), _whole(random, length)
        return "", Sample(prompt=f"{a}+{b}=", answer=f"{a + b}")
    a, b = _whole(random, random.randint(1, digits)), _whole(random, random.randint(1, digits))
    return _pair(a, b), Sample(prompt=f"{a}+{b}=", answer=f"{a + b}")


def _product(digits: int) -> Task:
    """Products of two numbers of so many digits."""
    return Task(
        name=f"product{digits}",
        places=Places(whole=2 * digits, decimals=0),
        scale=5 / 10 ** (2 * digits),
        given_scale=5 / 10**digits,
        tests=("test",),
        answers=1,
        decimals=0,
        figures=_WHOLE,
        draw=partial(_times, digits),
    )


def _times(digits: int, random: Random, split: str) -> tuple[str, Sample]:
    a, b = _whole(random, digits), _whole(random, digits)
    return _pair(a, b), Sample(prompt=f"{a}*{b}=", answer=f"{a * b}")


def _whole(random: Random, digits: int) -> int:
    """A number of exactly so many digits; of one digit: 0 to 9."""
    return random.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def _pair(a: int, b: int) -> str:
    return f"{min(a, b)},{max(a, b)}"


# --- expressions ----------------------------------------------------------------------------------------------------

MOST_OPERANDS = 4
_OPERAND = (1, 99)
_LARGEST = 9999  # result


def _tree(random: Random, split: str) -> tuple[str, Sample]:
    """An expression of 2 to 4 operands with ``+ - *`` and brackets; in a test of as many as its name says."""
    operands = random.randint(2, MOST_OPERANDS) if split == TRAIN else int(split[-1])
    while True:
        text, canonical, value = _grown(random, operands)
        if 0 < abs(value) <= _LARGEST:
            return canonical, Sample(prompt=f"{text}=", answer=f"{value}")


def _grown(random: Random, operands: int) -> tuple[str, str, int]:
    """An expression as text, with its commuting parts in order, and its value."""
    if operands == 1:
        value = random.randint(*_OPERAND)
        return f"{value}", f"{value}", value
    left = random.randint(1, operands - 1)
    a, b = _grown(random, left), _grown(random, operands - left)
    sign = random.choice("+-*")
    shown = f"{_bracketed(a[0])}{sign}{_bracketed(b[0])}"
    parts = [_bracketed(a[1]), _bracketed(b[1])]
    canonical = sign.join(parts if sign == "-" else sorted(parts))
    return shown, canonical, {"+": a[2] + b[2], "-": a[2] - b[2], "*": a[2] * b[2]}[sign]


def _bracketed(text: str) -> str:
    return text if text.isdigit() else f"({text})"


_TREES = Task(
    name="trees",
    places=Places(whole=4, decimals=0),
    scale=5 / _LARGEST,
    given_scale=5 / 99,
    tests=("operands2", "operands3", "operands4"),
    answers=1,
    decimals=0,
    figures=_WHOLE,
    draw=_tree,
)


# --- orbits ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _pool(seed: int) -> Orbits:
    return orbits(POOL, _ORBIT_TESTS, seed)


def _orbit(split: str, index: int, seed: int) -> Sample:
    """The time between frames, five frames of two planets (x y x y), an equals sign; then the next frame."""
    pool = _pool(seed)
    problems: Problems = getattr(pool, split)
    row = index % len(problems)
    *given, step = (problems.inputs[row] + 0.0).tolist()  # no negative zero
    wanted = (problems.targets[row].round(4) + 0.0).tolist()
    return Sample(
        prompt=" ".join(f"{value:.4f}" for value in (step, *given)) + " = ",
        answer=" ".join(f"{value:.4f}" for value in wanted),
    )


def _not_drawn(random: Random, split: str) -> tuple[str, Sample]:
    raise AssertionError("orbits are drawn all at once")


_ORBITS = Task(
    name="orbits",
    places=Places(whole=1, decimals=4),
    scale=1.0,
    given_scale=1.0,
    tests=("inside", "gap", "beyond"),
    answers=4,
    decimals=4,
    figures=("mse", "r2", "median_error", "within_1_percent", "three_figures", "exact"),
    draw=_not_drawn,
    indexed=_orbit,
)


# --- sentences ------------------------------------------------------------------------------------------------------

_ITEMS = ("apples", "books", "chairs", "lamps", "pencils", "tickets")
_FIRST_DAY = date(1990, 1, 1)


def _price(random: Random) -> tuple[str, str]:
    count, cents = random.randint(2, 20), random.randint(25, 9999)
    return (
        f"{count} {random.choice(_ITEMS)} at {cents / 100:.2f} euros each cost ",
        f"{count * cents / 100:.2f} euros.",
    )


def _change(random: Random) -> tuple[str, str]:
    note = random.choice((10, 20, 50, 100))
    cents = random.randint(100, 100 * note - 1)
    return f"Paying {cents / 100:.2f} with a note of {note} leaves ", f"{note - cents / 100:.2f} of change."


def _day(random: Random) -> tuple[str, str]:
    day, later = _FIRST_DAY + timedelta(days=random.randrange(15_000)), random.randint(1, 60)
    return f"{later} days after {day} comes ", f"{day + timedelta(days=later)}."


def _time(random: Random) -> tuple[str, str]:
    minutes, later = random.randrange(24 * 60), random.randint(2, 300)
    end = (minutes + later) % (24 * 60)
    return (
        f"A train leaves at {minutes // 60}:{minutes % 60:02d} and arrives {later} minutes later, at ",
        f"{end // 60}:{end % 60:02d}.",
    )


def _version(random: Random) -> tuple[str, str]:
    major, minor, patch = random.randint(0, 9), random.randint(0, 20), random.randint(0, 98)
    return f"After version {major}.{minor}.{patch} comes ", f"{major}.{minor}.{patch + 1}."


def _order(random: Random) -> tuple[str, str]:
    number, letter = random.randrange(9_999), random.choice("ABCX")
    return f"Order {letter}{number:04d} is followed by ", f"{letter}{number + 1:04d}."


def _metres(random: Random) -> tuple[str, str]:
    tenths = random.randint(1, 199)
    return f"{tenths / 10:.1f} km are ", f"{tenths * 100} m."


def _grams(random: Random) -> tuple[str, str]:
    kilos, grams = random.randint(1, 15), random.randint(1, 999)
    return f"{kilos} kg and {grams} g are together ", f"{1000 * kilos + grams} g."


def _parts(random: Random) -> tuple[str, str]:
    parts, length = random.randint(2, 12), random.randint(2, 250)
    return f"A rope of {parts * length} cm, cut in {parts}, gives pieces of ", f"{length} cm."


def _larger(random: Random) -> tuple[str, str]:
    a, b = random.randint(1, 9_999), random.randint(1, 9_999)
    return f"Of {a} and {b}, the larger is the ", "first." if a > b else "second." if b > a else "same."


def _year(random: Random) -> tuple[str, str]:
    year, age = random.randint(1700, 2010), random.randint(1, 90)
    return f"Born in {year}, she turned {age} in ", f"{year + age}."


def _percent(random: Random) -> tuple[str, str]:
    share, count = 5 * random.randint(1, 19), 20 * random.randint(1, 400)
    return f"{share} % of {count:,} people are ", f"{share * count // 100:,} people."


def _town(random: Random) -> tuple[str, str]:
    people, more = random.randint(1_000, 15_000), random.randint(1, 4_000)
    return f"A town of {people:,} people grows by {more:,} to ", f"{people + more:,}."


_SENTENCES: Sequence[Callable[[Random], tuple[str, str]]] = (
    _price, _change, _day, _time, _version, _order, _metres, _grams, _parts, _larger, _year, _percent, _town,
)  # fmt: skip


def _sentence(random: Random, split: str) -> tuple[str, Sample]:
    """A sentence that ends with what follows from its numbers: prices, dates, times, units, versions, comparisons."""
    prompt, answer = random.choice(_SENTENCES)(random)
    return prompt, Sample(prompt=prompt, answer=answer)


_TEXT = Task(
    name="text",
    places=Places(whole=5, decimals=2),
    scale=5 / 20_000,
    given_scale=5 / 20_000,
    tests=("test",),
    answers=0,
    decimals=2,
    figures=("exact", "median_error", "within_1_percent", "three_figures", "words_loss"),
    draw=_sentence,
)


def trajectories(samples: Sequence[Sample]) -> np.ndarray:
    """The frames that prompts of ``orbits`` show, (samples, frames, 4)."""
    numbers = [[float(part) for part in sample.prompt.removesuffix(" = ").split()] for sample in samples]
    return np.array(numbers)[:, 1:].reshape(len(samples), -1, 4)

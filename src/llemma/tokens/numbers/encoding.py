"""What every number encoding is: how a number becomes tokens, what a model is given for it, and what it can hold.

Two kinds. A *written* encoding spells a number in tokens of its own vocabulary; a *valued* one has the single token
``[NUM]`` and hands the value over beside it, as features. Outside its declared range an encoding says so (``None``);
the text then falls back to single characters: nothing is cut off silently.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llemma.tokens.numbers.scanner import Number
from llemma.tokens.numbers.values import FIGURES, POWERS, Values

NUM = "[NUM]"
CHARACTERS = tuple("0123456789+-−.,_eE\u2009\u202f")  # all that a number is written with
_LOOKUP = 64  # a vocabulary larger than this is looked up in random vectors of this width


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """A fixed-point range: so many digits before and behind the point."""

    whole: int = 10
    decimals: int = 6

    @property
    def width(self) -> int:
        """Digits in all."""
        return self.whole + self.decimals

    def __post_init__(self) -> None:
        if self.width > FIGURES:
            raise ValueError(f"{self.whole} + {self.decimals} places are more than {FIGURES}")

    def units(self, values: Values, name: str) -> np.ndarray:
        """Values as counts of the last place, (n,) int64 with sign. Raises ValueError outside the range."""
        found, exact = values.units(self.whole, self.decimals)
        if not exact.all():
            raise ValueError(f"{values.double[~exact][0]:.17g} is outside the range of {name}")
        return found

    def spread(self, units: np.ndarray) -> np.ndarray:
        """The digits of counts of the last place, (n, width) int64, the first place first; signs do not matter."""
        digits: np.ndarray = np.abs(units)[:, None] // POWERS[: self.width][::-1] % 10
        return digits

    def fixed(self, number: Number) -> int | None:
        """The value in units of the last place; None when it has more digits on either side. Without sign."""
        shift = number.exponent + self.decimals
        if shift < 0:
            kept, lost = number.digits[:shift], number.digits[shift:]
            if lost.strip("0") or len(kept) > self.width:
                return None
            return int(kept or "0")
        if len(number.digits) + shift > self.width and number.digits != "0":
            return None
        return int(number.digits) * 10**shift if number.digits != "0" else 0

    def digits(self, fixed: int) -> str:
        """All digits of a fixed-point value, zeros in front, the last place last."""
        return f"{fixed:0{self.width}d}"


USUAL = Places()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What an encoding can hold: the row of the comparison table."""

    name: str
    tokens: float  # a number of the sample takes on average
    vocabulary: int  # tokens that stand for numbers or parts of them
    low: str  # smallest and largest magnitude
    high: str
    resolution: str
    lossless: bool  # whether the value can be read back exactly, for every number in the range
    refused: float  # share of the sample outside the range


class Encoding(ABC):
    """A way to put numbers to a model; see ``llemma.tokens.numbers.encoding``."""

    name: str
    low: str
    high: str
    resolution: str
    lossless: bool
    vocabulary: tuple[str, ...]  # of a valued encoding: ``[NUM]`` alone

    @property
    def valued(self) -> bool:
        """Whether the value is handed over beside the one token ``[NUM]``."""
        return self.vocabulary == (NUM,)

    @abstractmethod
    def write(self, number: Number) -> tuple[str, ...] | None:
        """The tokens of a number, None outside the range."""

    @abstractmethod
    def read(self, tokens: Sequence[str]) -> str | None:
        """A number as text from tokens; None where they spell none (a valued encoding reads its features instead)."""

    @abstractmethod
    def features(self, numbers: Sequence[Number]) -> np.ndarray:
        """What a model is given for each number, (numbers, width) float64. Raises ValueError outside the range."""


class Written(Encoding):
    """An encoding that spells numbers in tokens; ``most`` is the largest number of tokens that features are made of."""

    most: int

    def features(self, numbers: Sequence[Number]) -> np.ndarray:
        """One vector a token, in order: one-hot for small vocabularies, random for large ones; zeros where none is."""
        place = {token: k for k, token in enumerate(self.vocabulary)}
        size = len(self.vocabulary)
        table = np.eye(size) if size <= _LOOKUP else np.random.default_rng(0).standard_normal((size, _LOOKUP)) / 8
        out = np.zeros((len(numbers), self.most, table.shape[1]))
        for row, number in enumerate(numbers):
            tokens = self.write(number)
            if tokens is None or len(tokens) > self.most:
                raise ValueError(f"{number.surface} is outside the range of {self.name}")
            out[row, : len(tokens)] = table[[place[token] for token in tokens]]
        return out.reshape(len(numbers), self.most * table.shape[1])


class Valued(Encoding):
    """An encoding whose numbers are one token with features beside it."""

    vocabulary = (NUM,)

    def write(self, number: Number) -> tuple[str, ...] | None:
        return (NUM,) if self.holds(number) else None

    def read(self, tokens: Sequence[str]) -> str | None:
        return None

    def features(self, numbers: Sequence[Number]) -> np.ndarray:
        return self.shown(Values.of(numbers))

    @abstractmethod
    def shown(self, values: Values) -> np.ndarray:
        """What a model is given for each value, (n, width) float64. Raises ValueError outside the range."""

    def holds(self, number: Number) -> bool:
        """Whether the number lies in the declared range."""
        return abs(number.float) < float("inf")


def card(encoding: Encoding, sample: Sequence[Number]) -> Card:
    """The row of an encoding in the comparison table, measured on a sample of numbers."""
    written = [encoding.write(number) for number in sample]
    counts = [len(tokens) for tokens in written if tokens is not None]
    return Card(
        name=encoding.name,
        tokens=sum(counts) / len(counts) if counts else float("nan"),
        vocabulary=len(encoding.vocabulary),
        low=encoding.low,
        high=encoding.high,
        resolution=encoding.resolution,
        lossless=encoding.lossless,
        refused=1 - len(counts) / len(written) if written else 0.0,
    )

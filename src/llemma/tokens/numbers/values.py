"""Numbers as arrays: exact, up to 18 figures, for features of many numbers at once.

A number is ``coefficient * 10**exponent`` with a signed 64-bit coefficient, and beside it the nearest double, which
numbers of more figures have alone. Three 64-bit words a number, so that a batch of rows can carry them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llemma.tokens.numbers.scanner import Number

FIGURES = 18  # that a 64-bit coefficient holds
WORDS = 3  # of a packed number
POWERS = 10 ** np.arange(FIGURES + 1, dtype=np.int64)
_LONG = np.iinfo(np.int64).min  # the coefficient of a number of more figures


@dataclass(frozen=True, slots=True)
class Values:
    """Numbers, (n,) each: int64 ``coefficient`` and ``exponent``, float64 ``double``."""

    coefficient: np.ndarray
    exponent: np.ndarray
    double: np.ndarray

    def __len__(self) -> int:
        return len(self.double)

    @staticmethod
    def of(numbers: Sequence[Number]) -> Values:
        """The values of numbers read from text; zeros behind the last figure go into the exponent."""
        coefficient, exponent = np.zeros((2, len(numbers)), dtype=np.int64)
        for row, number in enumerate(numbers):
            digits = number.digits.rstrip("0")
            if digits:
                exponent[row] = number.exponent + len(number.digits) - len(digits)
                coefficient[row] = number.sign * int(digits) if len(digits) <= FIGURES else _LONG
        return Values(coefficient, exponent, np.array([number.float for number in numbers], dtype=np.float64))

    @staticmethod
    def fixed_point(units: np.ndarray, decimals: int) -> Values:
        """(n,) int64 counts of ``10**-decimals``."""
        exponent = np.full(units.shape, -decimals, dtype=np.int64)
        return Values(units, exponent, units / 10.0**decimals)

    @staticmethod
    def doubles(values: np.ndarray) -> Values:
        """(n,) doubles of which no exact decimal is known."""
        return Values(np.full(values.shape, _LONG), np.zeros(values.shape, dtype=np.int64), values)

    @staticmethod
    def unpack(words: np.ndarray) -> Values:
        """From (n, 3) int64 words."""
        return Values(words[:, 0], words[:, 1], np.ascontiguousarray(words[:, 2]).view(np.float64))

    def pack(self) -> np.ndarray:
        """(n, 3) int64 words."""
        return np.stack([self.coefficient, self.exponent, self.double.view(np.int64)], axis=1)

    def units(self, whole: int, decimals: int) -> tuple[np.ndarray, np.ndarray]:
        """The values as counts of ``10**-decimals``, (n,) int64 with sign, and (n,) bool: which are exact so.

        Exact means: no figure behind the last decimal, at most ``whole`` digits before the point. Others are 0.
        """
        size = np.abs(self.coefficient)  # of _LONG: itself, negative
        shift = self.exponent + decimals
        zero = self.coefficient == 0
        down = POWERS[np.clip(-shift, 0, FIGURES)]
        figures = np.searchsorted(POWERS, size, side="right")
        exact = (size >= 0) & (size % down == 0) & (shift >= -FIGURES) & (figures + shift <= whole + decimals)
        exact |= zero
        up = POWERS[np.clip(np.where(exact & ~zero, shift, 0), 0, FIGURES)]
        return np.where(exact, self.coefficient // down * up, 0), exact

    def magnitude(self) -> np.ndarray:
        """(n,) float64: log10 of the absolute value; -inf of zero."""
        with np.errstate(divide="ignore"):
            found: np.ndarray = np.log10(np.abs(self.double))
        return found

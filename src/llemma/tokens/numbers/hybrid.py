"""Hybrid, ours: one ``[NUM]`` that says both how large a number is and which digits it has.

The features are the linear value (xVal's, which physics wants), the magnitude as a logarithm with the mantissa, and
every digit: as a point on its circle (FoNE's) and as one of ten. The digits are scaled down beside the value: what is
smooth in the value is then learnt from the value, and the digits serve where nothing smooth will do (the units digit of
a product). Read back, the digits are the answer and the value is their check.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llemma.tokens.numbers.encoding import USUAL, Places, Valued
from llemma.tokens.numbers.fone import FoNE
from llemma.tokens.numbers.scanner import Number
from llemma.tokens.numbers.xval import XVal


class Hybrid(Valued):
    """Linear value, log magnitude, mantissa, sign; circles and one-hot digits times ``digit_scale``."""

    name = "hybrid"
    lossless = True

    def __init__(self, places: Places = USUAL, scale: float = 1.0, digit_scale: float = 1e-4) -> None:
        self.places, self.digit_scale = places, digit_scale
        self._value, self._circles = XVal(scale), FoNE(places)
        self.low, self.high, self.resolution = f"1e-{places.decimals}", f"1e{places.whole}", f"1e-{places.decimals}"

    def holds(self, number: Number) -> bool:
        return self.places.fixed(number) is not None

    @property
    def groups(self) -> dict[str, slice]:
        """Where which features stand."""
        width = self.places.width
        return {
            "value": slice(0, 1), "sign": slice(1, 2), "log": slice(2, 3), "mantissa": slice(3, 4),
            "circles": slice(4, 4 + 2 * width), "digits": slice(4 + 2 * width, 4 + 12 * width),
        }  # fmt: skip

    def features(self, numbers: Sequence[Number]) -> np.ndarray:
        circles = self._circles.features(numbers)
        value = self._value.features(numbers)
        sign = np.array([[float(number.sign)] for number in numbers])
        size = np.array([[float(number.magnitude)] for number in numbers])
        mantissa = np.array([[_mantissa(number)] for number in numbers])
        log = np.where(mantissa > 0, np.log10(np.maximum(mantissa, 1)) + size, -self.places.decimals)
        digits = np.zeros((len(numbers), self.places.width, 10))
        for row, number in enumerate(numbers):
            fixed = self.places.fixed(number)
            assert fixed is not None  # the circles have refused what is outside
            digits[row, np.arange(self.places.width), list(map(int, self.places.digits(fixed)))] = 1
        small = self.digit_scale
        return np.concatenate(
            [
                value,
                small * sign,
                small * log,
                small * mantissa / 10,
                small * circles,
                small * digits.reshape(len(numbers), -1),
            ],
            axis=1,
        )


def _mantissa(number: Number) -> float:
    """1 to 9.99…, 0 for zero."""
    return 0.0 if number.digits == "0" else float(f"{number.digits[0]}.{number.digits[1:18] or '0'}")

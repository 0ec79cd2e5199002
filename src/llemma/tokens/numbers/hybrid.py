"""Hybrid, ours: one ``[NUM]`` that says both how large a number is and which digits it has.

The features are the linear value (xVal's, which physics wants), the magnitude as a logarithm with the mantissa, and
every digit: as a point on its circle (FoNE's) and as one of ten. The digits are scaled down beside the value: what is
smooth in the value is then learnt from the value, and the digits serve where nothing smooth will do (the units digit of
a product). Read back, the digits are the answer and the value is their check.
"""

from __future__ import annotations

import numpy as np

from llemma.tokens.numbers.encoding import USUAL, Places, Valued
from llemma.tokens.numbers.fone import FoNE
from llemma.tokens.numbers.scanner import Number
from llemma.tokens.numbers.values import Values
from llemma.tokens.numbers.xval import XVal


class Hybrid(Valued):
    """Linear value, log magnitude, mantissa, sign; circles and one-hot digits times ``digit_scale``."""

    name = "hybrid"
    lossless = True

    def __init__(self, places: Places = USUAL, scale: float = 1.0, digit_scale: float = 1e-4) -> None:
        self.places, self.digit_scale = places, digit_scale
        self._value, self.circles = XVal(scale), FoNE(places)
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

    def shown(self, values: Values) -> np.ndarray:
        units = self.places.units(values, self.name)
        small, zero = self.digit_scale, units == 0
        log = np.where(zero, -self.places.decimals, values.magnitude())
        mantissa = np.where(zero, 0.0, 10 ** (log - np.floor(log) - 1))
        digits = np.eye(10)[self.places.spread(units)]
        described = [np.where(values.double < 0, -1.0, 1.0), log, mantissa]
        return np.concatenate(
            [
                self._value.shown(values),
                small * np.stack(described, axis=1),
                small * self.circles.shown(values),
                small * digits.reshape(len(values), 10 * self.places.width),
            ],
            axis=1,
        )

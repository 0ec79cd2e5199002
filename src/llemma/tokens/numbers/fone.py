"""FoNE, Fourier number embeddings (Zhou et al. 2025): the value on circles of period 10, 100, 1000, …, one a digit.

Exact: a circle's angle is taken from the number's digits, not from a rounded double. The published code takes periods
2 and 5 and reads 0 as "no number"; here the paper's period 10 is the default, and 0 is a number. Negative numbers turn
the other way.
"""

from __future__ import annotations

import numpy as np

from llemma.tokens.numbers.encoding import USUAL, Places, Valued
from llemma.tokens.numbers.scanner import Number
from llemma.tokens.numbers.values import Values


class FoNE(Valued):
    """Cosine and sine of ``2 pi v / (period * 10^k)`` for every place k."""

    name = "fone"
    lossless = True

    def __init__(self, places: Places = USUAL, periods: tuple[int, ...] = (10,)) -> None:
        self.places, self.periods = places, periods
        self.low, self.high, self.resolution = f"1e-{places.decimals}", f"1e{places.whole}", f"1e-{places.decimals}"

    def holds(self, number: Number) -> bool:
        return self.places.fixed(number) is not None

    def shown(self, values: Values) -> np.ndarray:
        units = self.places.units(values, self.name)[:, None]
        circles = np.array([period * 10**k for k in range(self.places.width) for period in self.periods])
        turns = 2 * np.pi * (units % circles / circles)
        return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)


def read_circles(features: np.ndarray, places: Places) -> list[int]:
    """The fixed-point values, 0 to 10^width - 1, whose period-10 features come nearest, digit by digit."""
    width = places.width
    angles = np.arctan2(features[:, width:], features[:, :width]) / (2 * np.pi) % 1
    values = []
    for row in angles:
        value, below = 0, 0.0  # a circle holds its digit and, as a fraction, all digits below
        for k, turn in enumerate(row):
            digit = round(turn * 10 - below) % 10
            value += digit * 10**k
            below = (digit + below) / 10
        values.append(value)
    return values

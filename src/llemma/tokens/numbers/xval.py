"""xVal (Golkar et al. 2023): the embedding of ``[NUM]`` times the value; and the variant on a logarithmic scale.

``xval`` is the paper's: linear, one factor for the whole corpus, meant for values of about -5 to 5 after scaling. What
FoNE, BitTokens and number-token-loss compare with under its name is ``xval-log``: another encoding, with another range.
"""

from __future__ import annotations

import numpy as np

from llemma.tokens.numbers.encoding import Valued
from llemma.tokens.numbers.scanner import Number
from llemma.tokens.numbers.values import Values

MOST = 1e15  # scaled value: squares, and squares of gradients, must stay finite in single precision


class XVal(Valued):
    """The value itself, times ``scale``."""

    name = "xval"
    low, resolution, lossless = "0", "that of the head, about 1e-3", False

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.high = f"{MOST / scale:.3g}"

    def holds(self, number: Number) -> bool:
        return abs(number.float) * self.scale <= MOST

    def shown(self, values: Values) -> np.ndarray:
        return values.double[:, None] * self.scale


class XValLog(Valued):
    """``sign(v) log10(1 + |v|)`` of the scaled value."""

    name = "xval-log"
    low, high, resolution, lossless = "0", "1.8e308", "that of the head, about 1e-3 of the magnitude", False

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def shown(self, values: Values) -> np.ndarray:
        scaled = values.double[:, None] * self.scale
        logs: np.ndarray = np.sign(scaled) * np.log10(1 + np.abs(scaled))
        return logs

"""Bits (BitTokens, 2025): the 64 bits of the IEEE-754 double, and those of its reciprocal, as -1 and 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llemma.tokens.numbers.encoding import Valued
from llemma.tokens.numbers.scanner import Number


class Bits(Valued):
    """128 features: sign, exponent and fraction of the value, then of its reciprocal (of zero: of zero)."""

    name = "bits"
    low, high, resolution, lossless = "4.9e-324", "1.8e308", "a double: 16 figures", False

    def features(self, numbers: Sequence[Number]) -> np.ndarray:
        values = np.array([number.float for number in numbers])
        with np.errstate(divide="ignore", over="ignore"):
            inverse = np.where(values == 0, 0.0, 1 / np.where(values == 0, 1.0, values))
        return np.concatenate([_bits(values), _bits(inverse)], axis=1)


def _bits(values: np.ndarray) -> np.ndarray:
    octets = values.astype(">f8").view(np.uint8).reshape(len(values), 8)
    return np.unpackbits(octets, axis=1) * 2.0 - 1


def read_bits(features: np.ndarray) -> np.ndarray:
    """The doubles whose bits the first 64 features are nearest to."""
    octets = np.packbits(features[:, :64] > 0, axis=1)
    return np.ascontiguousarray(octets).view(">f8").reshape(-1).astype(np.float64)

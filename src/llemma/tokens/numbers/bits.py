"""Bits (BitTokens, 2025): the 64 bits of the IEEE-754 double, and those of its reciprocal, as -1 and 1."""

from __future__ import annotations

import numpy as np

from llemma.tokens.numbers.encoding import Valued
from llemma.tokens.numbers.values import Values


class Bits(Valued):
    """128 features: sign, exponent and fraction of the value, then of its reciprocal (of zero: of zero)."""

    name = "bits"
    low, high, resolution, lossless = "4.9e-324", "1.8e308", "a double: 16 figures", False

    def shown(self, values: Values) -> np.ndarray:
        doubles = values.double
        with np.errstate(divide="ignore", over="ignore"):
            inverse = np.where(doubles == 0, 0.0, 1 / np.where(doubles == 0, 1.0, doubles))
        return np.concatenate([bits_of(doubles), bits_of(inverse)], axis=1)


def bits_of(values: np.ndarray) -> np.ndarray:
    """The 64 bits of doubles (n,), sign first, as -1 and 1: (n, 64) float64."""
    octets = values.astype(">f8").view(np.uint8).reshape(len(values), 8)
    return np.unpackbits(octets, axis=1) * 2.0 - 1


def read_bits(features: np.ndarray) -> np.ndarray:
    """The doubles whose bits the first 64 features are nearest to."""
    octets = np.packbits(features[:, :64] > 0, axis=1)
    return np.ascontiguousarray(octets).view(">f8").reshape(-1).astype(np.float64)

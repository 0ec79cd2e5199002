"""Place tokens (Born and Manica 2023, the Regression Transformer): a digit and its power of ten are one token.

``143`` is ``1@2 4@1 3@0``: what a digit is worth is known when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llemma.tokens.numbers.encoding import USUAL, Places, Written
from llemma.tokens.numbers.scanner import Number

_TOKEN = re.compile(r"([0-9])@(-?[0-9]+)")


class Place(Written):
    """A sign for negative numbers, then one token a digit."""

    name = "place"
    resolution, lossless = "1e-6", True

    def __init__(self, places: Places = USUAL) -> None:
        self.places = places
        self.low, self.high = f"1e-{places.decimals}", f"1e{places.whole}"
        self.resolution = self.low
        powers = range(places.whole - 1, -places.decimals - 1, -1)
        self.vocabulary = ("-", *(f"{digit}@{power}" for power in powers for digit in range(10)))
        self.most = places.width + 1

    def write(self, number: Number) -> tuple[str, ...] | None:
        fixed = self.places.fixed(number)
        if fixed is None:
            return None
        digits = self.places.digits(fixed)
        whole, decimals = digits[: self.places.whole].lstrip("0") or "0", digits[self.places.whole :].rstrip("0")
        tokens = [f"{digit}@{power}" for power, digit in zip(range(len(whole) - 1, -1, -1), whole, strict=True)]
        tokens += [f"{digit}@{-place}" for place, digit in enumerate(decimals, 1)]
        return ("-", *tokens) if number.sign < 0 else tuple(tokens)

    def read(self, tokens: Sequence[str]) -> str | None:
        negative = tuple(tokens[:1]) == ("-",)
        found = [_TOKEN.fullmatch(token) for token in tokens[negative:]]
        if not found or not all(found):
            return None
        powers = [int(match[2]) for match in found if match]
        if powers != list(range(powers[0], powers[0] - len(powers), -1)) or powers[0] < 0 or powers[-1] > 0:
            return None
        digits = "".join(match[1] for match in found if match)
        whole, decimals = digits[: powers[0] + 1], digits[powers[0] + 1 :]
        return f"{'-' * negative}{whole}{'.' if decimals else ''}{decimals}"

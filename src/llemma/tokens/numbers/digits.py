"""Digits: a number is spelt character by character, as written, from the front or from the back.

From the front as Llama 2 does; from the back (the last digit first) as an adder works (Lee et al. 2023). Abacus
(McLeish et al. 2024) adds to each digit of the reversed number the index of its place, which ``places`` gives.
"""

from __future__ import annotations

from collections.abc import Sequence

from llemma.tokens.numbers.encoding import CHARACTERS, Written
from llemma.tokens.numbers.scanner import Number


class Digits(Written):
    """One token a character, first to last."""

    name = "digits"
    low, high, resolution, lossless = "any", "any", "as written", True
    vocabulary = CHARACTERS
    most = 24

    def write(self, number: Number) -> tuple[str, ...] | None:
        return tuple(number.surface)

    def read(self, tokens: Sequence[str]) -> str | None:
        return "".join(tokens)


class Reversed(Digits):
    """One token a character: the sign, then all else from last to first."""

    name = "digits-reversed"

    def write(self, number: Number) -> tuple[str, ...] | None:
        return _turned(number.surface)

    def read(self, tokens: Sequence[str]) -> str | None:
        return "".join(_turned("".join(tokens)))


def _turned(text: str) -> tuple[str, ...]:
    signed = text[:1] in ("+", "-", "−")
    return tuple(text[:signed] + text[signed:][::-1])


class Abacus(Reversed):
    """Reversed digits whose embeddings a model adds to one for the place in the number."""

    name = "abacus"

    def places(self, tokens: Sequence[str]) -> list[int]:
        """The place of each token: 1 for the first digit written, counting digits only; 0 for what is no digit."""
        found, count = [], 0
        for token in tokens:
            count += token.isdigit()
            found.append(count if token.isdigit() else 0)
        return found

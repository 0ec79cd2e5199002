"""P10, P1000, B1999, FP15 (Charton 2021): three significant figures and a power of ten, in five tokens down to one.

The vocabularies are those of xVal's comparison (28, 918, 1816 and 27,001 tokens, exponents -7 to 7); its code cuts a
larger number off silently, ours refuses it. Rounding is to the nearest, ties to even, on the exact decimal value.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from llemma.tokens.numbers.encoding import Written
from llemma.tokens.numbers.scanner import Number

LEAST, MOST = -7, 7  # powers of ten of the first figure
ZERO = "0"
_SIGNS = ("+", "-")
_EXPONENTS = tuple(f"e{power:+d}" for power in range(LEAST, MOST + 1))
_MANTISSAS = tuple(f"{value // 100}.{value % 100:02d}" for value in range(100, 1000))


def rounded(number: Number) -> tuple[int, str, int] | None:
    """Sign, three figures and the power of ten of the first; figures ``"000"`` are zero; None outside the range."""
    if number.digits == "0":
        return 1, "000", 0
    power = number.magnitude
    digits = number.digits.ljust(3, "0")
    figures, rest = int(digits[:3]), digits[3:]
    half = "5".ljust(len(rest), "0")
    if rest and (rest > half or (rest == half and figures % 2)):
        figures += 1
        if figures == 1000:
            figures, power = 100, power + 1
    return (number.sign, str(figures), power) if LEAST <= power <= MOST else None


class Scientific(Written):
    """What the four have in common."""

    low, high, resolution, lossless = "1e-7", "9.99e7", "3 significant figures", False

    def write(self, number: Number) -> tuple[str, ...] | None:
        found = rounded(number)
        if found is None:
            return None
        sign, figures, power = found
        return (ZERO,) if figures == "000" else self._tokens(_SIGNS[sign < 0], figures, _EXPONENTS[power - LEAST])

    @abstractmethod
    def _tokens(self, sign: str, figures: str, exponent: str) -> tuple[str, ...]:
        """The tokens of three figures, with ``+`` or ``-`` and ``e+1`` and the like."""

    def read(self, tokens: Sequence[str]) -> str | None:
        """``-6.02e+1`` and the like; None when the tokens spell no number."""
        if tuple(tokens) == (ZERO,):
            return "0"
        text = "".join(tokens).removeprefix("+")
        body = text.removeprefix("-")
        figures, mark, power = body.partition("e")
        if not mark or f"e{power}" not in _EXPONENTS:
            return None
        figures = figures if "." in figures else f"{figures[:1]}.{figures[1:]}"
        return f"{text[: len(text) - len(body)]}{figures}e{power}" if figures in _MANTISSAS else None


class P10(Scientific):
    """Sign, three digits, exponent: 28 tokens."""

    name, most = "p10", 5
    vocabulary = (*(f"{digit}" for digit in range(10)), *_SIGNS, *_EXPONENTS, f"{ZERO}.")

    def write(self, number: Number) -> tuple[str, ...] | None:
        found = super().write(number)
        return (f"{ZERO}.",) if found == (ZERO,) else found  # the number zero is not the digit

    def _tokens(self, sign: str, figures: str, exponent: str) -> tuple[str, ...]:
        return (sign, *figures, exponent)

    def read(self, tokens: Sequence[str]) -> str | None:
        return "0" if tuple(tokens) == (f"{ZERO}.",) else None if tuple(tokens) == (ZERO,) else super().read(tokens)


class P1000(Scientific):
    """Sign, mantissa, exponent: 918 tokens."""

    name, most = "p1000", 3
    vocabulary = (*_MANTISSAS, *_SIGNS, *_EXPONENTS, ZERO)

    def _tokens(self, sign: str, figures: str, exponent: str) -> tuple[str, ...]:
        return (sign, f"{figures[0]}.{figures[1:]}", exponent)


class B1999(Scientific):
    """Signed mantissa, exponent: 1816 tokens."""

    name, most = "b1999", 2
    vocabulary = (*(sign + mantissa for sign in _SIGNS for mantissa in _MANTISSAS), *_EXPONENTS, ZERO)

    def _tokens(self, sign: str, figures: str, exponent: str) -> tuple[str, ...]:
        return (f"{sign}{figures[0]}.{figures[1:]}", exponent)


class FP15(Scientific):
    """One token a number: 27,001 tokens."""

    name, most = "fp15", 1
    vocabulary = (*(s + m + e for s in _SIGNS for m in _MANTISSAS for e in _EXPONENTS), ZERO)

    def _tokens(self, sign: str, figures: str, exponent: str) -> tuple[str, ...]:
        return (f"{sign}{figures[0]}.{figures[1:]}{exponent}",)

"""Chunks of up to three digits: cut from the left as GPT-4's tokeniser cuts them, or from the right.

From the left the same token means 143, 1430 or 143000, and the operands of a sum do not line up; from the right
(Singh and Strouse 2024) every chunk is a group of thousands, for as many tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llemma.tokens.numbers.encoding import CHARACTERS, Written
from llemma.tokens.numbers.scanner import Number

_RUN = re.compile(r"[0-9]+|[^0-9]")
_CHUNKS = tuple(f"{value:0{size}d}" for size in (1, 2, 3) for value in range(10**size))


class FromLeft(Written):
    """Chunks of three from the front of each run of digits; what is left over is last."""

    name = "chunk3-l2r"
    low, high, resolution, lossless = "any", "any", "as written", True
    vocabulary = (*_CHUNKS, *(c for c in CHARACTERS if not c.isdigit()))
    most = 12

    def write(self, number: Number) -> tuple[str, ...] | None:
        runs = _RUN.findall(number.surface)
        return tuple(piece for place, run in enumerate(runs) for piece in self._cut(run, "." in runs[:place]))

    def _cut(self, run: str, decimals: bool) -> list[str]:
        return [run[k : k + 3] for k in range(0, len(run), 3)]

    def read(self, tokens: Sequence[str]) -> str | None:
        return "".join(tokens)


class FromRight(FromLeft):
    """Chunks of three from the point outwards: whole numbers from the back, decimals from the front."""

    name = "chunk3-r2l"

    def _cut(self, run: str, decimals: bool) -> list[str]:
        first = 0 if decimals else len(run) % 3
        return ([run[:first]] if first else []) + [run[k : k + 3] for k in range(first, len(run), 3)]

"""Which characters make words and what they are folded to: one table over Unicode for the byte kernels.

Letters and digits of every script make words; case, diacritics and compatibility forms are folded away (``É`` and
``e``, ``𝑥`` and ``x``, the ligature ``ﬁ`` and ``fi`` are the same). A character of a script without spaces (Han, kana,
Thai, Lao, Burmese, Khmer) is a word of its own. Combining accents, soft hyphens and joiners vanish; all else parts
words. The table follows the Unicode version of the running Python; characters that it has had since Unicode 14 never
change.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from typing import Literal

import numpy as np

Digits = Literal["keep", "zero"]

SIZE = 0x20000  # code points in the table; those beyond are Han up to 0x3FFFF, then none that make words
HAN_END = 0x40000
PARTS, VANISHES = 0, 1  # entries of the table that are no symbol of a word
ALONE = 1 << 31  # flag: the symbol is a word of its own
SEVERAL = 1 << 30  # flag: the rest of the entry is the row of `several` that holds the symbols
LONGEST = 4  # symbols one character may unfold to; U+FDFA would be 18

# What carries no meaning for a reader who compares texts: accents, Hebrew and Arabic points, joiners, variation signs.
_VANISHING = (
    (0x00AD, 0x00AD), (0x0300, 0x036F), (0x0591, 0x05BD), (0x05BF, 0x05C7), (0x064B, 0x065F), (0x0670, 0x0670),
    (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x200B, 0x200D), (0x2060, 0x2060), (0x20D0, 0x20FF), (0xFE00, 0xFE0F),
    (0xFE20, 0xFE2F), (0xFEFF, 0xFEFF),
)  # fmt: skip
_ALONE = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9D),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """``table[code point]``: PARTS, VANISHES, a symbol (flag ALONE or none), or SEVERAL and a row of ``several``.

    ``table`` is (SIZE,) uint32; ``several`` is (rows, LONGEST) uint32, filled up with zeros.
    """

    table: np.ndarray
    several: np.ndarray


@functools.cache
def folding(digits: Digits) -> Folding:
    """The table; with ``digits="zero"`` every digit is a 0."""
    table = np.zeros(SIZE, dtype=np.uint32)
    rows: dict[tuple[int, ...], int] = {}
    for start, end in ((0, 0x3400), (0xA000, 0xAC00), (0xF900, SIZE)):  # between them: Han and Hangul, see below
        for code in range(start, end):
            symbols = _symbols(code, digits)
            if len(symbols) == 1:
                table[code] = symbols[0]
            elif symbols:
                table[code] = SEVERAL | rows.setdefault(symbols[:LONGEST], len(rows))
    for start, end in ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xAC00, 0xD7A4)):
        table[start:end] = np.arange(start, end)
    for start, end in _ALONE:
        part = table[start : end + 1]
        part[(part > VANISHES) & (part & SEVERAL == 0)] |= ALONE
    for start, end in _VANISHING:
        table[start : end + 1] = VANISHES
    several = np.zeros((max(1, len(rows)), LONGEST), dtype=np.uint32)
    for symbols, row in rows.items():
        several[row, : len(symbols)] = symbols
    return Folding(table=table, several=several)


def _symbols(code: int, digits: Digits) -> tuple[int, ...]:
    """What a character is folded to; nothing when it parts words."""
    char = chr(code)
    if unicodedata.category(char)[0] not in "LNM":
        return ()
    form: Literal["NFKC", "NFKD"] = (
        "NFKC" if 0x3040 <= code <= 0x30FF or (code >= 0xF900 and code <= 0xFFEF) else "NFKD"
    )
    plain = unicodedata.normalize(form, char).casefold()
    return tuple(_digit(c, digits) for c in unicodedata.normalize(form, plain) if _stays(c))


def _stays(char: str) -> bool:
    code = ord(char)
    return unicodedata.category(char)[0] in "LNM" and not any(start <= code <= end for start, end in _VANISHING)


def _digit(char: str, digits: Digits) -> int:
    value = unicodedata.digit(char, None)
    if value is None:
        return ord(char)
    return ord("0") if digits == "zero" else ord("0") + value

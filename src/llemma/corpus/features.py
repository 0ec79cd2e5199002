"""Words and n-grams of a text as 64-bit hashes, in numpy: what the quality models and rules count.

A text is lower-cased; letters (every character beyond ASCII but punctuation is taken for one) and digits make words,
every digit is a 0 (or a space), everything else is one space. The hash of a stretch of bytes comes from prefix sums of
a polynomial modulo 2^64, so no loop over bytes or words runs in Python. Equal texts have equal hashes on every machine.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np

U64 = np.uint64
BASE = 0x9E3779B97F4A7C15 | 1  # odd, so that it has an inverse modulo 2^64
INVERSE = pow(BASE, -1, 1 << 64)
PIECE = 1 << 20  # bytes hashed at a time: bounds memory, and the table of powers
PUNCTUATION = re.compile("[\u0080-\u00bf\u00d7\u00f7\u2000-\u206f\u3000-\u303f\ufe30-\ufe4f\uff01-\uff0f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed:
    """The hashes of a text: one uint64 per word, and one per character n-gram."""

    words: np.ndarray
    grams: np.ndarray


@functools.cache
def _tables(digits: bool) -> tuple[np.ndarray, np.ndarray]:
    """Byte → its normal form (0: no part of a word), and byte → random 64-bit value."""
    normal = np.zeros(256, dtype=np.uint8)
    for byte in (*range(ord("a"), ord("z") + 1), *range(128, 256)):
        normal[byte] = byte
    for byte in range(ord("A"), ord("Z") + 1):
        normal[byte] = byte + 32
    normal[ord("0") : ord("9") + 1] = ord("0") if digits else 0
    value = np.random.Generator(np.random.PCG64(0)).integers(1, 2**64, size=256, dtype=U64)
    return normal, value


@functools.cache
def _powers() -> tuple[np.ndarray, np.ndarray]:
    """``BASE**k`` and ``BASE**-k`` modulo 2^64 for every place in a piece."""
    size = PIECE + 2
    powers = []
    for base in (BASE, INVERSE):
        table = np.full(size, base, dtype=U64)
        table[0] = 1
        powers.append(np.multiply.accumulate(table))
    return powers[0], powers[1]


def mix(hashes: np.ndarray) -> np.ndarray:
    """The hashes with every bit depending on all others (the finaliser of MurmurHash3)."""
    mixed: np.ndarray = hashes ^ (hashes >> U64(33))
    mixed *= U64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> U64(33)
    mixed *= U64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> U64(33)
    return mixed


def hashed(text: str, *, gram: int = 0, digits: bool = True) -> Hashed:
    """The words of ``text`` in order and, for ``gram`` > 0, its character n-grams of that length.

    Without ``digits`` they separate words like punctuation. A character n-gram is a stretch of ``gram`` bytes of the
    words with single spaces between them. Words and n-grams across the border of two pieces of a very long text are
    cut there.
    """
    if not text.isascii():
        text = PUNCTUATION.sub(" ", text)
    data = np.frombuffer(text.lower().encode("utf-8", "surrogatepass"), dtype=np.uint8)
    pieces = [_piece(data[start : start + PIECE], gram, digits) for start in range(0, len(data), PIECE)]
    if len(pieces) == 1:
        return pieces[0]
    none = np.zeros(0, dtype=U64)
    return Hashed(
        words=np.concatenate([none, *(p.words for p in pieces)]),
        grams=np.concatenate([none, *(p.grams for p in pieces)]),
    )


def _piece(data: np.ndarray, gram: int, digits: bool) -> Hashed:
    normal, value = _tables(digits)
    power, inverse = _powers()
    data = normal[data]
    inside = np.empty(len(data) + 2, dtype=bool)
    inside[0] = inside[-1] = False
    np.not_equal(data, 0, out=inside[1:-1])
    kept = inside[1:-1] | inside[:-2]  # the words, and one separator behind each
    data = data[kept]
    size = len(data)
    prefix = np.empty(size + 1, dtype=U64)
    prefix[0] = 0
    np.cumsum(value[data] * power[:size], out=prefix[1:])
    edge = np.flatnonzero(data == 0)
    ends = edge if size == 0 or data[-1] == 0 else np.append(edge, size)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1] + 1]) if len(ends) else ends
    words = mix((prefix[ends] - prefix[starts]) * inverse[starts])
    grams = np.zeros(0, dtype=U64)
    if gram and size > gram:
        grams = (prefix[gram:] - prefix[:-gram]) * inverse[: size - gram + 1]
    return Hashed(words=words, grams=grams)


def ngrams(words: np.ndarray, n: int) -> np.ndarray:
    """One hash for each run of ``n`` words (n >= 1)."""
    if n == 1:
        return words
    count = max(0, len(words) - n + 1)
    found = words[:count].copy()
    for k in range(1, n):
        found *= U64(0xD6E8FEB86659FD93)
        found += words[k : k + count]
        found ^= found >> U64(32)
    return mix(found)

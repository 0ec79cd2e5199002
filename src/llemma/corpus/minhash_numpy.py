"""The signature of a text, defined and computed in numpy: what runs without numba, and what the numba kernel must
equal.

Words: runs of letters and digits, folded (``folding``), cut after 64 symbols. Word hash: ``h = (h ^ symbol) * WORD``
from ``WORD``, mixed. A shingle is ``ngram`` words in a row, hashed by a polynomial in ``STEP``; a text of fewer words
is one shingle. Row ``k`` of the MinHash is the least ``x * multiply[k] + add[k]`` modulo 2^32 over the shingles. All
arithmetic is modulo 2^64 or 2^32, so equal texts have equal signatures on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llemma.corpus.folding import ALONE, HAN_END, PARTS, SEVERAL, SIZE, VANISHES, Folding

U32, U64 = np.uint32, np.uint64
LONGEST_WORD = 64  # symbols; a longer run of letters is several words
WORD = 0x9E3779B97F4A7C15
STEP = 0xD6E8FEB86659FD93
SPREAD = 0xA0761D6478BD642F
MIX_1, MIX_2 = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53  # the finaliser of MurmurHash3
BLOCK_1, BLOCK_2 = 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3
BAND = 0x589965CC75374CC3
SKETCH = 0x9E3779B1
_SPACES = np.zeros(256, dtype=bool)
_SPACES[[9, 10, 11, 12, 13, 32]] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The hash functions of a MinHash: ``multiply`` (odd) and ``add``, uint32, one of each per row of each band."""

    bands: int
    rows: int
    ngram: int
    multiply: np.ndarray
    add: np.ndarray


def mix(hashes: np.ndarray) -> np.ndarray:
    """The hashes with every bit depending on all others."""
    mixed: np.ndarray = hashes ^ (hashes >> U64(33))
    mixed *= U64(MIX_1)
    mixed ^= mixed >> U64(33)
    mixed *= U64(MIX_2)
    mixed ^= mixed >> U64(33)
    return mixed


def exact(data: np.ndarray, offsets: np.ndarray, out: np.ndarray) -> None:
    """Columns 0 and 1 of ``out``: 128 bits of each text's bytes, every run of ASCII white space taken for one space.

    ``data`` (uint8) holds the texts one after the other, text ``i`` from ``offsets[i]`` to ``offsets[i + 1]``. The
    bytes are taken eight at a time, each block mixed with its place in two ways; the sums are mixed with the length.
    """
    count = len(offsets) - 1
    text = np.repeat(np.arange(count), np.diff(offsets))
    space = _SPACES[data]
    first = np.ones(len(data), dtype=bool)
    first[1:] = text[1:] != text[:-1]
    begins = ~space  # a byte that is no space, or the last space of an inner run
    follows = np.zeros(len(data), dtype=bool)
    follows[:-1] = space[:-1] & ~space[1:] & (text[1:] == text[:-1])
    seen = np.cumsum(begins)
    before = np.concatenate([[0], seen])[offsets[:-1]]
    kept = begins | (follows & (seen > before[text]))
    bytes_, owner = np.where(space, 32, data)[kept].astype(U64), text[kept]
    lengths = np.bincount(owner, minlength=count)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    blocks = (lengths + 7) // 8
    starts = np.cumsum(blocks) - blocks
    packed = np.zeros(int(blocks.sum()), dtype=U64)
    np.bitwise_or.at(packed, starts[owner] + place // 8, bytes_ << (U64(8) * (place % 8).astype(U64)))
    number = (np.arange(len(packed)) - np.repeat(starts, blocks)).astype(U64) + U64(1)
    for column, factor in enumerate((BLOCK_1, BLOCK_2)):
        mixed = np.concatenate([mix((packed ^ (packed >> U64(32))) * U64(factor) + number * U64(STEP)), [U64(0)]])
        total = np.add.reduceat(mixed, starts) if count else np.zeros(0, dtype=U64)
        total[blocks == 0] = 0
        out[:, column] = mix(total + (lengths + 1).astype(U64) * U64(factor))


def near(data: np.ndarray, offsets: np.ndarray, fold: Folding, family: Family, out: np.ndarray) -> None:
    """Columns from 2 on of ``out``: one key per band (0: no words), then the sketch, eight bytes in a column."""
    count, bands, rows = len(offsets) - 1, family.bands, family.rows
    found, per_text = shingles(data, offsets, fold, family.ngram)
    starts = np.cumsum(per_text) - per_text
    full = np.flatnonzero(per_text)
    least = np.zeros((bands * rows, count), dtype=U32)
    if len(full):
        for k in range(bands * rows):
            least[k, full] = np.minimum.reduceat(found * family.multiply[k] + family.add[k], starts[full])
    for band in range(bands):
        key = np.full(count, U64(BAND * (band + 1) % 2**64))
        for row in range(rows):
            key = (key ^ least[band * rows + row]) * U64(STEP)
            key ^= key >> U64(29)
        out[:, 2 + band] = np.maximum(mix(key), U64(1))
    sketch = ((least * U32(SKETCH)) >> U32(24)).astype(U64)
    out[:, 2 + bands :] = 0
    for k in range(bands * rows):
        out[:, 2 + bands + k // 8] |= sketch[k] << U64(8 * (k % 8))
    out[per_text == 0, 2:] = 0


def shingles(data: np.ndarray, offsets: np.ndarray, fold: Folding, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """The shingles of all texts in order (uint32), and how many each text has."""
    symbols, owner = _symbols(data, offsets, fold)
    words, owner = _words(symbols, owner)
    return _shingles(words, np.bincount(owner, minlength=len(offsets) - 1), ngram)


def _symbols(data: np.ndarray, offsets: np.ndarray, fold: Folding) -> tuple[np.ndarray, np.ndarray]:
    """The folded symbols of all texts, 0 where words are parted, and the number of the text of each."""
    codes = np.frombuffer(data.tobytes().decode("utf-8", "surrogatepass").encode("utf-32-le", "surrogatepass"), U32)
    leads = np.concatenate([[0], np.cumsum((data & 0xC0) != 0x80)])
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(leads[offsets]))
    symbols = fold.table[np.minimum(codes, SIZE - 1)]
    beyond = codes >= SIZE
    symbols[beyond] = np.where(codes[beyond] < HAN_END, codes[beyond] | U32(ALONE), PARTS)
    several = (symbols & U32(SEVERAL)) != 0
    if several.any():
        rows = fold.several[symbols[several] & U32(SEVERAL - 1)]
        times = np.ones(len(symbols), dtype=np.int64)
        times[several] = (rows > 0).sum(axis=1)
        unfolded, owner = np.repeat(symbols, times), np.repeat(owner, times)
        unfolded[np.repeat(several, times)] = rows[rows > 0]
        symbols = unfolded
    stays = symbols != VANISHES
    return symbols[stays], owner[stays]


def _words(symbols: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mixed hash of each word (uint64) and the number of its text."""
    inside = symbols != PARTS
    alone = (symbols & U32(ALONE)) != 0
    begins = inside.copy()
    begins[1:] &= ~inside[:-1] | (owner[1:] != owner[:-1]) | alone[1:] | alone[:-1]
    run = np.flatnonzero(begins)
    place = np.arange(len(symbols)) - run[np.cumsum(begins) - 1] if len(run) else np.zeros(len(symbols), dtype=np.int64)
    begins |= inside & (place % LONGEST_WORD == 0)
    starts = np.flatnonzero(begins)
    word = np.cumsum(begins)[inside] - 1
    lengths = np.bincount(word, minlength=len(starts))
    hashes = np.full(len(starts), U64(WORD))
    left = np.arange(len(starts))
    for step in range(int(lengths.max(initial=0))):
        left = left[lengths[left] > step]
        hashes[left] = (hashes[left] ^ symbols[starts[left] + step]) * U64(WORD)
    return mix(hashes), owner[starts]


def _shingles(words: np.ndarray, sizes: np.ndarray, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """The shingles of all texts (uint32), and how many each text has."""
    per_text = np.where(sizes == 0, 0, np.maximum(sizes - ngram + 1, 1))
    first = np.cumsum(sizes) - sizes
    begin = np.arange(int(per_text.sum())) + np.repeat(first - (np.cumsum(per_text) - per_text), per_text)
    span = np.repeat(np.minimum(sizes, ngram), per_text)
    total = np.zeros(len(begin), dtype=U64)
    for step in range(ngram):
        more = span > step
        total[more] = total[more] * U64(STEP) + words[begin[more] + step]
    total ^= total >> U64(32)
    return ((total * U64(SPREAD)) >> U64(32)).astype(U32), per_text

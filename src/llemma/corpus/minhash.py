"""Signatures of texts: 128 bits of the whole, one key per band of a MinHash, a sketch that estimates similarity.

A row holds ``2 + bands + ceil(bands * rows / 8)`` uint64: two for the text with white space evened out, one key per
band (0 in all of them: the text has no words), then one byte for each row of the MinHash. Two texts that share a key
are candidates; the share of equal bytes estimates the Jaccard similarity of their sets of shingles. ``minhash_numpy``
defines the numbers; with numba the same ones come from ``minhash_numba``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from llemma.corpus import minhash_numpy
from llemma.corpus.folding import Digits, folding
from llemma.errors import MissingDependency
from llemma.plugins import import_module

EXACT = 2  # columns of the exact hash
CHANCE = 1 / 256  # that two different rows have equal bytes
_PIECE = 1 << 24  # bytes of text that the numpy kernel, which needs 100 times as much, takes at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a signature holds: ``bands`` keys of ``rows`` rows over shingles of ``ngram`` words; 0 bands: exact only."""

    bands: int = 14
    rows: int = 8
    ngram: int = 5
    digits: Digits = "keep"

    @property
    def hashes(self) -> int:
        """Rows of the MinHash."""
        return self.bands * self.rows

    @property
    def width(self) -> int:
        """Columns of a signature."""
        return EXACT + self.bands + (self.hashes + 7) // 8


@functools.cache
def compiled_module(name: str) -> ModuleType | None:
    """The module of numba kernels, None where numba is not installed."""
    try:
        return import_module(name)
    except MissingDependency:
        return None


def fixed(array: np.ndarray) -> np.ndarray:
    """The array in one piece and read-only: of one type for numba, which compiles a kernel again for each.

    Processes that compile a kernel for different types at the same time could spoil what numba keeps on the disk.
    """
    view = np.ascontiguousarray(array).view(np.ndarray)
    view.flags.writeable = False
    return view


@functools.cache
def _family(plan: Plan) -> minhash_numpy.Family:
    """Hash functions that are the same on every machine and for every number of bands of the same number of rows."""
    seeds = minhash_numpy.mix(np.arange(1, 2 * plan.hashes + 1, dtype=np.uint64) * np.uint64(minhash_numpy.WORD))
    numbers = (seeds >> np.uint64(32)).astype(np.uint32)
    return minhash_numpy.Family(
        bands=plan.bands,
        rows=plan.rows,
        ngram=plan.ngram,
        multiply=numbers[0::2] | np.uint32(1),
        add=numbers[1::2].copy(),  # a strided view would keep the compiler from using SIMD: five times slower
    )


def pack(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 bytes of all texts (uint8), and where each begins; one offset more says where the last ends (int64)."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(data) for data in encoded], out=offsets[1:])
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets


def sign(data: np.ndarray, offsets: np.ndarray, plan: Plan, *, numba: bool = True) -> np.ndarray:
    """The signatures (texts, ``plan.width``) of packed texts; without ``numba`` the same numbers come slowly."""
    data = fixed(data)
    out = np.zeros((len(offsets) - 1, plan.width), dtype=np.uint64)
    fold, family = folding(plan.digits), _family(plan)
    kernels = compiled_module("llemma.corpus.minhash_numba") if numba else None
    if kernels is None:
        for first, last in _pieces(offsets):
            piece = data[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first]
            minhash_numpy.exact(*piece, out[first:last])
            if plan.bands:
                minhash_numpy.near(*piece, fold, family, out[first:last])
        return out
    kernels.exact(data, offsets, out)
    if plan.bands:
        shape = (plan.bands, plan.rows, plan.ngram)
        kernels.near(data, offsets, fold.table, fold.several, *shape, family.multiply, family.add, out)
    return out


def shingle_sets(texts: Sequence[str], plan: Plan) -> list[np.ndarray]:
    """The shingles of each text as 32 bits, sorted, each once: what its MinHash is taken of."""
    data, offsets = pack(texts)
    fold, kernels = folding(plan.digits), compiled_module("llemma.corpus.minhash_numba")
    if kernels is None:
        flat, counts = minhash_numpy.shingles(data, offsets, fold, plan.ngram)
    else:
        flat, counts = np.empty(len(data) + 1, dtype=np.uint32), np.empty(len(texts), dtype=np.int64)
        kernels.shingles(data, offsets, fold.table, fold.several, plan.ngram, flat, counts)
    ends = np.cumsum(counts)
    return [np.unique(flat[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def _pieces(offsets: np.ndarray) -> list[tuple[int, int]]:
    """Runs of texts of about ``_PIECE`` bytes, at least one text each."""
    pieces, first, count = [], 0, len(offsets) - 1
    while first < count:
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _PIECE, side="right")) - 1)
        pieces.append((first, last))
        first = last
    return pieces


def estimate(equal: np.ndarray, plan: Plan) -> np.ndarray:
    """The similarity that so many equal bytes of two sketches stand for, without those that are equal by chance."""
    return np.clip((equal / plan.hashes - CHANCE) / (1 - CHANCE), 0, 1)


def equal_needed(similarity: float, plan: Plan) -> int:
    """How many bytes must be equal for an estimate of at least ``similarity``."""
    counts = np.arange(plan.hashes + 1)
    enough = np.flatnonzero(estimate(counts, plan) >= similarity)
    return int(enough[0])


def recall(similarity: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    """The theory: how likely two texts of this similarity share at least one key, ``1 - (1 - s^rows)^bands``."""
    return 1 - (1 - similarity**rows) ** bands

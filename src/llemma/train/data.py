"""Batches as a pure function of the step: ``batch(step)`` needs no history, no index file, no worker.

Sample number k of the run belongs to a source by a fixed pattern that holds the mixture's proportions at
every prefix; its place in the source is a keyed permutation of the source's blocks, another one each epoch.
Resuming is therefore one integer, and the ranks of a job of any size read slices of the same batch. Rows cross
document borders, as in the Llemma recipe (GPT-NeoX).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llemma.corpus.shards import Origin, open_shard, origin, read_manifest
from llemma.errors import ConfigError, DataError, nearest

PERIOD = 2048  # samples after which the pattern of sources repeats: weights are exact to 1/2048
ROUNDS = 4  # of the Feistel network


class Mixture:
    """The training rows of a corpus, mixed by weight."""

    def __init__(
        self,
        corpus: Path,
        weights: Mapping[str, float],
        *,
        context: int,
        batch_size: int,
        seed: int,
        verify: bool = True,
    ) -> None:
        """Raises ConfigError for weights of unknown sources, DataError for damaged or too short shards.

        Without ``verify`` only the length of a shard is checked, not its sha256 (half a second for a gigabyte).
        """
        manifest = read_manifest(corpus)
        sources = manifest["sources"]
        weights = dict(weights) or {name: entry["weight"] for name, entry in sources.items()}
        for name in weights:
            if name not in sources:
                raise ConfigError(f"mixture.{name}: the corpus {corpus} has no such source{nearest(name, sources)}")
        self.names = [name for name, weight in weights.items() if weight > 0]
        if not self.names:
            raise ConfigError("the weights of the mixture must sum to something positive")
        self.context, self.batch_size, self.seed = context, batch_size, seed
        self._corpus = corpus
        self._blocks = [Blocks(corpus, manifest, name, "train", context, verify=verify) for name in self.names]
        self._sizes = np.array([len(blocks) for blocks in self._blocks])
        self._pattern = pattern([weights[name] for name in self.names], PERIOD)
        self._counts = np.bincount(self._pattern, minlength=len(self.names))
        rank = np.zeros(PERIOD, dtype=np.int64)
        for s in range(len(self.names)):
            rank[self._pattern == s] = np.arange(self._counts[s])
        self._rank = rank
        self._period = functools.lru_cache(maxsize=4)(self._drawn_period)  # neighbouring batches share one

    def batch(self, step: int, rank: int = 0, world: int = 1) -> np.ndarray:
        """The rows of a step, or a rank's share of them: (batch_size / world, context + 1) int64 token ids.

        The shares of all ranks, one below the other, are the batch, whatever ``world`` is. Raises ConfigError when the
        batch cannot be shared out evenly.
        """
        source, block = self._drawn(*self._share(step, rank, world))
        rows = np.empty((len(source), self.context + 1), dtype=np.int64)
        for s in np.unique(source):
            mine = np.flatnonzero(source == s)
            self._blocks[s].gather(block[mine], rows, mine)
        return rows

    def sources(self, step: int, rank: int = 0, world: int = 1) -> np.ndarray:
        """The numbers of the sources (places in ``names``) of the rows of ``batch``: (batch_size / world,) int64."""
        first, count = self._share(step, rank, world)
        return self._pattern[np.arange(first, first + count) % PERIOD]

    def _share(self, step: int, rank: int, world: int) -> tuple[int, int]:
        """The first sample of a rank's share of a batch, and how many they are."""
        if self.batch_size % world or not 0 <= rank < world:
            raise ConfigError(
                f"batch_size={self.batch_size} cannot be shared out: rank {rank} of {world}; use a multiple of {world}"
            )
        share = self.batch_size // world
        return step * self.batch_size + rank * share, share

    def trace(self, step: int, row: int, column: int) -> Origin:
        """The shard, token and document behind ``batch(step)[row, column]``. Raises ConfigError outside the batch."""
        if step < 0 or not 0 <= row < self.batch_size or not 0 <= column <= self.context:
            raise ConfigError(
                f"step {step}, row {row}, column {column}: a batch has the rows 0 to {self.batch_size - 1} and the "
                f"columns 0 to {self.context}"
            )
        source, block = self._drawn(step * self.batch_size + row, 1)
        file, start = self._blocks[int(source[0])].place(int(block[0]))
        return origin(self._corpus, file, start + column)

    def epochs(self, steps: int) -> dict[str, float]:
        """How often each source is read in ``steps`` steps."""
        samples = steps * self.batch_size
        return {
            name: round(samples * float(count) / PERIOD / len(blocks), 3)
            for name, count, blocks in zip(self.names, self._counts, self._blocks, strict=True)
        }

    def _drawn(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Source and block of ``count`` samples of the run, from number ``first`` on: two (count,) int64 arrays."""
        periods = [self._period(number) for number in range(first // PERIOD, (first + count - 1) // PERIOD + 1)]
        block = periods[0] if len(periods) == 1 else np.concatenate(periods)
        mine = slice(first % PERIOD, first % PERIOD + count)
        return self._pattern[np.arange(first, first + count) % PERIOD], block[mine]

    def _drawn_period(self, number: int) -> np.ndarray:
        """The blocks of the samples ``number * PERIOD`` and after, for one period: (PERIOD,) int64."""
        source = self._pattern
        epoch, place = np.divmod(number * self._counts[source] + self._rank, self._sizes[source])
        keys = np.empty((PERIOD, ROUNDS), dtype=np.uint64)
        for s, e in sorted(set(zip(source.tolist(), epoch.tolist(), strict=True))):
            keys[(source == s) & (epoch == e)] = round_keys(f"{self.seed}/{self.names[s]}/{e}")
        return permuted(place, self._sizes[source], keys)


class Blocks:
    """The blocks of ``context`` tokens (and the one after) of one source and split, over all its shards."""

    def __init__(
        self, corpus: Path, manifest: Mapping[str, Any], source: str, split: str, context: int, *, verify: bool = True
    ) -> None:
        """Raises DataError when the source has no full block in this split."""
        chosen = [s for s in manifest["shards"] if s["source"] == source and s["split"] == split]
        arrays = [
            open_shard(corpus, shard, verify=verify).view(np.ndarray) for shard in chosen
        ]  # a memmap's own slices are slow
        self._files = [str(shard["file"]) for shard in chosen]
        self._windows = [
            np.lib.stride_tricks.sliding_window_view(a, context + 1) if len(a) > context else None for a in arrays
        ]
        self._starts = np.cumsum([0, *((len(a) - 1) // context for a in arrays)])
        self._context = context
        if len(self) < 1:
            raise DataError(
                f"source {source!r} has no block of {context + 1} tokens for {split}; give it more text or use a "
                "smaller context",
                where=corpus,
            )

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> np.ndarray:
        """Block number ``index``, as it lies in its file."""
        shard, start = self._shard(index)
        window = self._windows[shard]
        assert window is not None
        block: np.ndarray = window[start]
        return block

    def gather(self, index: np.ndarray, out: np.ndarray, rows: np.ndarray) -> None:
        """Put the blocks ``index`` (n,) into the rows ``rows`` (n,) of ``out`` (any, context + 1)."""
        shard = np.searchsorted(self._starts, index, side="right") - 1
        start = (index - self._starts[shard]) * self._context
        for number in np.unique(shard):
            mine, window = shard == number, self._windows[number]
            assert window is not None
            out[rows[mine]] = window[start[mine]]

    def place(self, index: int) -> tuple[str, int]:
        """The file of a block and the number of its first token there."""
        shard, start = self._shard(index)
        return self._files[shard], start

    def _shard(self, index: int) -> tuple[int, int]:
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return shard, (index - int(self._starts[shard])) * self._context


def pattern(weights: Sequence[float], length: int) -> np.ndarray:
    """A sequence of source numbers whose every prefix holds the weights' proportions to within two samples.

    Within one up to three sources; the worst found by search up to 24 sources is 1.3.
    """
    share = np.array(weights, dtype=np.float64) / sum(weights)
    given = np.zeros(len(share))
    out = np.empty(length, dtype=np.int64)
    for k in range(length):  # the source with the largest deficit is next (NeoX's blending rule)
        out[k] = int(np.argmax(share * (k + 1) - given))
        given[out[k]] += 1
    return out


@functools.lru_cache(maxsize=1024)
def round_keys(key: str) -> np.ndarray:
    """The four keys of the network that ``key`` stands for: (4,) uint64."""
    keys = np.frombuffer(hashlib.blake2b(key.encode(), digest_size=8 * ROUNDS).digest(), dtype=">u8").astype(np.uint64)
    keys.flags.writeable = False
    return keys


def permuted(index: np.ndarray, size: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Where keyed permutations of 0..size-1 send ``index``: a Feistel network each, walked until inside.

    ``index`` and ``size`` are (n,) int64, ``keys`` (n, 4) uint64, one permutation for each place. The arithmetic is
    that of 64-bit words and must stay as it is: runs that go on depend on every value.
    """
    half = np.maximum(1, (np.frexp((size - 1).astype(np.float64))[1] + 1) // 2).astype(np.uint64)  # bits, halved
    mask = (np.uint64(1) << half) - np.uint64(1)
    out = index.astype(np.uint64)
    limit = size.astype(np.uint64)
    walking = np.arange(len(out))
    while len(walking):
        out[walking] = walked = _feistel(out[walking], half[walking], mask[walking], keys[walking])
        walking = walking[walked >= limit[walking]]
    return out.astype(np.int64)


def _feistel(word: np.ndarray, half: np.ndarray, mask: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Four rounds on words of twice ``half`` bits: (n,) uint64."""
    left, right = word >> half, word & mask
    for r in range(ROUNDS):
        mixed = right * np.uint64(0x9E3779B1) + keys[:, r]
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
    words: np.ndarray = (left << half) | right
    return words


def validation(corpus: Path, sources: Sequence[str], *, context: int, rows: int) -> dict[str, np.ndarray]:
    """Up to ``rows`` held-out rows of each source that has some: name → (rows, context + 1) int64."""
    manifest = read_manifest(corpus)
    found = {}
    for name in sources:
        shards = [s for s in manifest["shards"] if s["source"] == name and s["split"] == "valid"]
        if sum((s["tokens"] - 1) // context for s in shards):
            blocks = Blocks(corpus, manifest, name, "valid", context)
            found[name] = np.stack([blocks[i].astype(np.int64) for i in range(min(rows, len(blocks)))])
    return found

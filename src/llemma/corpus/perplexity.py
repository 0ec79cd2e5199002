"""Perplexity of a text under a small model of word n-grams: how far its word order is from that of known good text.

Interpolated Kneser-Ney smoothing with one discount (Kneser and Ney 1995; Chen and Goodman 1999, section 2.7) over
hashed words, in numpy: the tables are sorted arrays of 64-bit hashes. What it does not do: sentences. A text is one run
of words, as OpenWebMath's filter took it, and the figure is the same kind, 10 to the power of minus the mean log10 of a
word's probability; its size depends on the model, so a threshold belongs to one model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llemma.config import setting
from llemma.corpus.features import U64, hashed, ngrams
from llemma.errors import DataError
from llemma.run import atomic_write

MAGIC = b"llemma perplexity 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityOptions:
    """How the language model is trained."""

    order: int = setting(3, "longest n-gram in words")
    discount: float = setting(0.75, "taken off every count, given to what was not seen")
    least: int = setting(2, "n-grams of three and more words must occur so often to be kept")
    max_words: int = setting(20_000_000, "stop after so many words of training text")

    def __post_init__(self) -> None:
        if not 1 <= self.order <= 5:
            raise ValueError(f"order={self.order} must lie in 1..5")
        if not 0 < self.discount < 1:
            raise ValueError(f"discount={self.discount} must lie in 0..1")
        if min(self.least, self.max_words) < 1:
            raise ValueError("least and max_words must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The tables of one order: n-gram → share kept of its context's count, context → weight of the next lower order.

    ``grams`` and ``contexts`` are sorted hashes (uint64); ``shares`` and ``rests`` (float32) stand beside them.
    """

    grams: np.ndarray
    shares: np.ndarray
    contexts: np.ndarray
    rests: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Perplexity:
    """A trained model; ``orders[0]`` are single words, ``floor`` is the probability of a word never seen before."""

    orders: tuple[Order, ...]
    floor: float
    info: Mapping[str, Any]

    def logs(self, words: np.ndarray) -> np.ndarray:
        """The log10 of the probability of every word (hashes, uint64) after those before it."""
        chances = np.full(len(words), self.floor)
        for n, order in enumerate(self.orders, 1):
            if len(words) < n:
                break
            shares = _look_up(order.grams, order.shares, ngrams(words, n), missing=0.0)
            contexts = ngrams(words, n - 1)[: len(shares)] if n > 1 else np.zeros(len(words), dtype=U64)
            rests = _look_up(order.contexts, order.rests, contexts, missing=1.0)
            chances[n - 1 :] = shares + rests * chances[n - 1 :]
        logs: np.ndarray = np.log10(chances)
        return logs

    def __call__(self, prose: str) -> float:
        """The perplexity of a text from which markup is taken out; infinite for a text without words."""
        words = hashed(prose).words
        return float(10 ** -self.logs(words).mean()) if len(words) else math.inf


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, *, missing: float) -> np.ndarray:
    if not len(keys):
        return np.full(len(wanted), missing)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at].astype(np.float64), missing)


def train_perplexity(texts: Iterable[str], options: PerplexityOptions) -> Perplexity:
    """The model of texts without markup. Raises DataError when they hold no words."""
    parts, total = [], 0
    for text in texts:
        words = hashed(text).words
        parts.append(words)
        total += len(words)
        if total >= options.max_words:
            break
    if not total:
        raise DataError("no words to train a perplexity model on; add sources with mathematical text")
    tables = _counts(parts, options)
    vocabulary = len(tables[0][0])
    orders = tuple(_order(n, tables, options) for n in range(1, options.order + 1))
    info = {"words": total, "vocabulary": vocabulary, "order": options.order}
    # the unigram's discounted mass is spread over the known words and one that stands for all others
    return Perplexity(orders=orders, floor=1 / (vocabulary + 1), info=info)


_Table = tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray
]  # n-gram, count, its context, its suffix without the first


def _counts(parts: list[np.ndarray], options: PerplexityOptions) -> list[_Table]:
    """Per order the distinct n-grams with counts; below the highest a count is of different words before it."""
    tables: list[_Table] = []
    for n in range(options.order, 0, -1):
        grams = np.concatenate([ngrams(words, n) for words in parts])
        contexts = np.concatenate([_context(words, n) for words in parts])
        suffixes = np.concatenate([ngrams(words[1:], n - 1) if n > 1 else words for words in parts])
        unique, first, raw = np.unique(grams, return_index=True, return_counts=True)
        if n < options.order:
            above = tables[0]
            keys, before = np.unique(above[3], return_counts=True)
            counts = np.zeros(len(unique), dtype=np.int64)
            at = np.minimum(np.searchsorted(keys, unique), max(0, len(keys) - 1))
            if len(keys):
                counts = np.where(keys[at] == unique, before[at], 0)
            counts = np.maximum(counts, 1)  # what only stands at the beginning of a text has nothing before it
        else:
            counts = raw
        tables.insert(0, (unique, counts, contexts[first], suffixes[first]))
    return tables


def _context(words: np.ndarray, n: int) -> np.ndarray:
    """The n - 1 words before the last of every n-gram, as one hash; all equal for single words."""
    count = max(0, len(words) - n + 1)
    return ngrams(words, n - 1)[:count] if n > 1 else np.zeros(count, dtype=U64)


def _order(n: int, tables: list[_Table], options: PerplexityOptions) -> Order:
    grams, counts, contexts, _ = tables[n - 1]
    keys, inverse, kinds = np.unique(contexts, return_inverse=True, return_counts=True)
    totals = np.bincount(inverse, weights=counts, minlength=len(keys))
    shares = (counts - options.discount) / totals[inverse]
    rests = options.discount * kinds / totals
    if n >= 3 and options.least > 1:
        kept = counts >= options.least
        lost = np.bincount(inverse[~kept], weights=shares[~kept], minlength=len(keys))
        grams, shares, rests = grams[kept], shares[kept], rests + lost  # what is not kept counts as not seen
        used = np.isin(np.arange(len(keys)), inverse[kept])
        keys, rests = keys[used], rests[used]
    return Order(grams=grams, shares=shares.astype(np.float32), contexts=keys, rests=rests.astype(np.float32))


def save_perplexity(model: Perplexity, path: Path) -> None:
    """Write the model as one file: a line that names the format, a line of JSON, the arrays."""
    arrays = [a for o in model.orders for a in (o.grams, o.shares, o.contexts, o.rests)]
    data = b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)
    head = {
        "floor": model.floor, "info": dict(model.info),
        "sizes": [[len(o.grams), len(o.contexts)] for o in model.orders], "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    atomic_write(path, MAGIC + json.dumps(head, sort_keys=True).encode() + b"\n" + data)


def load_perplexity(path: Path) -> Perplexity:
    """The model in a file. Raises DataError when it is missing, damaged or something else."""
    try:
        content = path.read_bytes()
        if not content.startswith(MAGIC):
            raise ValueError("another format")
        line, _, data = content[len(MAGIC) :].partition(b"\n")
        head = json.loads(line)
        if hashlib.sha256(data).hexdigest() != head["sha256"]:
            raise ValueError("the tables are not those that were written")
        orders, start = [], 0
        for grams, contexts in head["sizes"]:
            arrays = []
            for kind, size in (("<u8", grams), ("<f4", grams), ("<u8", contexts), ("<f4", contexts)):
                arrays.append(np.frombuffer(data, dtype=kind, count=size, offset=start))
                start += arrays[-1].nbytes
            orders.append(Order(grams=arrays[0], shares=arrays[1], contexts=arrays[2], rests=arrays[3]))
        return Perplexity(orders=tuple(orders), floor=head["floor"], info=head["info"])
    except FileNotFoundError as error:
        raise DataError("no such model; train one: `llemma quality run=DIR`", where=path) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"not a perplexity model ({error}); train one: `llemma quality run=DIR`", where=path) from error

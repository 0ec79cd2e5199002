"""Finds runs of words that texts share with given items: all of them, exactly, in one pass over the bytes.

An item of at least ``n`` words is met when a text has ``n`` of its words in a row; a shorter one when the text has it
whole. Every n-th run holds a *seed*: the items' words are indexed at intervals so small that no run of ``n`` words
lies between two seeds. A text's words are hashed as they are read, each run of seed length is looked up in a table
(behind a filter of bits, nearly all are settled by one look), and a seed that is met is extended as far as words
agree. What hashes found is compared word by word before it is reported.

Two engines do the same: ``numba`` (``ngrams_kernel``) and ``python``, for machines without numba and for the tests.
Nothing here knows what an item is about, or what a match is worth: see ``overlap``.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from llemma.corpus import views
from llemma.corpus.overlap_settings import Engine, View
from llemma.errors import ConfigError
from llemma.plugins import import_module

SEEDS = (12, 6, 3, 1)  # words; an item's seeds have the greatest of these lengths that fits
WHOLE = 1 << 30  # "words between seeds" of an item that has one seed
BITS_PER_KEY = 24  # of the filter, or more: under 1 % of the runs pass it by chance
BATCH_BYTES = 1 << 20  # texts handed to the kernel at a time
KEPT_BYTES = 1 << 24  # buffers for longer texts are given back

PADDING = bytes(8)  # behind the texts, which are read eight bytes at a time

U64 = np.uint64


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Run:
    """``words`` words of an item in a row in a text: characters ``start:end`` of text number ``document``.

    ``place`` is the number of the item's first word that matches, from 0.
    """

    document: int
    start: int
    end: int
    item: int
    place: int
    words: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Where an item is indexed: ``length`` words from each of ``places`` on; a match needs ``needed`` words."""

    length: int
    places: Sequence[int]
    every: int
    needed: int


def seeds_of(sizes: Sequence[int], n: int, shortest: int) -> Seeds | None:
    """The seeds of an item whose words have these numbers of bytes; None when it is too short to be looked for.

    Any run of ``n`` words of a long item holds one of its seeds. A shorter item has one: its words of most bytes.
    """
    count = len(sizes)
    if count < min(n, shortest):
        return None
    length = next(seed for seed in SEEDS if seed <= min(n, count))
    if count >= n:
        every = n - length + 1
        return Seeds(length=length, places=range(0, count - length + 1, every), every=every, needed=n)
    width = [sum(sizes[i : i + length]) for i in range(count - length + 1)]
    return Seeds(length=length, places=(width.index(max(width)),), every=WHOLE, needed=count)


_Lines = dict[tuple[int, int, int], tuple[list[str], dict[int, int]]]  # document, start, end → its words


class Grams:
    """The items of a search in one view. One thread at a time may search."""

    def __init__(
        self, items: Sequence[str], view: View, n: int, shortest: int | Sequence[int], engine: Engine = "auto"
    ) -> None:
        """``shortest``: words below which an item is not looked for, for all items or for each."""
        least = [shortest] * len(items) if isinstance(shortest, int) else list(shortest)
        if engine == "auto":
            engine = "numba" if importlib.util.find_spec("numba") else "python"
        self.items, self.view, self.engine = list(items), view, engine
        self.texts = functools.lru_cache(1 << 16)(self._texts_of)  # the words of an item, as texts
        made = _Compiled if engine == "numba" else _Plain
        self._engine = made(self.items, view, n, least)
        self.searched = self._engine.searched

    def _texts_of(self, item: int) -> list[str]:
        return [word.text for word in views.words(self.items[item], self.view)]

    def length(self, item: int) -> int:
        """How many words an item has."""
        return len(self.texts(item))

    def find(self, texts: Sequence[str]) -> list[Run]:
        """Every longest run of words that a text shares with an item, in order of document and place in it."""
        found = self._engine.find(texts)
        if self.engine == "numba":
            lines: _Lines = {}
            found = [run for met in found for run in self._verified(texts[met.document], met, lines)]
        return sorted(found)

    def _verified(self, text: str, run: Run, lines: _Lines) -> Iterable[Run]:
        """The run when its words are equal; those of its parts that are equal and long enough if hashes were fooled."""
        wanted = self.texts(run.item)[run.place : run.place + run.words]
        if self.view == "raw":
            equal = text[run.start : run.end].split() == wanted
        else:
            there, places = self._line(text, run, lines)
            first = places.get(run.start, len(there))
            equal = there[first : first + run.words] == wanted
        if equal:
            return [run]
        words = [word for word in views.words(text, self.view) if word.start >= run.start and word.end <= run.end]
        return _equal_parts(run, words, wanted, self.searched[run.item])

    def _line(self, text: str, run: Run, lines: _Lines) -> tuple[list[str], dict[int, int]]:
        """The words of the lines in which a run lies, and the number of the one that begins at a character."""
        start = text.rfind("\n", 0, run.start) + 1  # what a word is depends on its line
        end = text.find("\n", run.end)
        key = run.document, start, len(text) if end < 0 else end
        if key not in lines:
            words = views.words(text, "normal", *key[1:])
            lines[key] = [word.text for word in words], {word.start: i for i, word in enumerate(words)}
        return lines[key]


def _equal_parts(run: Run, there: list[views.Word], wanted: list[str], needed: int) -> Iterator[Run]:
    begin: int | None = None
    for i, (mine, theirs) in enumerate([*zip(there, wanted, strict=False), (None, None)]):
        if mine is not None and theirs is not None and mine.text == theirs:
            begin = i if begin is None else begin
            continue
        if begin is not None and i - begin >= needed:
            start, end = there[begin].start, there[i - 1].end
            yield replace(run, start=start, end=end, place=run.place + begin, words=i - begin)
        begin = None


class _Plain:
    """The search in Python, over the words themselves."""

    def __init__(self, items: Sequence[str], view: View, n: int, shortest: Sequence[int]) -> None:
        self.view = view
        self.items = [[word.text for word in views.words(item, view)] for item in items]
        self.seeds: list[Seeds | None] = []
        self.table: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for item, words in enumerate(self.items):
            seeds = seeds_of([len(word.encode("utf-8", "surrogatepass")) for word in words], n, shortest[item])
            self.seeds.append(seeds)
            for place in seeds.places if seeds else ():
                assert seeds is not None
                self.table.setdefault(tuple(words[place : place + seeds.length]), []).append((item, place))
        self.lengths = sorted({seeds.length for seeds in self.seeds if seeds})
        self.searched = [seeds.needed if seeds else 0 for seeds in self.seeds]

    def find(self, texts: Sequence[str]) -> list[Run]:
        return [run for number, text in enumerate(texts) for run in self._in(number, text)]

    def _in(self, number: int, text: str) -> Iterator[Run]:
        words = views.words(text, self.view)
        texts = [word.text for word in words]
        for length in self.lengths:
            for at in range(len(texts) - length + 1):
                for item, place in self.table.get(tuple(texts[at : at + length]), ()):
                    before, behind = self._longest(texts, at, item, place)
                    if before + behind >= self.searched[item] and behind:
                        start, end = words[at - before].start, words[at + behind - 1].end
                        yield Run(
                            document=number, start=start, end=end, item=item, place=place - before,
                            words=before + behind,
                        )  # fmt: skip

    def _longest(self, texts: Sequence[str], at: int, item: int, place: int) -> tuple[int, int]:
        mine, seeds, before, behind = self.items[item], self.seeds[item], 0, 0
        assert seeds is not None
        while before < min(at, place) and texts[at - before - 1] == mine[place - before - 1]:
            before += 1
            if before == seeds.every:
                return 0, 0  # an earlier seed has met this run
        while at + behind < len(texts) and place + behind < len(mine) and texts[at + behind] == mine[place + behind]:
            behind += 1
        return before, behind


class _Compiled:
    """The search in compiled loops, over hashes of words; what it finds must be verified."""

    def __init__(self, items: Sequence[str], view: View, n: int, shortest: Sequence[int]) -> None:
        self.kernel = import_module("llemma.corpus.ngrams_kernel")
        self.view = view
        self.table = self.kernel.tables() if view == "normal" else None
        self.buffers = self._room(1)
        self.out = np.zeros((1024, 6), dtype=np.int64)
        self.searched, self.probe = self._indexed(items, n, shortest)

    def _room(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Room for the words of a text of ``size`` bytes: hash, first byte and end of each; sums of hashes."""
        return np.empty((size + 1, 3), dtype=U64), np.empty(size + 2, dtype=U64)

    def _hashed(self, text: bytes) -> tuple[np.ndarray, list[int]]:
        """The hashes of an item's words, and how many bytes each has."""
        data = np.frombuffer(text + PADDING, dtype=np.uint8)
        words, _ = self._room(len(text))
        if self.view == "raw":
            count = self.kernel.raw_words(data, 0, len(text), words)
        else:
            count = self.kernel.normal_words(data, 0, len(text), self.table, words)
        return words[:count, 0].copy(), (words[:count, 2] - words[:count, 1]).tolist()

    def _indexed(self, items: Sequence[str], n: int, shortest: Sequence[int]) -> tuple[list[int], Any]:
        hashes, first, needed, every = [np.zeros(0, dtype=U64)], [0], [], []
        postings: list[tuple[int, int, int]] = []  # item, place, words of the seed
        for item, text in enumerate(items):
            words, sizes = self._hashed(_encoded(text))
            seeds = seeds_of(sizes, n, shortest[item])
            needed.append(seeds.needed if seeds else 0)
            every.append(seeds.every if seeds else WHOLE)
            hashes.append(words)
            first.append(first[-1] + len(words))
            postings += [(item, place, seeds.length) for place in seeds.places] if seeds else []
        words = np.concatenate(hashes)
        posted = np.array(postings, dtype=np.int64).reshape(-1, 3)
        lengths = np.array(sorted({length for _, _, length in postings}), dtype=np.int64)
        salts = np.array([self.kernel.word_hash(f"seed of {length} words") for length in lengths], dtype=U64)
        place_of = np.searchsorted(lengths, posted[:, 2])
        firsts = np.array(first, dtype=np.int64)
        keys = np.empty(len(posted), dtype=U64)
        self.kernel.seed_keys(words, firsts[posted[:, 0]] + posted[:, 1], posted[:, 2], salts[place_of], keys)
        order = np.argsort(keys, kind="stable")
        unique, counts = np.unique(keys, return_counts=True)
        bits, shift = _bits(unique)
        slots, slot_shift = _slots(unique)
        return needed, self.kernel.Probe(
            lengths=lengths,
            powers=np.array([pow(int(self.kernel.BASE), int(length), 1 << 64) for length in lengths], dtype=U64),
            salts=salts,
            bits=bits,
            shift=shift,
            slots=slots,
            slot_shift=slot_shift,
            keys=unique,
            first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            items=posted[order, 0].astype(np.int32),
            places=posted[order, 1].astype(np.int32),
            of_length=posted[order, 2].astype(np.int32),
            item_first=firsts,
            item_words=words,
            needed=np.array(needed, dtype=np.int32),
            every=np.array(every, dtype=np.int32),
        )

    def find(self, texts: Sequence[str]) -> list[Run]:
        found: list[Run] = []
        batch: list[bytes] = []
        first = size = 0
        for number, text in enumerate(texts):
            batch.append(_encoded(text))
            size += len(batch[-1])
            if size >= BATCH_BYTES or number == len(texts) - 1:
                found += self._batch(texts, batch, first)
                batch, first, size = [], number + 1, 0
        return found

    def _batch(self, texts: Sequence[str], batch: list[bytes], first: int) -> Iterator[Run]:
        data = np.frombuffer(b"".join([*batch, PADDING]), dtype=np.uint8)
        sizes = [len(text) for text in batch]
        bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        words, prefix = self.buffers
        if len(prefix) < max(sizes) + 2:
            words, prefix = room = self._room(max(sizes))
            self.buffers = room if max(sizes) <= KEPT_BYTES else self.buffers
        while (count := self._scan(data, bounds, words, prefix)) > len(self.out):
            self.out = np.zeros((2 * count, 6), dtype=np.int64)
        rows = self.out[:count]
        for document in np.unique(rows[:, 0]):
            mine = rows[rows[:, 0] == document].copy()
            text = texts[first + int(document)]
            mine[:, 1:3] -= bounds[document]
            places = _characters(text, batch[int(document)], mine[:, 1:3])
            for (_, _, _, item, place, length), (start, end) in zip(mine.tolist(), places.tolist(), strict=True):
                yield Run(
                    document=first + int(document), start=start, end=end, item=item, place=place, words=length
                )  # fmt: skip

    def _scan(self, data: np.ndarray, bounds: np.ndarray, words: np.ndarray, prefix: np.ndarray) -> int:
        if self.view == "raw":
            return int(self.kernel.scan_raw(data, bounds, self.probe, words, prefix, self.out))
        return int(self.kernel.scan_normal(data, bounds, self.table, self.probe, words, prefix, self.out))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _bits(keys: np.ndarray) -> tuple[np.ndarray, np.uint64]:
    """The filter: two bits for each key in the element that its first bits tell, and by how much it is shifted."""
    size = max(1, int(BITS_PER_KEY * max(1, len(keys)) // 64).bit_length())
    shift = U64(64 - size)
    bits = np.zeros(1 << size, dtype=U64)
    for low in (20, 26):
        np.bitwise_or.at(bits, (keys >> shift).astype(np.int64), U64(1) << ((keys >> U64(low)) & U64(63)))
    return bits, shift


def _slots(keys: np.ndarray) -> tuple[np.ndarray, np.uint64]:
    """A table with open addressing at most half full: key → its number."""
    size = max(4, int(2 * max(1, len(keys)) - 1).bit_length())
    shift = U64(64 - size)
    slots = np.full(1 << size, -1, dtype=np.int32)
    last, mask = -1, (1 << size) - 1
    for number, slot in enumerate((keys >> shift).tolist()):  # keys are sorted, so places only grow
        last = max(last + 1, slot)
        if last > mask:  # round the end: the first free one
            last = int(np.flatnonzero(slots < 0)[0])
            slots[last] = number
            last = mask
            continue
        slots[last] = number
    return slots, shift


def _characters(text: str, data: bytes, places: np.ndarray) -> np.ndarray:
    """Numbers of bytes as numbers of characters."""
    if len(text) == len(data):
        return places
    found, last, count = {}, 0, 0
    for place in sorted({int(place) for place in places.ravel()}):
        count += len(data[last:place].decode("utf-8", "surrogatepass"))
        found[place], last = count, place
    return np.array([[found[int(place)] for place in row] for row in places], dtype=np.int64)


def check_engine(engine: Engine) -> None:
    """Raise ConfigError when the numba engine is asked for and numba is missing."""
    if engine == "numba" and importlib.util.find_spec("numba") is None:
        raise ConfigError('engine=numba needs numba: pip install "llemma[corpus]", or use engine=python')

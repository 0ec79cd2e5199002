"""Finds duplicates among signatures in bounded memory: sorted keys, one band after the other, then a verdict a
document.

A document's number is its place in the concatenation of the files. Equal exact hashes: the lowest number survives. Then
the survivors, lowest number first: one is removed if it shares a key with a lower one that is kept **and** they are
alike by ``similarity`` or more, as the sketches estimate it; where that leaves a doubt all shingles decide, if the
texts are at hand. So everything removed is like its survivor, however long a chain of likeness runs through a cluster.
``linkage="chain"`` removes all of a connected component but its lowest number instead. The result depends on nothing
but the signatures, the texts and their order.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llemma.corpus import minhash
from llemma.corpus.minhash import EXACT, Plan
from llemma.errors import DataError, explain
from llemma.records import Event, Progress, silent
from llemma.run import atomic_file

Linkage = Literal["direct", "chain"]
Texts = Callable[[np.ndarray], Iterator[str]]  # the texts of documents, their numbers given in ascending order

SORTED_BYTES = 48  # memory a key takes while it is sorted: key, number, order, copies
RESOLVED_BYTES = 2000  # memory a row takes in ``resolve``: twice itself, its places in the table of keys
MOST_RESOLVED = 250_000  # rows at once: more would not be faster
READ_ROWS = 1 << 16  # rows read at once
LOOKS = 1000  # survivors with the same key that a document is compared with at most
DOUBT = 0.25  # five standard errors: an estimate this far above the limit needs no check
TEXTS = 256  # texts that are checked at once
LARGEST = 10  # clusters named in the result


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """What was found: documents removed as exact and as near duplicates, how many clusters have each size.

    ``largest`` holds the members of the largest clusters by number, the survivor first.
    """

    documents: int
    exact: int
    near: int
    sizes: dict[int, int]
    largest: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How documents are grouped; ``memory`` is in bytes."""

    plan: Plan
    exact: bool = True
    similarity: float = 0.5
    linkage: Linkage = "direct"
    memory: int = 1_500_000_000


def dup_path(signatures: Path) -> Path:
    """Where the verdict on the documents of a signature file is written: ``X.sig.npy`` → ``X.dup.npy``."""
    return signatures.with_name(signatures.name.removesuffix(".sig.npy") + ".dup.npy")


def similarity_path(signatures: Path) -> Path:
    """Where near duplicates have their estimated similarity to the survivor, others not a number: ``X.sim.npy``."""
    return signatures.with_name(signatures.name.removesuffix(".sig.npy") + ".sim.npy")


def save_array(path: Path, array: np.ndarray) -> None:
    """A .npy file, written beside and renamed."""
    with atomic_file(path) as file:
        np.save(file, array, allow_pickle=False)


def group(
    files: Sequence[Path], rules: Rules, *, scratch: Path, progress: Progress = silent, texts: Texts | None = None
) -> Grouped:
    """Group the documents of signature files; for each X.sig.npy write X.dup.npy (int64) and X.sim.npy (float32).

    X.dup.npy holds for each document the number of its survivor, its own number if it stays. ``scratch`` is a folder
    for intermediate files, emptied before and after. With ``texts`` (fewer than 2^32) the similarity of pairs whose
    estimate is less than ``DOUBT`` above the limit is computed, and nothing below the limit is removed. Raises
    DataError for files that hold no such signatures.
    """
    table = _Table(files, rules)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    columns = (["exact"] if rules.exact else []) + [f"band-{band}" for band in range(rules.plan.bands)]
    stage, total = "group", len(columns) + 2
    progress(Event(stage=stage, done=0, total=total, unit="steps"))
    table.split(scratch)
    survivor = np.arange(table.count)
    double = np.zeros(table.count, dtype=bool)  # exact duplicates: they take no part in the bands
    unite = _kernel("unite", _unite)
    for done, column in enumerate(columns, 1):
        for numbers, same in _repeats(scratch / column, table.count, column == "exact", double, rules.memory):
            unite(survivor, numbers, same)
        if column == "exact":
            np.not_equal(survivor, np.arange(table.count), out=double)
        progress(Event(stage=stage, done=done, total=total, unit="steps"))
    check = None if texts is None else _Check(texts, rules, scratch / "shingles")
    removed, similar = _settle(table, rules, survivor, double, check)
    shutil.rmtree(scratch)
    progress(Event(stage=stage, done=total - 1, total=total, unit="steps"))
    table.write(survivor, removed, similar)
    progress(Event(stage=stage, done=total, total=total, unit="steps"))
    return _summary(survivor, int(double.sum()))


def _kernel(name: str, plain: Any) -> Any:
    module = minhash.compiled_module("llemma.corpus.clusters_numba")
    return plain if module is None else getattr(module, name)


class _Table:
    """The signature files as one table of rows."""

    def __init__(self, files: Sequence[Path], rules: Rules) -> None:
        self.files, self.rules = list(files), rules
        self.sizes = [len(self._open(path)) for path in self.files]
        self.starts = np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)]).astype(np.int64)
        self.count = int(self.starts[-1])

    def _open(self, path: Path) -> np.ndarray:
        try:
            rows: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"not a file of signatures ({explain(error)}); make it again", where=path) from error
        width = self.rules.plan.width
        if rows.ndim != 2 or rows.dtype != np.uint64 or rows.shape[1] != width:
            raise DataError(
                f"signatures of {rows.dtype} {rows.shape}, expected uint64 (…, {width}): other settings made them;"
                " make them again",
                where=path,
            )
        return rows

    def split(self, scratch: Path) -> None:
        """One file of keys a column, in the order of the documents; for the exact hash two words a document."""
        with contextlib.ExitStack() as stack:
            exact = stack.enter_context(open(scratch / "exact", "wb"))
            bands = [stack.enter_context(open(scratch / f"band-{b}", "wb")) for b in range(self.rules.plan.bands)]
            for path in self.files:
                rows = self._open(path)
                for start in range(0, len(rows), READ_ROWS):
                    piece = np.array(rows[start : start + READ_ROWS])
                    exact.write(piece[:, :EXACT].tobytes())
                    for band, file in enumerate(bands):
                        file.write(piece[:, EXACT + band].tobytes())

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """The rows of these documents."""
        order = np.argsort(numbers, kind="stable")
        wanted = numbers[order]
        edges = np.searchsorted(wanted, self.starts)
        out = np.empty((len(numbers), self.rules.plan.width), dtype=np.uint64)
        for path, start, first, last in zip(self.files, self.starts[:-1], edges[:-1], edges[1:], strict=True):
            if first < last:
                out[order[first:last]] = self._open(path)[wanted[first:last] - start]
        return out

    def write(self, survivor: np.ndarray, removed: np.ndarray, similar: np.ndarray) -> None:
        """The verdicts of each file; ``similar`` belongs to the near duplicates ``removed``, in order of number."""
        edges = np.searchsorted(removed, self.starts)
        for k, path in enumerate(self.files):
            similarity = np.full(self.sizes[k], np.nan, dtype=np.float32)
            mine = slice(edges[k], edges[k + 1])
            similarity[removed[mine] - self.starts[k]] = similar[mine]
            save_array(similarity_path(path), similarity)
            save_array(dup_path(path), survivor[self.starts[k] : self.starts[k + 1]])


def _repeats(
    column: Path, count: int, exact: bool, double: np.ndarray, memory: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The documents whose key others have too, by key and number; and whether each has the key of the one before it.

    Keys that do not fit in memory are first dealt out to files by their highest bits.
    """
    words = EXACT if exact else 1
    parts = max(1, -(-count * words * SORTED_BYTES // memory))
    if parts == 1:
        keys = np.fromfile(column, dtype=np.uint64).reshape(-1, words)
        yield _sorted(*_present(keys, 0, double))
        return
    paths = [column.with_name(f"{column.name}.{part}") for part in range(parts)]
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open(column, "rb"))
        files = [stack.enter_context(open(path, "wb")) for path in paths]
        start = 0
        while len(keys := np.fromfile(source, dtype=np.uint64, count=READ_ROWS * words).reshape(-1, words)):
            found, numbers = _present(keys, start, double)
            start += len(keys)
            part = (found[:, 0] >> np.uint64(32)) * np.uint64(parts) >> np.uint64(32)
            for k, file in enumerate(files):
                mine = part == k
                file.write(np.column_stack([found[mine], numbers[mine].view(np.uint64)]).tobytes())
    for path in paths:
        rows = np.fromfile(path, dtype=np.uint64).reshape(-1, words + 1)
        path.unlink()
        yield _sorted(rows[:, :words], rows[:, words].view(np.int64))


def _present(keys: np.ndarray, start: int, double: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The keys that count and the numbers of their documents: 0 is no key, exact duplicates have had their verdict."""
    counts = keys.any(axis=1)
    counts &= ~double[start : start + len(keys)]
    numbers = np.flatnonzero(counts)
    return keys[numbers], numbers + start


def _sorted(keys: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = keys[:, 0]
    order = np.argsort(first)
    ranked = first[order]
    same = np.zeros(len(order) + 1, dtype=bool)
    np.equal(ranked[1:], ranked[:-1], out=same[1:-1])
    some = order[same[1:] | same[:-1]]  # few: the rest is as good as sorted
    some = some[np.lexsort((numbers[some], *keys[some].T[::-1]))]
    keys, numbers = keys[some], numbers[some]
    tied = np.zeros(len(some), dtype=bool)
    tied[1:] = (keys[1:] == keys[:-1]).all(axis=1)
    return numbers, tied


def _unite(parent: np.ndarray, numbers: np.ndarray, same: np.ndarray) -> None:
    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for i in np.flatnonzero(same).tolist():
        a, b = root(numbers[i - 1]), root(numbers[i])
        parent[max(a, b)] = min(a, b)


def _flatten(parent: np.ndarray, skip: np.ndarray) -> None:
    for number in np.flatnonzero(~skip).tolist():
        parent[number] = parent[parent[number]]


def _settle(
    table: _Table, rules: Rules, survivor: np.ndarray, double: np.ndarray, check: _Check | None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn components into survivors, in place; the near duplicates in order of number, and their similarities."""
    _kernel("flatten", _flatten)(survivor, double)
    tied = survivor != np.arange(table.count)
    tied &= ~double
    tied[survivor[tied]] = True
    candidates = np.flatnonzero(tied)
    del tied
    roots = survivor[candidates]
    order = np.argsort(roots, kind="stable")
    candidates, roots = candidates[order], roots[order]
    survivor[candidates] = candidates
    likeness = np.ones(len(candidates), dtype=np.float32)
    limit = max(1000, min(rules.memory // RESOLVED_BYTES, MOST_RESOLVED))
    for first, last in _batches(roots, limit):
        survivor[candidates[first:last]], likeness[first:last] = _resolve_batch(
            table, rules, candidates[first:last], roots[first:last], limit, check
        )
    doubles = np.flatnonzero(double)
    survivor[doubles] = survivor[survivor[doubles]]
    gone = survivor[candidates] != candidates
    removed, likeness = candidates[gone], likeness[gone]
    order = np.argsort(removed, kind="stable")
    return removed[order], likeness[order]


def _batches(roots: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """Runs of whole components, of ``limit`` documents at most if one component is not larger itself."""
    ends = np.append(np.flatnonzero(np.diff(roots)) + 1, len(roots)) if len(roots) else np.zeros(0, dtype=np.int64)
    first = 0
    while first < len(roots):
        k = int(np.searchsorted(ends, first + limit, side="right")) - 1
        last = int(ends[k]) if k >= 0 and ends[k] > first else int(ends[k + 1])
        yield first, last
        first = last


def _resolve_batch(
    table: _Table, rules: Rules, numbers: np.ndarray, roots: np.ndarray, limit: int, check: _Check | None
) -> tuple[np.ndarray, np.ndarray]:
    """Survivors and similarities of whole components; what stays of one too large for memory is carried along."""
    if rules.linkage == "chain":
        return roots, _likeness(table, rules, numbers, roots, limit)
    needed, padding = minhash.equal_needed(rules.similarity, rules.plan), -rules.plan.hashes % 8
    survivors, likeness = numbers.copy(), np.ones(len(numbers), dtype=np.float32)
    kept_numbers, kept_rows = numbers[:0], table.take(numbers[:0])
    for start in range(0, len(numbers), limit):
        piece = slice(start, start + limit)
        here = np.concatenate([kept_numbers, numbers[piece]])
        rows = np.concatenate([kept_rows, table.take(numbers[piece])])
        found, equal = np.empty(len(rows), dtype=np.int32), np.empty(len(rows), dtype=np.int32)
        while True:
            banned = np.zeros(0, dtype=np.uint64) if check is None else check.banned
            _kernel("resolve", resolve)(rows, here, rules.plan.bands, needed + padding, LOOKS, banned, found, equal)
            alike = minhash.estimate(equal - padding, rules.plan).astype(np.float32)
            if check is None or check.settled(here, here[found], alike):
                break
        old = len(kept_numbers)
        survivors[piece], likeness[piece] = here[found[old:]], alike[old:]
        kept = found == np.arange(len(found))
        kept_numbers, kept_rows = here[kept], rows[kept]
    return survivors, likeness


def _likeness(table: _Table, rules: Rules, one: np.ndarray, other: np.ndarray, limit: int) -> np.ndarray:
    """The estimated similarities of pairs of documents."""
    first, found = 8 * (EXACT + rules.plan.bands), np.empty(len(one), dtype=np.int32)
    for start in range(0, len(one), limit):
        piece = slice(start, start + limit)
        equal = table.take(one[piece]).view(np.uint8) == table.take(other[piece]).view(np.uint8)
        found[piece] = equal[:, first:].sum(axis=1)
    return minhash.estimate(found - (-rules.plan.hashes % 8), rules.plan).astype(np.float32)


class _Check:
    """Reads the texts of pairs whose estimate leaves a doubt, and computes their similarity from all shingles."""

    def __init__(self, texts: Texts, rules: Rules, scratch: Path) -> None:
        self._texts, self._rules, self._scratch = texts, rules, scratch
        self._pairs = np.zeros(0, dtype=np.uint64)  # sorted; with their similarities
        self._similar = np.zeros(0, dtype=np.float32)

    @property
    def banned(self) -> np.ndarray:
        """The pairs that are not similar enough."""
        return self._pairs[self._similar < self._rules.similarity]

    def settled(self, documents: np.ndarray, survivors: np.ndarray, alike: np.ndarray) -> bool:
        """Whether all removals are sure: no estimate near the limit is unchecked. Puts what is known into ``alike``."""
        doubt = np.flatnonzero((documents != survivors) & (alike < self._rules.similarity + DOUBT))
        pairs = (documents[doubt].astype(np.uint64) << np.uint64(32)) | survivors[doubt].astype(np.uint64)
        new = np.setdiff1d(pairs, self._pairs)
        if len(new):
            self._pairs = np.concatenate([self._pairs, new])
            self._similar = np.concatenate([self._similar, self._similarities(new)])
            order = np.argsort(self._pairs)
            self._pairs, self._similar = self._pairs[order], self._similar[order]
        alike[doubt] = self._similar[np.searchsorted(self._pairs, pairs)]
        return bool((alike[doubt] >= self._rules.similarity).all())

    def _similarities(self, pairs: np.ndarray) -> np.ndarray:
        left, right = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
        numbers = np.unique(np.concatenate([left, right]))
        sizes: list[int] = []
        texts = self._texts(numbers)
        with open(self._scratch, "wb") as file:  # all of them may be more than fits in memory
            while batch := list(itertools.islice(texts, TEXTS)):
                for some in minhash.shingle_sets(batch, self._rules.plan):
                    file.write(some.tobytes())
                    sizes.append(len(some))
        if len(sizes) != len(numbers):
            raise DataError("some documents are not there any more; their signatures are of other files")
        ends = np.cumsum(np.array(sizes, dtype=np.int64))
        sets = np.memmap(self._scratch, dtype=np.uint32, mode="r") if ends[-1] else np.zeros(0, dtype=np.uint32)
        a, b = np.searchsorted(numbers, left), np.searchsorted(numbers, right)
        both = np.empty(len(pairs), dtype=np.int64)
        size = np.array(sizes, dtype=np.int64)
        _kernel("common", common)(minhash.fixed(sets), ends - size, ends, a, b, both)
        found: np.ndarray = (both / np.maximum(size[a] + size[b] - both, 1)).astype(np.float32)
        return found


def common(
    sets: np.ndarray, starts: np.ndarray, ends: np.ndarray, left: np.ndarray, right: np.ndarray, out: np.ndarray
) -> None:
    """How many elements the sets ``left[k]`` and ``right[k]`` have in common, each sorted in ``sets``."""
    for k, (a, b) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        both = np.intersect1d(sets[starts[a] : ends[a]], sets[starts[b] : ends[b]], assume_unique=True)
        out[k] = len(both)


def resolve(
    rows: np.ndarray,
    numbers: np.ndarray,
    bands: int,
    needed: int,
    limit: int,
    banned: np.ndarray,
    survivor: np.ndarray,
    equal: np.ndarray,
) -> None:
    """For each row the first kept row of the same key with ``needed`` equal bytes or more, else itself.

    ``survivor`` and ``equal`` (the number of equal bytes) are filled; rows are looked at in order, so that those before
    have their verdict. Of the kept rows with a key the first ``limit`` are compared. ``banned``, sorted, are pairs of
    the documents' ``numbers`` (the one above, the other in the lower 32 bits) that are not to be joined.
    """
    kept: dict[tuple[int, int], list[int]] = {}
    never = set(banned.tolist())
    sketches = np.ascontiguousarray(rows[:, EXACT + bands :]).view(np.uint8).reshape(len(rows), -1)
    for i in range(len(rows)):
        keys = [(band, int(key)) for band, key in enumerate(rows[i, EXACT : EXACT + bands]) if key]
        best, count = i, 0
        for key in keys:
            for other in kept.get(key, [])[:limit]:
                if other >= best:
                    break
                found = int((sketches[i] == sketches[other]).sum())
                if found >= needed and (int(numbers[i]) << 32 | int(numbers[other])) not in never:
                    best, count = other, found
                    break
        survivor[i], equal[i] = best, count
        if best == i:
            for key in keys:
                kept.setdefault(key, []).append(i)


def _summary(survivor: np.ndarray, exact: int) -> Grouped:
    gone = np.flatnonzero(survivor != np.arange(len(survivor)))
    heads, counts = np.unique(survivor[gone], return_counts=True)
    sizes, times = np.unique(counts + 1, return_counts=True)
    top = np.lexsort((heads, -counts))[:LARGEST]
    order = np.argsort(survivor[gone], kind="stable")
    ends = np.cumsum(counts)
    return Grouped(
        documents=len(survivor),
        exact=exact,
        near=len(gone) - exact,
        sizes={int(size): int(n) for size, n in zip(sizes, times, strict=True)},
        largest=tuple((int(heads[k]), *gone[order[ends[k] - counts[k] : ends[k]]].tolist()) for k in top),
    )

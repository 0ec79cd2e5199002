"""The units of ``llemma dedup``: sign a piece, group all, write a piece; files in the run folder tie them together.

``work/NUMBER.sig.npy`` signatures, ``.ids.npy`` and ``.at.npy`` the ids (UTF-8, and where each begins), ``.dup.npy``
and ``.sim.npy`` the verdicts; the same with ``.par`` for paragraphs; ``work/table.json`` how many documents each piece
has.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from llemma.corpus import clusters, dedup, dedup_rows, minhash
from llemma.corpus.dedup import DedupConfig
from llemma.corpus.dedup_rows import Columns, Piece
from llemma.corpus.units import Row, facts
from llemma.errors import DataError
from llemma.records import Progress, silent
from llemma.run import atomic_file, json_line, read_json, write_json

Stage = Literal["sign", "paragraphs", "write"]
WORK = "work"  # the folder of intermediate files
KINDS = ("exact", "near", "emptied")  # why a document is removed; emptied: all its paragraphs were seen before
BATCH_BYTES, BATCH_ROWS = 1 << 22, 4096  # texts signed in one call
SHOWN = 5  # documents named of each of the largest clusters


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceUnit:
    """One stage of one piece of the input; ``number`` is its place among all pieces."""

    stage: Stage
    out: Path
    number: int
    piece: Piece
    columns: Columns
    dedup: DedupConfig

    @property
    def id(self) -> str:
        """The id of its row."""
        return f"{self.stage}:{self.number:05d}"

    @property
    def where(self) -> str:
        """The file, for people."""
        return str(self.piece.path)

    @property
    def input(self) -> str:
        """What it reads, as a short hash."""
        stat = self.piece.path.stat()
        told = [asdict(self.piece) | {"path": str(self.piece.path)}, stat.st_size, stat.st_mtime_ns]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def do(self, progress: Progress = silent) -> Row:
        """Do the work; the row says what was made."""
        return _DO[self.stage](self)

    def file(self, ending: str) -> Path:
        """An intermediate file of this piece."""
        return work_file(self.out, self.number, ending)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupUnit:
    """All documents, or all paragraphs, at once: which of them stay."""

    stage: Literal["group", "group paragraphs"]
    out: Path
    pieces: tuple[Piece, ...]
    columns: Columns
    dedup: DedupConfig

    @property
    def id(self) -> str:
        """The id of its row."""
        return self.stage

    @property
    def where(self) -> str:
        """What it is, for people."""
        return f"{self.stage} of {len(self.pieces)} pieces"

    @property
    def input(self) -> str:
        """What it reads, as a short hash."""
        return hashlib.sha256((self.out / WORK / "table.json").read_bytes()).hexdigest()[:16]

    def do(self, progress: Progress = silent) -> Row:
        """Write the verdicts; the row counts them."""
        part = "" if self.stage == "group" else "par."
        files = [work_file(self.out, number, f"{part}sig.npy") for number in range(len(self.pieces))]
        scratch = self.out / WORK / "scratch"
        if self.stage == "group":
            found = dedup.group(files, self.dedup, scratch=scratch, progress=progress, texts=self._texts)
        else:
            found = dedup.group_paragraphs(files, self.dedup, scratch=scratch, progress=progress)
        written = [f(path) for path in files for f in (clusters.dup_path, clusters.similarity_path)]
        ids = Ids(self.out)
        largest = [
            {"size": len(members), "documents": [ids.of(number) for number in members[:SHOWN]]}
            for members in (found.largest if self.stage == "group" else ())
        ]
        return {
            "documents": found.documents,
            "sizes": {str(size): count for size, count in found.sizes.items()},
            "largest": largest,
            "files": facts(written, self.out),
        }

    def _texts(self, numbers: np.ndarray) -> Iterator[str]:
        """The texts of documents, read again."""
        starts = Ids(self.out).starts
        edges = np.searchsorted(numbers, starts)
        for piece, start, first, last in zip(self.pieces, starts[:-1], edges[:-1], edges[1:], strict=True):
            if first < last:
                rows = dedup_rows.read(piece, self.columns, (numbers[first:last] - start).tolist())
                yield from (row.text for row in rows)


def work_file(out: Path, number: int, ending: str) -> Path:
    """An intermediate file of piece ``number``."""
    return out / WORK / f"{number:05d}.{ending}"


def write_table(out: Path, pieces: Sequence[Piece], documents: Sequence[int], paragraphs: Sequence[int] = ()) -> None:
    """Store how many documents (and paragraphs) each piece has, and its name."""
    table = {"names": [piece.name for piece in pieces], "documents": list(documents), "paragraphs": list(paragraphs)}
    write_json(out / WORK / "table.json", table)


class Ids:
    """The ids of documents by their number over all pieces: the row's own, or FILE:ROW."""

    def __init__(self, out: Path) -> None:
        self._out = out
        table = read_json(out / WORK / "table.json")
        self.names: list[str] = table["names"]
        self.starts = np.cumsum([0, *table["documents"]])
        self.paragraphs = np.cumsum([0, *table["paragraphs"]])
        self._open: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def place(self, number: int) -> tuple[int, int]:
        """The piece of a document, and its row in the file, from 1."""
        piece = int(np.searchsorted(self.starts, number, side="right")) - 1
        first = piece
        while first and self.names[first - 1] == self.names[piece]:
            first -= 1
        return piece, number - int(self.starts[first]) + 1

    def of(self, number: int) -> str:
        """The id of a document."""
        piece, row = self.place(number)
        if piece not in self._open:
            if len(self._open) >= 64:
                self._open.pop(next(iter(self._open)))
            paths = (work_file(self._out, piece, ending) for ending in ("ids.npy", "at.npy"))
            text, at = (np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
            self._open[piece] = text, at
        text, at = self._open[piece]
        k = number - int(self.starts[piece])
        found = bytes(text[at[k] : at[k + 1]]).decode("utf-8", "replace")
        return found or f"{self.names[piece]}:{row}"


class ArrayFile:
    """A .npy file that grows piece by piece: its head is written when the number of rows is known."""

    HEAD = 128

    def __init__(self, path: Path, dtype: Any, columns: int | None = None) -> None:
        self._dtype, self._columns, self._rows = np.dtype(dtype), columns, 0
        self._context = atomic_file(path)

    def __enter__(self) -> ArrayFile:
        self._file = self._context.__enter__()
        self._file.write(b" " * self.HEAD)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            shape = (self._rows,) if self._columns is None else (self._rows, self._columns)
            described = f"{{'descr': {self._dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
            self._file.seek(0)
            self._file.write(b"\x93NUMPY\x01\x00" + (self.HEAD - 10).to_bytes(2, "little"))
            self._file.write(described.ljust(self.HEAD - 11).encode() + b"\n")
        self._context.__exit__(kind, error, at)

    def add(self, rows: np.ndarray) -> None:
        """More rows."""
        self._file.write(np.ascontiguousarray(rows, dtype=self._dtype).tobytes())
        self._rows += len(rows)


def _batches(rows: Iterator[dedup_rows.Row]) -> Iterator[list[dedup_rows.Row]]:
    batch: list[dedup_rows.Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row.text)
        if size >= BATCH_BYTES or len(batch) == BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _sign(unit: PieceUnit) -> Row:
    """Signatures and ids of a piece."""
    plan = dedup.plan(unit.dedup)
    paths = [unit.file(ending) for ending in ("sig.npy", "ids.npy", "at.npy")]
    documents = size = place = 0
    with (
        ArrayFile(paths[0], np.uint64, plan.width) as signatures,
        ArrayFile(paths[1], np.uint8) as ids,
        ArrayFile(paths[2], np.int64) as at,
    ):
        at.add(np.zeros(1))
        for batch in _batches(dedup_rows.read(unit.piece, unit.columns)):
            data, offsets = minhash.pack([row.text for row in batch])
            signatures.add(minhash.sign(data, offsets, plan))
            named, edges = minhash.pack([row.id or "" for row in batch])
            ids.add(named)
            at.add(edges[1:] + place)
            place += len(named)
            size += len(data)
            documents += len(batch)
    return {"documents": documents, "bytes": size, "files": facts(paths, unit.out)}


def _paragraphs(unit: PieceUnit) -> Row:
    """Hashes of the paragraphs of the documents that stay."""
    stays = _stays(unit)
    paths = [unit.file(ending) for ending in ("par.sig.npy", "par.n.npy")]
    total = place = size = 0
    with ArrayFile(paths[0], np.uint64, minhash.EXACT) as signatures, ArrayFile(paths[1], np.int64) as numbers:
        for batch in _batches(dedup_rows.read(unit.piece, unit.columns)):
            here = stays[place : place + len(batch)].tolist()
            texts = [row.text if stay else "" for row, stay in zip(batch, here, strict=True)]
            rows, counts = dedup.paragraph_signatures(texts, unit.dedup)
            signatures.add(rows)
            numbers.add(counts)
            total += len(rows)
            place += len(batch)
            size += sum(map(len, texts))
    return {"documents": len(stays), "paragraphs": total, "bytes": size, "files": facts(paths, unit.out)}


def _stays(unit: PieceUnit) -> np.ndarray:
    first = int(Ids(unit.out).starts[unit.number])
    verdict = np.load(unit.file("dup.npy"), allow_pickle=False)
    stays: np.ndarray = verdict == np.arange(first, first + len(verdict))
    return stays


def _write(unit: PieceUnit) -> Row:
    """The rows that stay, and a list of those that do not."""
    ids = Ids(unit.out)
    first = int(ids.starts[unit.number])
    survivor, likeness = (np.load(unit.file(f"{name}.npy"), allow_pickle=False) for name in ("dup", "sim"))
    stays = survivor == np.arange(first, first + len(survivor))
    repeats = _Repeats(unit, ids) if unit.dedup.paragraphs else None
    edited = np.zeros(len(stays), dtype=bool) if repeats is None else repeats.edited
    emptied = set() if repeats is None else repeats.emptied(stays)
    stays[list(emptied)] = False
    kept, removed = unit.out / "kept" / unit.piece.target, unit.out / "removed" / f"{unit.piece.target}.jsonl"
    edit = _unedited if repeats is None else repeats.edit
    count = dedup_rows.copy(unit.piece, kept, stays, edited, edit, unit.columns)
    if count != len(stays):
        raise DataError("the file has changed since it was first read", where=unit.piece.path)
    removed.parent.mkdir(parents=True, exist_ok=True)
    kinds: Counter[str] = Counter()
    with atomic_file(removed) as file:
        for k in np.flatnonzero(~stays).tolist():
            row = _removed(ids, first + k, int(survivor[k]), float(likeness[k]), k in emptied)
            kinds[row["reason"]] += 1
            file.write(json_line(row))
    return {
        "documents": count,
        "kept": int(stays.sum()),
        **{kind: kinds[kind] for kind in KINDS},
        "paragraphs_removed": 0 if repeats is None else repeats.gone,
        "bytes": kept.stat().st_size,
        "files": facts([kept, removed], unit.out),
    }


def _unedited(number: int, text: str) -> str:
    return text


def _removed(ids: Ids, number: int, survivor: int, likeness: float, emptied: bool) -> dict[str, Any]:
    piece, row = ids.place(number)
    told: dict[str, Any] = {"id": ids.of(number), "file": ids.names[piece], "row": row}
    if emptied:
        return told | {"reason": "emptied", "survivor": None, "survivor_file": None, "similarity": None}
    exact = np.isnan(likeness)
    return told | {
        "reason": "exact" if exact else "near",
        "survivor": ids.of(survivor),
        "survivor_file": ids.names[ids.place(survivor)[0]],
        "similarity": 1.0 if exact else round(likeness, 3),
    }


class _Repeats:
    """Which paragraphs of a piece were seen before."""

    def __init__(self, unit: PieceUnit, ids: Ids) -> None:
        counts = np.load(unit.file("par.n.npy"), allow_pickle=False)
        survivor = np.load(unit.file("par.dup.npy"), allow_pickle=False)
        first = int(ids.paragraphs[unit.number])
        self._stays = survivor == np.arange(first, first + len(survivor))
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        gone = np.concatenate([[0], np.cumsum(~self._stays)])
        self._gone = gone[self._starts[1:]] - gone[self._starts[:-1]]
        self.edited = self._gone > 0
        self.gone = int(self._gone.sum())
        self._counts = counts

    def edit(self, number: int, text: str) -> str:
        """The text of a document without them."""
        return dedup.without(text, self._stays[self._starts[number] : self._starts[number + 1]].tolist())

    def emptied(self, stays: np.ndarray) -> set[int]:
        """The documents of which nothing is left."""
        return set(np.flatnonzero(stays & (self._gone == self._counts) & (self._counts > 0)).tolist())


_DO: Mapping[Stage, Callable[[PieceUnit], Row]] = {"sign": _sign, "paragraphs": _paragraphs, "write": _write}

"""Files of rows cut into pieces that are read alone, and copied without some of their rows.

A piece is a stretch of bytes of a plain file of JSON lines, a run of row groups of a Parquet file, or a whole packed
file. Lines that stay are copied byte for byte; Parquet files keep their schema. Blank lines are no rows.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from llemma.errors import DataError, explain
from llemma.plugins import import_module
from llemma.run import atomic_file, json_line
from llemma.sources import _tables

T = TypeVar("T")
Edit = Callable[[int, str], str]  # number of a row in its piece and its text → the text it shall have
_COPIED_ROWS = 1024  # rows of a Parquet file that are copied at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How the columns of text and id are called; a file may lack the id."""

    text: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Part ``number`` of a file: bytes ``first`` to ``last``; of a Parquet file rows, beginning with a row group."""

    path: Path
    name: str
    number: int
    first: int
    last: int
    alone: bool

    @property
    def parquet(self) -> bool:
        """Whether it is of a Parquet file."""
        return self.name.endswith(".parquet")

    @property
    def target(self) -> str:
        """The name of the copy: the file's own, with the number of the piece in it if there are several."""
        if self.alone:
            return self.name
        ending = next(end for end in (".parquet", ".jsonl", ".ndjson", ".json") if self.name.endswith(end))
        return f"{self.name.removesuffix(ending)}-{self.number:05d}{ending}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a piece as it is needed here; ``id`` is None where the row has none."""

    text: str
    id: str | None


def wanted(name: str) -> bool:
    """Whether a file of this name in a folder is one of rows."""
    return name.endswith(_tables.ENDINGS) and not name.endswith((".json", ".json.gz", ".json.zst"))


def pieces(path: Path, name: str, size: int) -> list[Piece]:
    """The pieces of a file, of about ``size`` bytes where it can be cut. Raises DataError for what is no such file."""
    if not path.name.endswith(_tables.ENDINGS):
        raise DataError(f"not a file of rows; known endings: {', '.join(_tables.ENDINGS)}", where=path)
    name = _with_ending(name, path.name)
    if name.endswith(".parquet"):
        edges = _row_groups(path, size)
    else:
        total = path.stat().st_size
        edges = [0, total] if name.endswith((".gz", ".zst")) else [*range(0, max(total - size // 2, 1), size), total]
    pairs = list(itertools.pairwise(edges))
    return [
        Piece(path=path, name=name, number=k, first=first, last=last, alone=len(pairs) == 1)
        for k, (first, last) in enumerate(pairs)
    ]


def _with_ending(name: str, file: str) -> str:
    """The id of a file with its ending last: ``a.parquet-2``, the second of that name, is ``a-2.parquet``."""
    ending = max((end for end in _tables.ENDINGS if file.endswith(end)), key=len)
    return name if name.endswith(ending) else f"{file.removesuffix(ending)}{name.removeprefix(file)}{ending}"


def _row_groups(path: Path, size: int) -> list[int]:
    with _parquet(path) as table:
        edges, rows, total = [0], 0, 0
        for group in range(table.num_row_groups):
            found = table.metadata.row_group(group)
            rows, total = rows + found.num_rows, total + found.total_byte_size
            if total >= size or group == table.num_row_groups - 1:
                edges.append(rows)
                total = 0
    return edges if len(edges) > 1 else [0, 0]


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    parquet = import_module("pyarrow.parquet")
    with _opened(path) as file:
        table = _tables._checked(lambda: parquet.ParquetFile(file), str(path))
        yield table


def _opened(path: Path) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise DataError(explain(error), where=path) from error


def read(piece: Piece, columns: Columns, only: Sequence[int] | None = None) -> Iterator[Row]:
    """The rows of a piece, or those with these numbers (from 0, ascending).

    Raises DataError with file and place for what cannot be read or has no text.
    """
    if piece.first == piece.last:
        return
    if piece.parquet:
        names = [columns.text, columns.id]
        rows = _tables.rows(_opened(piece.path), str(piece.path), columns=names, start=piece.first)
        for number, row in _chosen(itertools.islice(rows, piece.last - piece.first), only):
            yield _row(row, columns, f"{piece.path}:{number}")
        return
    for place, line in _chosen(_lines(piece), only):
        yield _row(_loads(line, place), columns, place)


def _chosen(items: Iterator[T], only: Sequence[int] | None) -> Iterator[T]:
    if only is None:
        yield from items
        return
    place = 0
    for number in only:
        yield from itertools.islice(items, number - place, number - place + 1)
        place = number + 1


def _loads(line: bytes, place: str) -> Any:
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason}", where=place) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {getattr(error, 'msg', error)}", where=place) from error


def _row(row: Any, columns: Columns, place: str) -> Row:
    text = row.get(columns.text) if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise DataError(
            f"expected an object with a string field {columns.text!r}; text=NAME names another", where=place
        )
    found = row.get(columns.id)
    return Row(text=text, id=None if found is None else str(found))


def _lines(piece: Piece) -> Iterator[tuple[str, bytes]]:
    """The lines that begin in a piece and are not blank, with their place: a line number, or for a cut file a byte."""
    number = 0
    packed = piece.name.endswith((".gz", ".zst"))
    place = piece.first
    with contextlib.closing(_opened(piece.path)) as file:
        try:
            with _tables.unpacked(file, str(piece.path)) as lines:
                if place:
                    lines.seek(place - 1)
                    place += len(lines.readline()) - 1
                while packed or place < piece.last:
                    line = lines.readline(_tables.LONGEST_LINE + 1)
                    number += 1
                    where = f"{piece.path}:{number}" if piece.alone else f"{piece.path}, byte {place}"
                    if not line:
                        break
                    if len(line) > _tables.LONGEST_LINE:
                        raise DataError(f"a line of more than {_tables.LONGEST_LINE:,} bytes", where=where)
                    place += len(line)
                    if line.strip():
                        yield where, line
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(explain(error), where=piece.path) from error


def copy(piece: Piece, out: Path, stays: np.ndarray, edited: np.ndarray, edit: Edit, columns: Columns) -> int:
    """Write the rows for which ``stays`` is true, those that are ``edited`` with another text; how many were read."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as file:
        if piece.parquet:
            return _copy_parquet(piece, file, stays, edited, edit, columns.text)
        count = 0
        with _packing(file, piece.name) as target:
            for count, (place, line) in enumerate(_lines(piece), 1):
                if count <= len(stays) and stays[count - 1]:
                    if edited[count - 1]:
                        row = _loads(line, place)
                        line = json_line({**row, columns.text: edit(count - 1, row[columns.text])})
                    target.write(line if line.endswith(b"\n") else line + b"\n")
        return count


@contextlib.contextmanager
def _packing(file: IO[bytes], name: str) -> Iterator[Any]:
    if name.endswith(".gz"):
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            yield packed
    elif name.endswith(".zst"):
        with import_module("zstandard").ZstdCompressor().stream_writer(file, closefd=False) as packed:
            yield packed
    else:
        yield file


def _copy_parquet(piece: Piece, file: IO[bytes], stays: np.ndarray, edited: np.ndarray, edit: Edit, text: str) -> int:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    count = 0
    with _parquet(piece.path) as table, parquet.ParquetWriter(file, table.schema_arrow) as writer:
        first, groups = 0, []
        for group in range(table.num_row_groups):
            if piece.first <= first < piece.last:
                groups.append(group)
            first += table.metadata.row_group(group).num_rows
        for batch in table.iter_batches(batch_size=_COPIED_ROWS, row_groups=groups, use_threads=False):
            here = slice(count, count + batch.num_rows)
            count += batch.num_rows
            if edited[here].any():
                texts = batch.column(text).to_pylist()
                for k in np.flatnonzero(edited[here] & stays[here]).tolist():
                    texts[k] = edit(here.start + k, texts[k])
                place = batch.schema.get_field_index(text)
                batch = batch.set_column(place, batch.schema.field(place), arrow.array(texts, batch.column(text).type))
            writer.write_batch(batch.filter(arrow.array(stays[here])))
    return count

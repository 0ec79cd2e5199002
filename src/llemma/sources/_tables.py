"""Rows of JSON lines and Parquet, plain or packed, one batch in memory at a time.

A row is a mapping of column names to plain values. Which form a file has is told by its name: ``.jsonl``, ``.json``,
``.ndjson`` (with ``.gz`` or ``.zst``), ``.parquet``.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from llemma.errors import Caught, DataError, boundary, explain
from llemma.plugins import import_module

_FORMS = (".jsonl", ".ndjson", ".json")
ENDINGS = (*(f"{form}{packed}" for form in _FORMS for packed in ("", ".gz", ".zst")), ".parquet")
LONGEST_LINE = 512_000_000  # bytes; a longer line is no document
PART_BYTES = 64_000_000  # of a file that can be cut: what one process reads at a time
_BATCH = 64  # rows of a Parquet file that are plain values at a time
_CHUNK = 1 << 23

Span = tuple[
    int, ...
]  # where a part begins and ends (bytes of lines, rows of Parquet), and the rows before it; (): all


def spans(path: Path) -> list[Span]:
    """The parts of a file: plain lines are cut at ends of lines, Parquet between row groups; packed files are one part.

    A function of the file alone. Plain files are read once to count their lines, so that rows keep their numbers.
    Raises DataError for a file that cannot be read.
    """
    try:
        if path.stat().st_size <= PART_BYTES:
            return [()]
        if path.name.endswith(".parquet"):
            return _groups(path)
        return [()] if path.name.endswith((".gz", ".zst")) else _cuts(path)
    except OSError as error:
        raise DataError(explain(error), where=path) from error


def _cuts(path: Path) -> list[Span]:
    found: list[Span] = []
    start = before = place = lines = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            at = 0
            while (wanted := start + PART_BYTES - place) < len(chunk):
                end = chunk.find(b"\n", max(wanted, at)) + 1
                if end == 0:
                    break
                lines += chunk.count(b"\n", at, end)
                found.append((start, place + end, before))
                start, before, at = place + end, lines, end
            lines += chunk.count(b"\n", at)
            place += len(chunk)
    return [*found, (start, place, before)] if start < place else found


def _groups(path: Path) -> list[Span]:
    parquet = import_module("pyarrow.parquet")
    metadata = _checked(lambda: parquet.read_metadata(path), str(path))
    found: list[Span] = []
    start = rows = size = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        rows, size = rows + group.num_rows, size + group.total_byte_size
        if size >= PART_BYTES:
            found.append((start, rows, start))
            start, size = rows, 0
    return [*found, (start, rows, start)] if start < rows else found


def rows(
    file: IO[bytes], name: str, *, columns: Sequence[str] | None = None, start: int = 0, part: Span = ()
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Row number, from 1, and row, without the first ``start``; of a Parquet file only the named ``columns`` are read.

    ``part`` is one of ``spans``: its rows alone are read, with the numbers that they have in the file. ``file`` is
    closed at the end. A column that a file lacks is left out of its rows, a line that is no object is an empty row; an
    empty file has no rows.
    Raises DataError with file and line for what cannot be read, MissingDependency when zstandard or pyarrow is needed
    and absent.
    """
    with contextlib.closing(file):
        if name.endswith(".parquet"):
            yield from _parquet(file, name, columns, start, part)
        else:
            yield from _lines(file, name, start, part)


def _lines(file: IO[bytes], name: str, start: int, part: Span) -> Iterator[tuple[int, Mapping[str, Any]]]:
    place, end, number = part or (0, None, 0)
    try:
        with unpacked(file, name) as lines:
            if place:
                lines.seek(place)
            while (end is None or place < end) and (line := lines.readline(LONGEST_LINE + 1)):
                number, place = number + 1, place + len(line)
                if len(line) > LONGEST_LINE:
                    raise DataError(f"a line of more than {LONGEST_LINE:,} bytes", where=f"{name}:{number}")
                if number <= start or not line.strip():
                    continue
                row = json.loads(line.decode("utf-8"))
                yield number, row if isinstance(row, dict) else {}
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason}", where=f"{name}:{number}") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError, or a number of more digits than Python reads
        raise DataError(f"not valid JSON: {getattr(error, 'msg', error)}", where=f"{name}:{number}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(explain(error), where=name) from error


@contextlib.contextmanager
def unpacked(file: IO[bytes], name: str) -> Iterator[Any]:
    """The bytes of a file as they were before it was packed. Raises DataError for a broken zstd stream."""
    if name.endswith(".gz"):
        with gzip.open(file) as unpacked:
            yield unpacked
    elif name.endswith(".zst"):
        zstandard = import_module("zstandard")
        # Proof-Pile-2 is packed with a window of 2 GB (zstd --long=31), which a reader must allow.
        unpacker = zstandard.ZstdDecompressor(max_window_size=2**31)
        try:
            with unpacker.stream_reader(file, read_across_frames=True) as stream:
                yield io.BufferedReader(stream, 1 << 20)
        except zstandard.ZstdError as error:
            raise DataError(f"the zstd stream is broken: {error}", where=name) from error
    else:
        yield file


def _parquet(
    file: IO[bytes], name: str, columns: Sequence[str] | None, start: int, part: Span
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    parquet = import_module("pyarrow.parquet")
    table = _checked(lambda: parquet.ParquetFile(file), name)
    wanted = None if columns is None else [c for c in columns if c in table.schema_arrow.names]
    number = 0
    for group in range(table.num_row_groups):
        size = table.metadata.row_group(group).num_rows
        outside = part and not part[0] <= number < part[1]
        if number + size <= start or outside:  # whole groups are skipped without being read
            number += size
            continue
        batches = table.iter_batches(batch_size=_BATCH, row_groups=[group], columns=wanted, use_threads=False)
        while (batch := _checked(lambda: next(batches, None), name)) is not None:  # noqa: B023 - called at once
            for row in batch.to_pylist():
                number += 1
                if number > start:
                    yield number, row


def _checked(work: Any, name: str) -> Any:
    done = boundary(work)
    if isinstance(done, Caught) and done.kind == "DataError":  # the file's own: it could not be fetched
        raise DataError(done.message)
    if isinstance(done, Caught):
        raise DataError(f"not a Parquet file that can be read: {done.message}", where=name)
    return done

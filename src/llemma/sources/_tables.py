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
from typing import IO, Any

from llemma.errors import Caught, DataError, boundary, explain
from llemma.plugins import import_module

_FORMS = (".jsonl", ".ndjson", ".json")
ENDINGS = (*(f"{form}{packed}" for form in _FORMS for packed in ("", ".gz", ".zst")), ".parquet")
LONGEST_LINE = 512_000_000  # bytes; a longer line is no document
_BATCH = 64  # rows of a Parquet file that are plain values at a time


def rows(
    file: IO[bytes], name: str, *, columns: Sequence[str] | None = None, start: int = 0
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Row number, from 1, and row, without the first ``start``; of a Parquet file only the named ``columns`` are read.

    ``file`` is closed at the end. A column that a file lacks is left out of its rows, a line
    that is no object is an empty row. Raises DataError with file and
    line for what cannot be read, MissingDependency when zstandard or pyarrow is needed and absent.
    """
    with contextlib.closing(file):
        if name.endswith(".parquet"):
            yield from _parquet(file, name, columns, start)
        else:
            yield from _lines(file, name, start)


def _lines(file: IO[bytes], name: str, start: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    number = 0
    try:
        with unpacked(file, name) as lines:
            while line := lines.readline(LONGEST_LINE + 1):
                number += 1
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
    if number == 0:
        raise DataError("the file is empty", where=name)


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
    file: IO[bytes], name: str, columns: Sequence[str] | None, start: int
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    parquet = import_module("pyarrow.parquet")
    table = _checked(lambda: parquet.ParquetFile(file), name)
    wanted = None if columns is None else [c for c in columns if c in table.schema_arrow.names]
    number = 0
    for group in range(table.num_row_groups):
        size = table.metadata.row_group(group).num_rows
        if number + size <= start:  # whole groups are skipped without being read
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

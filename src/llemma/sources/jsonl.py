"""Documents from files of rows: JSON lines (plain, gzip, zstd) and Parquet; the text in one column.

A row without a text is an error with file and line. Columns that are not asked for are not read from Parquet files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llemma.config import setting
from llemma.errors import ConfigError, DataError, NotHere, explain
from llemma.records import Document
from llemma.sources import _tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the rows are and how their columns are called."""

    paths: tuple[Path, ...] = setting((), "files (.jsonl, .jsonl.gz, .jsonl.zst, .parquet) or folders of them")
    text: str = setting("text", "column that holds the text")
    id: str = setting("id", "column that holds the id; without it the id is FILE:LINE")
    meta: tuple[str, ...] = setting(("*",), "columns kept beside the text (*: all)")
    part: tuple[int, ...] = setting((), "part of the one file: begin, end (bytes; rows of Parquet), rows before")


def documents(options: Options) -> Iterator[Document]:
    """One document a row, files in the given order (folders: sorted). Raises DataError, ConfigError."""
    for file in _files(options):
        yield from _read(file, options)


def parts(options: Options) -> list[Options]:
    """The settings of the parts: large files are cut where their rows end (packed ones cannot be), others are one."""
    if options.part:
        return [options]
    return [replace(options, paths=(file,), part=span) for file in _files(options) for span in _tables.spans(file)]


def _files(options: Options) -> Iterator[Path]:
    if not options.paths:
        raise ConfigError("source jsonl needs options.paths")
    for path in options.paths:
        if not path.exists():
            raise NotHere("no such file or folder; check the path", where=path)
        files = sorted(p for p in path.rglob("*") if p.is_file() and _is_rows(p.name)) if path.is_dir() else [path]
        if not files:
            raise NotHere("no .jsonl or .parquet files in this folder", where=path)
        yield from files


def _is_rows(name: str) -> bool:
    return name.endswith(_tables.ENDINGS) and not name.endswith((".json", ".json.gz", ".json.zst"))


def _read(file: Path, options: Options) -> Iterator[Document]:
    every = options.meta == ("*",)
    columns: Sequence[str] | None = None if every else [options.text, options.id, *options.meta]
    try:
        opened = open(file, "rb")  # noqa: SIM115 - closed by `rows`
    except OSError as error:
        raise DataError(explain(error), where=file) from error
    for number, row in _tables.rows(opened, str(file), columns=columns, part=options.part):
        if not isinstance(row.get(options.text), str):
            raise DataError(f"expected an object with a string field {options.text!r}", where=f"{file}:{number}")
        own = row.get(options.id)
        name = f"{file.name}:{number}" if own is None else str(own)
        kept = row.keys() - {options.text, options.id} if every else row.keys() & set(options.meta)
        meta = {key: value for key, value in row.items() if key in kept}
        yield Document(id=name, text=row[options.text], source="jsonl", meta=meta)

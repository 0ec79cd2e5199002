"""Documents from JSON-lines files: one object a line, the text in one field.

Reads plain and gzip files. A line that is not an object with a text is an error with file and line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from llemma.config import setting
from llemma.errors import ConfigError, DataError, explain
from llemma.records import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the lines are and how their fields are called."""

    paths: tuple[Path, ...] = setting((), "files (.jsonl, .jsonl.gz) or folders of them")
    text: str = setting("text", "field that holds the text")
    id: str = setting("id", "field that holds the id; without it the id is FILE:LINE")


def documents(options: Options) -> Iterator[Document]:
    """One document a line, files in the given order (folders: sorted). Raises DataError, ConfigError."""
    for file in _files(options):
        yield from _read(file, options)


def parts(options: Options) -> list[Options]:
    """The settings of one part a file."""
    return [replace(options, paths=(file,)) for file in _files(options)]


def _files(options: Options) -> Iterator[Path]:
    if not options.paths:
        raise ConfigError("source jsonl needs options.paths")
    for path in options.paths:
        files = sorted(p for p in path.rglob("*.jsonl*") if p.is_file()) if path.is_dir() else [path]
        if not files:
            raise DataError("no .jsonl files in this folder", where=path)
        yield from files


def _read(file: Path, options: Options) -> Iterator[Document]:
    number = 0
    try:
        with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = json.loads(line.decode("utf-8"))
                if not isinstance(row, dict) or not isinstance(row.get(options.text), str):
                    where = f"{file}:{number}"
                    raise DataError(f"expected an object with a string field {options.text!r}", where=where)
                name = str(row.get(options.id, f"{file.name}:{number}"))
                meta = {k: v for k, v in row.items() if k not in (options.text, options.id)}
                yield Document(id=name, text=row[options.text], source="jsonl", meta=meta)
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason}", where=f"{file}:{number}") from error
    except ValueError as error:  # JSONDecodeError, or a number of more digits than Python reads
        raise DataError(f"not valid JSON: {getattr(error, 'msg', error)}", where=f"{file}:{number}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(explain(error), where=file) from error
    if number == 0:
        raise DataError("the file is empty", where=file)

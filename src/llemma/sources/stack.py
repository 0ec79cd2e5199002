"""Source files in rows: Parquet or JSON lines of The Stack and its kin, by the names of their columns.

Reads files on this machine, one batch in memory; the ``hub`` source streams the same tables from the hub. Whatever the
columns are called, path, repository, commit, language and licences are in ``meta`` under these names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llemma.config import setting
from llemma.errors import ConfigError, DataError, NotHere, explain, nearest
from llemma.records import Document
from llemma.sources import _licences, _tables
from llemma.sources._files import stamp, walk

# What a column means → what it is called: in The Stack v1, The Stack v2, StarCoderData, CodeParrot's GitHub code.
COLUMNS = {
    "text": ("content", "text", "code"),
    "path": ("max_stars_repo_path", "path", "file_path"),
    "repository": ("max_stars_repo_name", "repo_name", "repository", "repository_name", "repo"),
    "commit": ("max_stars_repo_head_hexsha", "revision_id", "commit", "commit_id"),
    "licences": ("max_stars_repo_licenses", "detected_licenses", "licenses", "licences", "license", "licence"),
    "language": ("lang", "language", "programming_language"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which files, which of their rows."""

    paths: tuple[Path, ...] = setting((), "files (.parquet, .jsonl, also .gz, .zst) or folders of them")
    columns: Mapping[str, str] = setting(
        factory=dict, help=f"names of columns where they have others: {', '.join(COLUMNS)} = NAME"
    )
    languages: tuple[str, ...] = setting((), "only rows in these languages, as the column has them (default: all)")
    licences: tuple[str, ...] = setting((), "only rows under these: SPDX names, or permissive (default: all)")
    limit: int = setting(0, "stop after this many documents (0: all)")
    only: tuple[str, ...] = setting((), "ids of the files to read (default: all)")

    def __post_init__(self) -> None:
        for key in self.columns:
            if key not in COLUMNS:
                raise ValueError(f"columns.{key}: no such meaning{nearest(key, COLUMNS)}")
        if self.limit < 0:
            raise ValueError(f"limit={self.limit} must be at least 0")


def documents(options: Options, dropped: Counter[str] | None = None) -> Iterator[Document]:
    """One document a row, files in sorted order; the id is FILE:ROW. Rows that are not wanted are counted.

    Raises ConfigError without paths, DataError for what cannot be read and for a file without a column of text.
    """
    dropped = Counter() if dropped is None else dropped
    wanted = {one.lower() for one in options.languages}
    count = 0
    for name, path in _files(options):
        for number, row in _rows(path, options):
            if options.limit and count >= options.limit:
                return
            document = _document(f"{name}:{number}", row, options)
            if wanted and str(document.meta.get("language", "")).lower() not in wanted:
                dropped["another programming language"] += 1
            elif options.licences and not _licences.allowed(document.meta.get("licences", ()), options.licences):
                dropped["licence not wanted" if "licences" in document.meta else "no licence found"] += 1
            else:
                count += 1
                yield document


def parts(options: Options) -> list[Options]:
    """The settings of one part a file; a limit belongs to all of them, so that it leaves one part."""
    names = [name for name, _ in _files(options)]
    return [options] if options.limit else [replace(options, only=(name,)) for name in names]


def stamps(options: Options) -> Iterator[tuple[str, Any]]:
    """Id of every file with what tells that it has changed."""
    return ((name, stamp(path)) for name, path in _files(options))


def _files(options: Options) -> Iterator[tuple[str, Path]]:
    only, found = set(options.only), False
    for name, path in walk(options.paths, lambda name: name.endswith(_tables.ENDINGS), source="stack"):
        if not only or name in only:
            found = True
            yield name, path
    if not found:
        raise NotHere(f"no file here ends in {', '.join(_tables.ENDINGS)}", where=options.paths[0])


def _rows(path: Path, options: Options) -> Iterator[tuple[int, Mapping[str, Any]]]:
    names = [*options.columns.values(), *(name for known in COLUMNS.values() for name in known)]
    try:
        file = open(path, "rb")  # noqa: SIM115 - rows() closes it
    except OSError as error:
        raise DataError(explain(error), where=path) from error
    yield from _tables.rows(file, str(path), columns=list(dict.fromkeys(names)))


def _document(name: str, row: Mapping[str, Any], options: Options) -> Document:
    found = {meaning: _value(row, meaning, options) for meaning in COLUMNS}
    text = found.pop("text")
    if not isinstance(text, str):
        there = ", ".join(sorted(row)[:12]) or "none of the known columns"
        raise DataError(f"no text (options.columns.text); there is {there}", where=name)
    licences = found.pop("licences")
    listed = [licences] if isinstance(licences, str) else list(licences or ())
    meta: dict[str, Any] = {key: value for key, value in found.items() if isinstance(value, str) and value}
    if listed:
        meta["licences"] = [str(one) for one in listed]
    return Document(id=name, text=text, source="stack", meta=meta)


def _value(row: Mapping[str, Any], meaning: str, options: Options) -> Any:
    if meaning in options.columns:
        column = options.columns[meaning]
        if column not in row:
            raise ConfigError(f"columns.{meaning}={column}: the rows have no such column")
        return row[column]
    return next((row[name] for name in COLUMNS[meaning] if row.get(name) is not None), None)

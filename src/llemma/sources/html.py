"""Web pages of folders and files as Markdown with their formulas.

Reads; the ledger of each page's formulas is in ``meta``, and what is good enough for a corpus is decided there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llemma.config import setting
from llemma.errors import ConfigError, DataError, NotHere
from llemma.extract.files import KINDS, read_limited
from llemma.extract.html_math import extract_html
from llemma.records import Document, to_row
from llemma.sources._files import stamp

PART, MOST_PARTS = 16, 256  # each part lists the folders again


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which pages."""

    paths: tuple[Path, ...] = setting((), "files (.html, .htm, .xhtml, also .gz) or folders of them")
    formulas: bool = setting(False, "only pages that hold formulas")
    main: bool = setting(True, "only the main text of each page, without menus and comments")
    max_bytes: int = setting(16_000_000, "leave out larger pages")
    only: tuple[str, ...] = setting((), "ids of the pages to read (default: all)")


def documents(options: Options, dropped: Counter[str] | None = None) -> Iterator[Document]:
    """One document a page, folders in sorted order; the id is the path below the folder's name.

    Pages without text are left out, and the reasons counted in ``dropped``.
    Raises ConfigError without paths, NotHere for a path that does not exist or a folder without pages.
    """
    dropped = Counter() if dropped is None else dropped
    only = set(options.only)
    for name, file in _files(options.paths):
        if only and name not in only:
            continue
        if file.stat().st_size > options.max_bytes:
            dropped["page too large"] += 1
            continue
        try:
            data = read_limited(file, options.max_bytes)
        except DataError:  # a packed page that is too large or broken
            dropped["unreadable page"] += 1
            continue
        one = extract_html(data, name=name, main=options.main)
        if one.text and (one.formulas.kept or not options.formulas):
            meta = {"title": one.title, "formulas": to_row(one.formulas)}
            yield Document(id=name, text=one.text, source="html", meta=meta)
        else:
            dropped["page without formulas" if one.text else "page without text"] += 1


def parts(options: Options) -> list[Options]:
    """The settings of parts of at least ``PART`` pages each, at most ``MOST_PARTS`` parts."""
    names = [name for name, _ in _files(options.paths) if not options.only or name in options.only]
    size = max(PART, -(-len(names) // MOST_PARTS))
    return [replace(options, only=tuple(names[at : at + size])) for at in range(0, len(names), size)]


def stamps(options: Options) -> Iterator[tuple[str, Any]]:
    """Id of every page with what tells that its file has changed."""
    return ((name, stamp(file)) for name, file in _files(options.paths))


def _files(paths: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    if not paths:
        raise ConfigError("source html needs options.paths")
    endings = KINDS["html"].endings
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.name.lower().endswith(endings) and p.is_file())
            if not found:
                raise NotHere(f"no file here ends in {', '.join(endings)}", where=path)
            yield from ((f"{path.resolve().name}/{p.relative_to(path).as_posix()}", p) for p in found)
        elif path.is_file():
            yield path.name, path
        else:
            raise NotHere("no such file or folder", where=path)

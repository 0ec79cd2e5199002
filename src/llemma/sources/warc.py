"""Web pages with formulas out of WARC files of a crawl: gz, zstd or plain.

Pages that cannot hold a formula are left out by their raw bytes, before parsing; what is kept comes as Markdown with
its ledger of formulas in ``meta``. Files are read in the given order, so a run over the same files yields the same
documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from llemma.config import setting
from llemma.errors import ConfigError, NotHere
from llemma.extract.html_math import extract_html
from llemma.extract.prefilter import may_hold_formulas
from llemma.extract.warc import read_pages
from llemma.records import Document, to_row

_ENDINGS = (".warc", ".warc.gz", ".warc.zst")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which files, and which of their pages."""

    paths: tuple[Path, ...] = setting((), "WARC files or folders of them")
    formulas: bool = setting(True, "only pages that hold formulas")
    max_bytes: int = setting(4_000_000, "leave out larger pages")


def documents(options: Options, dropped: Counter[str] | None = None) -> Iterator[Document]:
    """One document a page; the id is FILE#NUMBER. Pages left out are counted in ``dropped``, by reason.

    Raises ConfigError without paths, DataError for a file that is no WARC file or breaks off.
    """
    dropped = Counter() if dropped is None else dropped
    for file in _files(options.paths):
        for number, page in enumerate(read_pages(file, max_bytes=options.max_bytes)):
            if page.error:
                dropped["unreadable page"] += 1
                continue
            if options.formulas and not may_hold_formulas(page.data):
                dropped["page without formulas"] += 1
                continue
            one = extract_html(page.data, charset=page.charset)
            if one.text and (one.formulas.kept or not options.formulas):
                meta = {"url": page.url, "date": page.date, "title": one.title, "formulas": to_row(one.formulas)}
                yield Document(id=f"{file.name}#{number}", text=one.text, source="warc", meta=meta)
            else:
                dropped["page without formulas" if one.text else "page without text"] += 1


def parts(options: Options) -> list[Options]:
    """The settings of one part a file."""
    return [replace(options, paths=(file,)) for file in _files(options.paths)]


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    if not paths:
        raise ConfigError("source warc needs options.paths")
    for path in paths:
        if not path.exists():
            raise NotHere("no such file or folder", where=path)
        files = sorted(p for p in path.rglob("*") if p.name.endswith(_ENDINGS)) if path.is_dir() else [path]
        if not files:
            raise NotHere(f"no file here ends in {', '.join(_ENDINGS)}", where=path)
        yield from files

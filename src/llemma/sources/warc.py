"""Web pages with formulas out of WARC files of a crawl: gz, zstd or plain.

Pages that cannot hold a formula are left out by their raw bytes, before parsing; what is kept comes as Markdown with
its ledger of formulas in ``meta``. Files are read in the given order, so a run over the same files yields the same
documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llemma.config import setting
from llemma.errors import ConfigError, DataError
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


def documents(options: Options) -> Iterator[Document]:
    """One document a page; the id is FILE#NUMBER. Raises DataError for a file that is no WARC file or breaks off."""
    if not options.paths:
        raise ConfigError("source warc needs options.paths")
    for path in options.paths:
        files = sorted(p for p in path.rglob("*") if p.name.endswith(_ENDINGS)) if path.is_dir() else [path]
        if not files:
            raise DataError(f"no file here ends in {', '.join(_ENDINGS)}", where=path)
        for file in files:
            for number, page in enumerate(read_pages(file, max_bytes=options.max_bytes)):
                if page.error or (options.formulas and not may_hold_formulas(page.data)):
                    continue
                one = extract_html(page.data, charset=page.charset)
                if one.text and (one.formulas.kept or not options.formulas):
                    meta = {"url": page.url, "date": page.date, "title": one.title, "formulas": to_row(one.formulas)}
                    yield Document(id=f"{file.name}#{number}", text=one.text, source="warc", meta=meta)

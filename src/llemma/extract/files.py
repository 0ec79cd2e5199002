"""Files, folders and standard input to rows of text: what ``llemma extract`` does.

Which extractor reads a file is a table (``KINDS``) by the ending of its name; a new format is a line there and a
function ``(data: bytes, *, name: str) -> Extracted``. A file that cannot be read becomes a row with ``error``: a run
over a folder outlives it.
"""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.config import setting
from llemma.errors import Caught, DataError, boundary, explain
from llemma.extract.ledger import Extracted
from llemma.plugins import import_module
from llemma.records import Event, Progress, silent, to_row

_PAUSE = 0.5  # seconds between two words about progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A format: the endings of its files' names, and the function that reads it (module of ``extract``: name).

    A file of a format that is ``open`` takes in others from its folder when it is named itself: its function has the
    parameter ``beside: Path | None``. ``archive`` formats hold many documents: their function is
    ``(path: Path, *, max_bytes: int) -> Iterator[Extracted]``. ``starts`` are bytes that files of this kind begin
    with, for standard input and names without a known ending.
    """

    endings: tuple[str, ...]
    function: str
    archive: bool = False
    open: bool = False
    starts: tuple[bytes, ...] = ()


KINDS = {
    "html": Kind(
        endings=(".html", ".htm", ".xhtml", ".xht", ".html.gz", ".htm.gz", ".xhtml.gz"),
        function="html_math:extract_html",
        starts=(b"<!doctype html", b"<html", b"<?xml", b"<!--", b"<head", b"<body"),
    ),
    "warc": Kind(
        endings=(".warc", ".warc.gz", ".warc.zst"), function="warc:extract_warc", archive=True, starts=(b"warc/",)
    ),
    "tex": Kind(
        endings=(".tex", ".ltx", ".tex.gz"),
        function="tex:extract_tex",
        open=True,
        starts=(b"\\documentclass", b"\\documentstyle", b"\\begin{document}", b"\\section", b"\\input"),
    ),
    "arxiv": Kind(endings=(".tar", ".tar.gz", ".tgz", ".gz"), function="arxiv:extract_arxiv", archive=True),
    "notebook": Kind(
        endings=(".ipynb",),
        function="notebook:extract_notebook",
        starts=(b'{"cells"', b'{\n "cells"', b'{\n "metadata"'),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractConfig:
    """Settings of ``llemma extract``."""

    paths: tuple[str, ...] = setting((), "files and folders to read (-: standard input)")
    kind: str = setting("auto", f"format of the files: {', '.join(KINDS)}; auto goes by the ending of the name")
    max_bytes: int = setting(16_000_000, "a larger file, or page of an archive, becomes a row with an error")
    out: Path | None = setting(None, "file for the rows; written whole or not at all (default: standard output)")

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("say which files or folders to read (-: standard input)")
        if self.kind != "auto" and self.kind not in KINDS:
            raise ValueError(f"kind={self.kind}: known kinds are auto, {', '.join(KINDS)}")
        if self.max_bytes <= 0:
            raise ValueError(f"max_bytes={self.max_bytes}: must be positive")
        if self.out is not None and self.out.is_dir():
            raise ValueError(f"out={self.out}: this is a folder, a file was expected")


def extract_rows(config: ExtractConfig, *, progress: Progress = silent) -> Iterator[dict[str, Any]]:
    """One row a document, in the order of the paths (folders: sorted).

    A row is ``{"id", "text", "source", "meta": {"title", "formulas", ...}}`` and has ``"error"`` where there is no
    text. The last event says how many documents, errors and formulas there were. Raises DataError, before anything is
    read, for a path that does not exist or a folder without a file of a known kind, MissingDependency for an absent
    package.
    """
    files = [file for path in config.paths for file in _files(path, config.kind)]
    start = said = time.perf_counter()
    rows = errors = found = kept = 0
    for done, (name, kind) in enumerate(files):
        for one in _documents(name, kind, config, named=name in config.paths):
            rows, errors = rows + 1, errors + (one.error is not None)
            found, kept = found + one.formulas.found, kept + one.formulas.kept
            yield _row(name, kind, one)
            now = time.perf_counter()
            if now - said >= _PAUSE:
                said = now
                figures = {"documents": float(rows), "formulas": float(found), "documents/s": rows / (now - start)}
                progress(Event(stage="extract", done=done, total=len(files), unit="files", figures=figures))
    note = f"{rows} documents, {errors} with an error, {found} formulas found, {kept} kept"
    progress(Event(stage="extract", done=len(files), total=len(files), unit="files", note=note))


def kind_of(name: str) -> str | None:
    """The kind of a file by the longest known ending of its name; ``None`` when no ending is known."""
    lower = name.lower()
    fitting = [(len(end), kind) for kind, one in KINDS.items() for end in one.endings if lower.endswith(end)]
    return max(fitting)[1] if fitting else None


def sniff(data: bytes) -> str | None:
    """The kind of a file by how its bytes begin; ``None`` when that says nothing."""
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((kind for kind, one in KINDS.items() if head.startswith(one.starts or (b"\0",))), None)


def read_limited(path: Path, limit: int) -> bytes:
    """The bytes of a file, gzip undone where its name ends in ``.gz``; never more than ``limit`` are held.

    Raises DataError when there are more, or the gzip stream is broken. ``-`` is standard input.
    """
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(limit + 1)
        elif path.suffix.lower() == ".gz":
            with gzip.open(path) as file:
                data = file.read(limit + 1)
        else:
            with open(path, "rb") as plain:
                data = plain.read(limit + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"the gzip stream is broken: {explain(error)}", where=path) from error
    if len(data) > limit:
        raise DataError(f"more than {limit:,} bytes; raise max_bytes to read it", where=path)
    return data


def _files(given: str, kind: str) -> list[tuple[str, str]]:
    """Names and kinds of the files of one path; the kind is empty where only the content can tell it."""
    path = Path(given)
    wanted = "" if kind == "auto" else kind
    if given == "-" or path.is_file() or path.is_fifo():
        return [(given, wanted or kind_of(given) or "")]
    if not path.is_dir():
        raise DataError("no such file or folder", where=path)
    names = sorted(str(p) for p in path.rglob("*") if p.is_file())
    found = [(name, known) for name in names if (known := kind_of(name)) and wanted in ("", known)]
    if not found:
        raise DataError(f"no file here has an ending of {', '.join([wanted] if wanted else KINDS)}", where=path)
    return found


def _documents(name: str, kind: str, config: ExtractConfig, *, named: bool) -> Iterator[Extracted]:
    """The documents of one file; whatever goes wrong in it is a document with an error.

    ``named`` files were given themselves, not found in a folder.
    """
    if kind and KINDS[kind].archive:
        pages = _function(kind)(Path(name), max_bytes=config.max_bytes)
        while True:
            page = boundary(lambda: next(pages, None))
            if page is None:
                return
            yield Extracted(text="", error=str(page)) if isinstance(page, Caught) else page
            if isinstance(page, Caught):
                return

    def extract() -> Extracted:
        data = read_limited(Path(name), config.max_bytes)
        known = kind or sniff(data)
        if known is None or KINDS[known].archive:
            raise DataError(f"its format cannot be told; say kind= one of {', '.join(KINDS)}", where=name)
        more = {"beside": Path(name).parent} if KINDS[known].open and named and name != "-" else {}
        one: Extracted = _function(known)(data, name=name, **more)
        return one

    one = boundary(extract)
    yield Extracted(text="", error=one.message) if isinstance(one, Caught) else one


def _function(kind: str) -> Any:
    module, _, function = KINDS[kind].function.partition(":")
    return getattr(import_module(f"llemma.extract.{module}"), function)


def _row(name: str, kind: str, one: Extracted) -> dict[str, Any]:
    """The row of a document, as docs/extraction.md describes it."""
    meta = {"title": one.title, "formulas": to_row(one.formulas), **one.meta}
    row = {"id": f"{name}#{one.part}" if one.part else name, "text": one.text, "source": kind or "file", "meta": meta}
    return row if one.error is None else {**row, "error": one.error}

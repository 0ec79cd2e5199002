"""Jupyter notebooks of folders: Markdown, code and text outputs; images and tracebacks left out.

Yields what ``llemma.extract.notebook`` makes of each file; what is no notebook, too large or empty is left out and
counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llemma.config import setting
from llemma.extract.notebook import NotebookOptions, extract_notebook
from llemma.records import Document, to_row
from llemma.sources._files import UNREAD, read_limited, stamp, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which notebooks, and what is kept of them."""

    paths: tuple[Path, ...] = setting((), "folders or .ipynb files")
    profile: Literal["default", "llemma"] = setting("default", "default, or llemma: outputs as in AlgebraicStack")
    outputs: bool = setting(True, "keep outputs that are text")
    max_file_bytes: int = setting(32_000_000, "leave out larger files (images inside count)")


def documents(options: Options, dropped: Counter[str] | None = None) -> Iterator[Document]:
    """One document a notebook, the id is FOLDER/path. What has no text is counted in ``dropped``, by reason.

    Raises ConfigError without paths, DataError for a wrong one.
    """
    dropped = Counter() if dropped is None else dropped
    kept = NotebookOptions(profile=options.profile, outputs=options.outputs)
    for name, path in _files(options):
        data = read_limited(path, options.max_file_bytes)
        if data is None:
            dropped[UNREAD] += 1
            continue
        book = extract_notebook(data, name=name, options=kept)
        if not book.text:
            dropped[(book.error or "no text").partition(":")[0]] += 1
            continue
        meta = {"title": book.title, "formulas": to_row(book.formulas), **book.meta}
        yield Document(id=name, text=book.text, source="notebook", meta=meta)


def stamps(options: Options) -> Iterator[tuple[str, Any]]:
    """Id of every notebook with what tells that its file has changed."""
    return ((name, stamp(path)) for name, path in _files(options))


def _files(options: Options) -> Iterator[tuple[str, Path]]:
    return walk(options.paths, lambda name: name.endswith(".ipynb"), source="notebook")

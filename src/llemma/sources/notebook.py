"""Jupyter notebooks of folders: Markdown, code and text outputs; images and tracebacks left out.

Yields what ``llemma.extract.notebook`` makes of each file; what is no notebook, too large or empty is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llemma.config import setting
from llemma.extract.notebook import NotebookOptions, extract_notebook
from llemma.records import Document, to_row
from llemma.sources._files import read_limited, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which notebooks, and what is kept of them."""

    paths: tuple[Path, ...] = setting((), "folders or .ipynb files")
    profile: Literal["default", "llemma"] = setting("default", "default, or llemma: outputs as in AlgebraicStack")
    outputs: bool = setting(True, "keep outputs that are text")
    max_file_bytes: int = setting(32_000_000, "leave out larger files (images inside count)")


def documents(options: Options) -> Iterator[Document]:
    """One document a notebook, the id is FOLDER/path. Raises ConfigError without paths, DataError for a wrong one."""
    kept = NotebookOptions(profile=options.profile, outputs=options.outputs)
    for name, path in walk(options.paths, lambda name: name.endswith(".ipynb"), source="notebook"):
        data = read_limited(path, options.max_file_bytes)
        book = extract_notebook(data, name=name, options=kept) if data is not None else None
        if book is not None and book.text:
            meta = {"title": book.title, "formulas": to_row(book.formulas), **book.meta}
            yield Document(id=name, text=book.text, source="notebook", meta=meta)

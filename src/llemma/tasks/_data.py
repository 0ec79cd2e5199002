"""Benchmark files: where they come from, how many rows they have, how they are found; grades and prompts nothing.

A file in LLEMMA_DATA comes first and may be another than the published one (``published`` then says so); otherwise
the pinned original is taken from the cache or fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.errors import DataError
from llemma.fetch import Remote, cached, data_folder, fetch, github, offline
from llemma.run import read_jsonl, sha256_file

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A benchmark file. ``file`` is its name in LLEMMA_DATA, ``sha256`` the hash of that form; the original at
    ``repo``/``commit``/``path`` holds the same rows and has a hash of its own. ``hub`` is the name people know."""

    file: str
    rows: int
    sha256: str
    repo: str
    commit: str
    path: str
    original_sha256: str
    hub: str
    licence: str

    @property
    def remote(self) -> Remote:
        """The original on GitHub."""
        return github(self.repo, self.commit, self.path, self.original_sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A benchmark file on this machine, with its rows read."""

    path: Path
    sha256: str
    published: bool
    rows: tuple[Row, ...]

    def meta(self, dataset: Dataset) -> dict[str, Any]:
        """What a task says of its data."""
        return {
            "hub": dataset.hub,
            "licence": dataset.licence,
            "rows": len(self.rows),
            "sha256": self.sha256,
            "published": self.published,
        }

    def numbered(self) -> Iterator[tuple[int, str, Row]]:
        """Each row with its number from 1 and its place for error messages."""
        for number, row in enumerate(self.rows, 1):
            yield number, f"{self.path}:{number}", row


def local(dataset: Dataset) -> Path | None:
    """The file in LLEMMA_DATA or in the cache; nothing is fetched."""
    folder = data_folder()
    if folder is not None and (folder / dataset.file).is_file():
        return folder / dataset.file
    return cached(dataset.remote)


def open_dataset(dataset: Dataset) -> Found:
    """The benchmark's rows. Raises DataError with the remedy when they cannot be had."""
    path = local(dataset)
    if path is None:
        remedy = (
            f"needs {dataset.file} ({dataset.hub}, {dataset.licence}): set LLEMMA_DATA to a folder that holds it, "
            "or allow fetching it from "
        )
        if offline():
            raise DataError(f"{remedy}{dataset.remote.url} (LLEMMA_OFFLINE or HF_HUB_OFFLINE is set)")
        path = fetch(dataset.remote)
    digest = sha256_file(path)
    rows = tuple(read_jsonl(path))
    if not rows:
        raise DataError("the file holds no problems", where=path)
    published = len(rows) == dataset.rows and digest in (dataset.sha256, dataset.original_sha256)
    return Found(path=path, sha256=digest, published=published, rows=rows)


def text_of(row: Row, name: str, where: str) -> str:
    """A text field of a row. Raises DataError when it is missing or empty."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"expected the text field {name}", where=where)
    return value


def number_of(row: Row, name: str, where: str) -> str:
    """A number field as exact text: 18, -5, 2.5 (a float without fraction is written as a whole number)."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"expected the number field {name}", where=where)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return repr(value)

"""Puts the pieces of a source and split together, in order, into shards of whole documents.

Bytes are copied and hashed in one pass; nothing is tokenised, parsed or held in memory but the lists of documents.
Shards are a pure function of the pieces: one that is there already, with the bytes it should have, is left alone.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llemma.corpus.shards import Shard, docs_path, read_documents
from llemma.errors import DataError
from llemma.run import atomic_file, atomic_write, sha256_file

CHUNK = 1 << 18  # bytes hashed and written at a time: they stay in the processor's cache


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Neighbouring documents of a piece that go into one shard: their tokens' place in it, their lines moved there."""

    piece: Path
    start: int
    tokens: int
    documents: int
    lines: np.ndarray


def pack(
    folder: Path, source: str, split: str, pieces: Sequence[Path], limit: int, dtype: np.dtype[Any] | str
) -> list[Shard]:
    """Write ``FOLDER/SOURCE-SPLIT-00000.bin`` and so on, each with its ``.docs.jsonl``, from files of tokens.

    A shard holds at most ``limit`` tokens of whole documents; a longer document has one of its own. Raises DataError
    for a piece that is missing, damaged or of another dtype than its list of documents says.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    if kind.name not in ("uint16", "uint32"):
        raise DataError(f"tokens are stored as uint16 or uint32, not {kind.name}", where=folder)
    return [
        _shard(folder / f"{source}-{split}-{number:05d}.bin", source, split, runs, kind)
        for number, runs in enumerate(_plan(pieces, limit, kind))
    ]


def _plan(pieces: Sequence[Path], limit: int, dtype: np.dtype[Any]) -> Iterator[list[_Run]]:
    """The documents of each shard; a list of documents is in memory only while its piece is cut up."""
    runs: list[_Run] = []
    used = 0
    for piece in pieces:
        documents = read_documents(piece)
        _check(piece, documents.total, dtype)
        first = 0
        while first < len(documents):
            room = int(documents.starts[first]) + limit - used
            last = int(np.searchsorted(documents.ends, room, side="right"))
            if last <= first and runs:
                yield runs
                runs, used = [], 0
                continue
            last = max(last, first + 1)  # longer than a shard: alone in one
            start, end = int(documents.starts[first]), int(documents.ends[last - 1])
            lines = documents.moved(first, last, used - start)
            runs.append(_Run(piece=piece, start=start, tokens=end - start, documents=last - first, lines=lines))
            used, first = used + end - start, last
    if runs:
        yield runs


def _check(piece: Path, tokens: int, dtype: np.dtype[Any]) -> None:
    if not piece.is_file():
        raise DataError("file of tokens missing; run the build again in a new folder", where=piece)
    size, expected = piece.stat().st_size, tokens * dtype.itemsize
    if size != expected:
        raise DataError(
            f"damaged: {size} bytes, not the {expected} of {tokens} tokens of {dtype.name} in its list of documents; "
            "delete it and tokenise its part again",
            where=piece,
        )


def _shard(path: Path, source: str, split: str, runs: Sequence[_Run], dtype: np.dtype[Any]) -> Shard:
    """Write one shard, or find that it is there: the list of documents first, so that tokens never lack one."""
    docs = b"".join(run.lines.tobytes() for run in runs)
    docs_hash = hashlib.sha256(docs).hexdigest()
    tokens = sum(run.tokens for run in runs)
    digest = None
    if path.is_file() and path.stat().st_size == tokens * dtype.itemsize:
        digest = _digest(_chunks(runs, dtype))
        digest = digest if sha256_file(path) == digest else None
    if not docs_path(path).is_file() or sha256_file(docs_path(path)) != docs_hash:
        atomic_write(docs_path(path), docs)
    if digest is None:
        with atomic_file(path) as file:
            found = hashlib.sha256()
            for chunk in _chunks(runs, dtype):
                found.update(chunk)
                file.write(chunk)
            digest = found.hexdigest()
    return Shard(
        file=f"{path.parent.name}/{path.name}",
        source=source,
        split=split,
        tokens=tokens,
        sha256=digest,
        dtype=dtype.name,
        documents=sum(run.documents for run in runs),
        docs_sha256=docs_hash,
    )


def _chunks(runs: Sequence[_Run], dtype: np.dtype[Any]) -> Iterator[memoryview]:
    """The bytes of the runs, as they lie in their files."""
    for run in runs:
        with open(run.piece, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            end = (run.start + run.tokens) * dtype.itemsize
            try:
                for at in range(run.start * dtype.itemsize, end, CHUNK):
                    with view[at : min(at + CHUNK, end)] as chunk:
                        yield chunk
            finally:
                view.release()


def _digest(chunks: Iterator[memoryview]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()

"""Token shards: flat little-endian uint16 files with their sha256 in ``manifest.json``.

A shard is written beside and renamed when it is complete. Documents are concatenated, each followed by the
end mark (as GPT-NeoX did for Llemma); nothing else is stored in the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from llemma.errors import DataError
from llemma.run import read_json, sha256_file, sync_folder

DTYPE = np.dtype("<u2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of tokens: path relative to the corpus folder, source, split, token count, sha256."""

    file: str
    source: str
    split: str
    tokens: int
    sha256: str


class ShardWriter:
    """Writes documents of one source and split into shards of at most ``limit`` tokens (whole documents)."""

    def __init__(self, folder: Path, source: str, split: str, limit: int) -> None:
        self.shards: list[Shard] = []
        self._folder, self._source, self._split, self._limit = folder, source, split, limit
        self._file: Any = None
        self._start()

    def add(self, ids: np.ndarray) -> None:
        """Append one document's ids (end mark included). Raises DataError when an id needs more than 16 bits."""
        if len(ids) and int(ids.max()) > np.iinfo(DTYPE).max:
            raise DataError(f"token id {int(ids.max())} does not fit into 16 bits; use a vocabulary below 65,536")
        if self._tokens and self._tokens + len(ids) > self._limit:
            self._finish()
            self._start()
        data = ids.astype(DTYPE).tobytes()
        if self._file is None:
            self._file = open(self._part, "wb")  # noqa: SIM115 - closed by _finish
        with self._named():
            self._file.write(data)
        self._hash.update(data)
        self._tokens += len(ids)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._file is not None:
                with contextlib.suppress(OSError):  # on a full disk the buffer cannot be flushed
                    self._file.close()
            self._part.unlink(missing_ok=True)  # also when an interrupt came between opening and keeping the file

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """A failed write says which file it was; the operating system does not."""
        try:
            yield
        except OSError as error:
            error.filename = str(self._folder / self._name)
            raise

    def _start(self) -> None:
        self._name = f"{self._source}-{self._split}-{len(self.shards):05d}.bin"
        self._part = self._folder / f".{self._name}.part"
        self._tokens, self._hash = 0, hashlib.sha256()

    def _finish(self) -> None:
        if self._file is None:
            return
        with self._named():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        self._file = None
        os.replace(self._part, self._folder / self._name)
        sync_folder(self._folder)
        file = f"{self._folder.name}/{self._name}"
        self.shards.append(
            Shard(file=file, source=self._source, split=self._split, tokens=self._tokens, sha256=self._hash.hexdigest())
        )


def read_manifest(corpus: Path) -> Mapping[str, Any]:
    """The manifest of a finished corpus folder. Raises DataError with the remedy."""
    path = corpus / "manifest.json"
    if not path.exists():
        raise DataError("no manifest.json: not a finished corpus; build it: `llemma corpus RECIPE.toml`", where=corpus)
    manifest: Mapping[str, Any] = read_json(path)
    if not (isinstance(manifest, dict) and {"sources", "shards", "tokenizer"} <= manifest.keys()):
        raise DataError("not the manifest of a corpus; delete the corpus folder and build it again", where=path)
    return manifest


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """One sha256 for everything a trainer reads of a corpus: tokeniser, weights, shards."""
    weights = {name: source["weight"] for name, source in manifest["sources"].items()}
    content = [manifest["tokenizer"]["sha256"], weights, [[s["file"], s["sha256"]] for s in manifest["shards"]]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def open_shard(corpus: Path, shard: Mapping[str, Any], *, verify: bool = True) -> np.ndarray:
    """A shard's tokens as a read-only memory map (uint16).

    Raises DataError when the file is missing, has another length than the manifest says or (``verify``)
    another sha256.
    """
    path = corpus / shard["file"]
    remedy = "; delete the corpus folder and build it again with `llemma corpus`"
    if not path.is_file():
        raise DataError(f"shard missing{remedy}", where=path)
    if path.stat().st_size != shard["tokens"] * DTYPE.itemsize:
        expected = shard["tokens"] * DTYPE.itemsize
        raise DataError(f"shard damaged: {path.stat().st_size} bytes, not {expected}{remedy}", where=path)
    if verify and sha256_file(path) != shard["sha256"]:
        raise DataError(f"shard damaged: its sha256 is not the manifest's{remedy}", where=path)
    return np.memmap(path, dtype=DTYPE, mode="r")

"""Token shards: flat files of little-endian uint16 or uint32, each with a list of its documents.

Documents are concatenated, each followed by the end mark (as GPT-NeoX did for Llemma); nothing else is stored in the
tokens' file. ``X.docs.jsonl`` beside ``X.bin`` has a line for each document, in order: where it starts, how many tokens
it has (end mark included), its id and the part it came from. Its numbers stand in columns of fixed width, so that a
million lines are read and moved without being parsed one by one. ``manifest.json`` holds the sha256 of both files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llemma.errors import ConfigError, DataError, nearest
from llemma.run import read_json, sha256_file

SMALL = 65_536  # a vocabulary of at most so many entries fits into 16 bits
REMEDY = "; delete the corpus folder and build it again with `llemma corpus`"

# A line of documents: {"start":           0,"tokens":         123,"id":"...","part":"..."}
_START, _TOKENS, _ID = b'{"start":', b',"tokens":', b',"id":'
_DIGITS = 12
_AT_TOKENS = len(_START) + _DIGITS
_HEAD = _AT_TOKENS + len(_TOKENS) + _DIGITS + len(_ID)
_POWERS = 10 ** np.arange(_DIGITS - 1, -1, -1, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file of tokens: path relative to the corpus folder, source, split, counts, type of a token, sha256.

    ``docs_sha256`` is that of the list of documents; empty in a corpus built before there was one.
    """

    file: str
    source: str
    split: str
    tokens: int
    sha256: str
    dtype: str = "uint16"
    documents: int = 0
    docs_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a token of a shard comes from: document, its part, its place in the file and the token's place in it.

    ``offset`` counts tokens; ``offset == tokens - 1`` is the end mark. The text is the document ``id`` of the source;
    it stands in ``parts/PART.jsonl`` of a corpus that kept its texts.
    """

    source: str
    split: str
    file: str
    token: int
    id: str
    part: str
    start: int
    tokens: int
    offset: int


def dtype_of(vocab_size: int) -> np.dtype[Any]:
    """The type of a token in the files: uint16 up to 65,536 entries, uint32 above. Raises ConfigError beyond that."""
    if not 0 < vocab_size <= 2**32:
        raise ConfigError(f"a vocabulary of {vocab_size} entries cannot be stored in 32 bits")
    return np.dtype("<u2" if vocab_size <= SMALL else "<u4")


def docs_path(path: Path) -> Path:
    """The list of documents that belongs to a file of tokens."""
    return path.with_suffix(".docs.jsonl")


def docs_line(start: int, tokens: int, document: str, part: str) -> bytes:
    """A line of a list of documents: JSON in UTF-8 (escaped where that cannot write it), numbers of a fixed width."""
    try:
        name = json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair
        name = json.dumps(document).encode()
    return b'{"start":%12d,"tokens":%12d,"id":%b,"part":%b}\n' % (start, tokens, name, json.dumps(part).encode())


class Documents:
    """The list of documents of one file of tokens, as columns: ``starts``, ``tokens``, ``ends`` (int64)."""

    def __init__(self, data: np.ndarray, where: Path) -> None:
        """``data``: the file as uint8. Raises DataError with the line when it is not such a list."""
        self.data, self._where = data, where
        stops = np.flatnonzero(data == 10) + 1
        self.lines = np.concatenate([np.zeros(1, np.int64), stops])  # line k is data[lines[k]:lines[k + 1]]
        if self.lines[-1] != len(data):
            raise DataError(f"cut off in the middle of a line{REMEDY}", where=f"{where}:{len(self.lines)}")
        self._refuse(np.diff(self.lines) < _HEAD)
        begins = self.lines[:-1]
        self.starts = self._numbers(begins, _START, 0)
        self.tokens = self._numbers(begins, _TOKENS, _AT_TOKENS)
        self.ends = self.starts + self.tokens
        self._refuse(
            (self.tokens < 1) | (self.starts != np.concatenate([np.zeros(1, np.int64), self.ends[:-1]])[: len(self)])
        )

    def __len__(self) -> int:
        return len(self.lines) - 1

    @property
    def total(self) -> int:
        """Tokens of all documents."""
        return int(self.ends[-1]) if len(self) else 0

    def row(self, number: int) -> dict[str, Any]:
        """One line as an object: start, tokens, id, part."""
        found = json.loads(self.data[self.lines[number] : self.lines[number + 1]].tobytes())
        return dict(found)

    def moved(self, first: int, last: int, by: int) -> np.ndarray:
        """The lines of the documents ``first`` to ``last - 1``, their starts ``by`` tokens further on (uint8)."""
        data = self.data[self.lines[first] : self.lines[last]].copy()
        if by and last > first:
            at = self.lines[first:last] - self.lines[first] + len(_START)
            quotient = (self.starts[first:last, None] + by) // _POWERS
            text = np.where(quotient > 0, quotient % 10 + 48, 32).astype(np.uint8)
            text[quotient[:, -1] == 0, -1] = 48
            np.lib.stride_tricks.sliding_window_view(data, _DIGITS, writeable=True)[at] = text
        return data

    def _numbers(self, begins: np.ndarray, key: bytes, at: int) -> np.ndarray:
        """The column of numbers behind ``key``, which stands ``at`` bytes from the beginning of every line."""
        if not len(begins):
            return np.zeros(0, np.int64)
        window = np.lib.stride_tricks.sliding_window_view(self.data, len(key) + _DIGITS)[begins + at]
        field = window[:, len(key) :]
        digit = field != 32
        wrong = (window[:, : len(key)] != np.frombuffer(key, np.uint8)).any(axis=1)
        wrong |= (digit & ((field < 48) | (field > 57))).any(axis=1) | (digit[:, :-1] > digit[:, 1:]).any(axis=1)
        self._refuse(wrong | ~digit[:, -1])
        return np.where(digit, field - np.uint8(48), 0).astype(np.int64) @ _POWERS

    def _refuse(self, wrong: np.ndarray) -> None:
        if wrong.any():
            raise DataError(f"damaged list of documents{REMEDY}", where=f"{self._where}:{int(wrong.argmax()) + 1}")


def read_documents(path: Path) -> Documents:
    """The documents of the file of tokens ``path``. Raises DataError when their list is missing or damaged."""
    where = docs_path(path)
    if not where.is_file():
        raise DataError(f"list of documents missing{REMEDY}", where=where)
    return Documents(np.fromfile(where, dtype=np.uint8), where)


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


def shard_dtype(shard: Mapping[str, Any], where: Path) -> np.dtype[Any]:
    """The type of a shard's tokens; uint16 where the manifest is older than the choice. Raises DataError."""
    name = shard.get("dtype", "uint16")
    if name not in ("uint16", "uint32"):
        raise DataError(f"dtype {name!r} of a shard is neither uint16 nor uint32{REMEDY}", where=where)
    return np.dtype("<u2" if name == "uint16" else "<u4")


def open_shard(corpus: Path, shard: Mapping[str, Any], *, verify: bool = True) -> np.ndarray:
    """A shard's tokens as a read-only memory map (uint16 or uint32).

    Raises DataError when the file is missing, has another length than the manifest says or (``verify``)
    another sha256.
    """
    path = corpus / shard["file"]
    dtype = shard_dtype(shard, path)
    if not path.is_file():
        raise DataError(f"shard missing{REMEDY}", where=path)
    expected = shard["tokens"] * dtype.itemsize
    if path.stat().st_size != expected:
        raise DataError(f"shard damaged: {path.stat().st_size} bytes, not {expected}{REMEDY}", where=path)
    if verify and sha256_file(path) != shard["sha256"]:
        raise DataError(f"shard damaged: its sha256 is not the manifest's{REMEDY}", where=path)
    return np.memmap(path, dtype=dtype, mode="r")


def open_documents(corpus: Path, shard: Mapping[str, Any]) -> Documents:
    """The documents of a shard. Raises DataError when there is no list of them, or not the one the manifest means."""
    path = corpus / shard["file"]
    if not shard.get("docs_sha256"):
        raise DataError(f"this corpus was built before shards had lists of documents{REMEDY}", where=corpus)
    where = docs_path(path)
    if where.is_file() and sha256_file(where) != shard["docs_sha256"]:
        raise DataError(f"damaged list of documents: its sha256 is not the manifest's{REMEDY}", where=where)
    documents = read_documents(path)
    if documents.total != shard["tokens"]:
        raise DataError(f"lists {documents.total} tokens, the manifest {shard['tokens']}{REMEDY}", where=where)
    return documents


def origin(corpus: Path, file: str, token: int) -> Origin:
    """The document that token number ``token`` (from 0) of a shard belongs to; ``file`` as the manifest names it.

    Raises ConfigError for a file or token that the corpus does not have, DataError for a damaged one.
    """
    shards = {shard["file"]: shard for shard in read_manifest(corpus)["shards"]}
    if file not in shards:
        raise ConfigError(f"{corpus} has no shard {file}{nearest(file, shards)}")
    shard = shards[file]
    if not 0 <= token < shard["tokens"]:
        raise ConfigError(f"{file} has the tokens 0 to {shard['tokens'] - 1}, not {token}")
    documents = open_documents(corpus, shard)
    row = documents.row(int(np.searchsorted(documents.ends, token, side="right")))
    return Origin(
        source=shard["source"], split=shard["split"], file=file, token=token, offset=token - row["start"], **row
    )  # fmt: skip


def locate(corpus: Path, file: str, token: int) -> tuple[str, int]:
    """The id of the document that a token of a shard belongs to, and the token's place in it. Raises as ``origin``."""
    found = origin(corpus, file, token)
    return found.id, found.offset


def document_tokens(corpus: Path, found: Origin) -> np.ndarray:
    """The tokens of the whole document, end mark included (the file's type)."""
    shard = next(shard for shard in read_manifest(corpus)["shards"] if shard["file"] == found.file)
    return open_shard(corpus, shard, verify=False)[found.start : found.start + found.tokens]


def documents_of(corpus: Path, shard: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Every document of a shard in order: its id, its tokens with the end mark."""
    tokens, documents = open_shard(corpus, shard), open_documents(corpus, shard)
    for number in range(len(documents)):
        yield documents.row(number)["id"], tokens[documents.starts[number] : documents.ends[number]]

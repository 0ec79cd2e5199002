"""Documents of one part → files of tokens, one for each split, with lists of their documents.

A pure function of documents, tokeniser and split, but for its files, which appear complete or not at all: any process
may do a part, and do it twice. Memory is that of a batch of texts, whatever the part's size.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from llemma.corpus.shards import docs_line, docs_path, dtype_of
from llemma.errors import ConfigError, DataError
from llemma.records import Document
from llemma.run import atomic_file

BATCH = 512  # documents given to the library in one call, unless they are long
BATCH_BYTES = 4_000_000
SPLITS = ("train", "valid", "test")


class Encoder(Protocol):
    """What is used of a tokeniser."""

    end_id: int | None

    @property
    def vocab_size(self) -> int:
        """The largest id and one."""

    def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
        """The ids of many texts."""


def split_of(text: str, valid_share: float, test_share: float = 0.0) -> str:
    """``train``, ``valid`` or ``test``, by the text's hash alone: whatever lies around it, and in every source.

    A larger share keeps the documents of a smaller one: ``valid`` grows from one end of the hashes, ``test`` from the
    other.
    """
    place = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    if place < valid_share * 2**64:
        return "valid"
    return "test" if place >= 2**64 - test_share * 2**64 else "train"


def tokenise_part(
    documents: Iterable[Document], tokenizer: Encoder, prefix: Path, split_of: Callable[[str], str]
) -> dict[str, Any]:
    """Write the tokens of ``documents`` as ``PREFIX.SPLIT.bin`` and ``PREFIX.SPLIT.docs.jsonl``; the row that says so.

    Half surrogate pairs, which UTF-8 cannot store, become ``?``. A split without documents has no files. Raises
    ConfigError for a tokeniser that cannot end documents, DataError for a text that would become an end mark.
    """
    end = _end_mark(tokenizer)
    dtype = dtype_of(tokenizer.vocab_size)
    counts: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        pieces: dict[str, _Piece] = {}
        for batch in _batches(documents):
            texts = [text for _, text, _ in batch]
            for (name, text, size), ids in zip(batch, tokenizer.encode_batch(texts), strict=True):
                split = split_of(text)
                if split not in pieces:
                    pieces[split] = stack.enter_context(_piece(prefix, split, dtype, end))
                pieces[split].add(name, ids)
                counts.update(documents=1, bytes=size)
            for piece in pieces.values():
                piece.flush()
    ordered = sorted(pieces, key=lambda split: (SPLITS.index(split) if split in SPLITS else len(SPLITS), split))
    return {
        "documents": counts["documents"],
        "bytes": counts["bytes"],
        "tokens": {split: pieces[split].tokens for split in ordered},
        "files": [pieces[split].row(split) for split in ordered],
    }


def _end_mark(tokenizer: Encoder) -> int:
    if tokenizer.end_id is None:
        raise ConfigError("the tokeniser has no end mark such as <|endoftext|> or </s> to put between documents")
    return tokenizer.end_id


def _batches(documents: Iterable[Document]) -> Iterator[list[tuple[str, str, int]]]:
    """Id, text and its bytes in UTF-8, some hundred documents or some megabytes at a time."""
    batch: list[tuple[str, str, int]] = []
    total = 0
    for document in documents:
        data = document.text.encode("utf-8", "replace")
        batch.append((document.id, data.decode(), len(data)))
        total += len(data)
        if len(batch) == BATCH or total >= BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


@dataclass(slots=True, kw_only=True)
class _Piece:
    """The two files of one split while they are written."""

    part: str
    file: IO[bytes]
    docs: IO[bytes]
    dtype: np.dtype[Any]
    end: int
    tokens: int = 0
    documents: int = 0
    waiting: list[np.ndarray] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    hash: Any = field(default_factory=hashlib.sha256)
    docs_hash: Any = field(default_factory=hashlib.sha256)

    def add(self, name: str, ids: np.ndarray) -> None:
        self.waiting += (ids, np.array([self.end]))
        self.names.append(name)
        self.lines.append(docs_line(self.tokens, len(ids) + 1, name, self.part))
        self.tokens += len(ids) + 1
        self.documents += 1

    def flush(self) -> None:
        """Check what is waiting and write it."""
        if not self.waiting:
            return
        ids = np.concatenate(self.waiting)
        if np.count_nonzero(ids == self.end) != len(self.names) or int(ids.max()) > np.iinfo(self.dtype).max:
            self._refuse()
        for file, total, data in (
            (self.file, self.hash, ids.astype(self.dtype).tobytes()),
            (self.docs, self.docs_hash, b"".join(self.lines)),
        ):
            file.write(data)
            total.update(data)
        self.waiting, self.lines, self.names = [], [], []

    def _refuse(self) -> None:
        for name, ids in zip(self.names, self.waiting[::2], strict=True):
            if (ids == self.end).any():
                raise DataError(
                    f"document {name!r}: its text becomes the end mark (id {self.end}), which is to stand between "
                    "documents only; use a tokeniser in which the end mark is a special token"
                )
        raise DataError(f"a token id does not fit into {self.dtype}; the tokeniser's vocab_size is wrong")

    def row(self, split: str) -> dict[str, Any]:
        """What is to be known of the two files."""
        name = f"{self.part}.{split}.bin"
        return {
            "split": split,
            "file": name,
            "docs": docs_path(Path(name)).name,
            "documents": self.documents,
            "tokens": self.tokens,
            "dtype": self.dtype.name,
            "sha256": self.hash.hexdigest(),
            "docs_sha256": self.docs_hash.hexdigest(),
        }


@contextlib.contextmanager
def _piece(prefix: Path, split: str, dtype: np.dtype[Any], end: int) -> Iterator[_Piece]:
    """The files take their places together at the end: first the tokens are there, then nothing is missing of them."""
    path = prefix.with_name(f"{prefix.name}.{split}.bin")
    with atomic_file(path) as file, atomic_file(docs_path(path)) as docs:  # left in reverse: the list is there first
        yield _Piece(part=prefix.name, file=file, docs=docs, dtype=dtype, end=end)

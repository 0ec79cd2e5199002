"""The stages behind the first: duplicates are grouped, documents become tokens, tokens become shards.

Grouping looks at all parts at once and is one unit; tokenising is one unit a part; packing one unit for each source and
split. Each reads what the stage before wrote, and checks that it is what was written.
"""

from __future__ import annotations

import functools
import hashlib
import json
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from llemma import plugins
from llemma.corpus import pack, tokenise
from llemma.corpus.dedup import DedupConfig, group
from llemma.corpus.prepare import (
    DROP_SAMPLES,
    SAMPLED_PARTS,
    drop_sample,
    duplicates_of,
    part_file,
    read_part,
    signatures_of,
    writable,
)
from llemma.corpus.shards import docs_path
from llemma.corpus.units import Row, facts, verify
from llemma.records import Document, Progress, silent, to_row
from llemma.run import atomic_write, read_json, sha256_file

SAMPLES = 3  # example documents of each source kept in the manifest for the report
LARGEST = 20  # clusters of duplicates that are shown
SHOWN = 4  # documents of each of them
ORDER = "order.json"  # the parts in the order in which their documents are numbered

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What the first stage wrote of one part: its documents, how many, and its files' facts by name in the run."""

    source: str
    number: int
    out: Path
    documents: int
    first: int
    files: Facts

    def fact(self, path: Path, run: Path) -> Facts:
        """Size and sha256 of one of the files."""
        found: Facts = self.files[path.relative_to(run).as_posix()]
        return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """All parts at once: which documents are copies, of which document. ``reads`` is in the order of priority."""

    run: Path
    reads: tuple[Read, ...]
    dedup: DedupConfig
    stage: str = "group"

    @property
    def id(self) -> str:
        return "group"

    @property
    def where(self) -> str:
        return f"duplicates of {len(self.reads)} parts"

    @property
    def input(self) -> str:
        return _digest([[dict(read.files), read.first] for read in self.reads])

    def do(self, progress: Progress = silent) -> Row:
        """Write for every document the number of the one that survives in its place; the row counts them."""
        paths = [signatures_of(read.out) for read in self.reads]
        for read, path in zip(self.reads, paths, strict=True):
            verify(path, read.fact(path, self.run))
        scratch = self.run / "scratch"
        scratch.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=scratch) as folder:
            found = group(paths, self.dedup, scratch=Path(folder), progress=progress, texts=self._texts)
        order = self.run / "parts" / ORDER
        atomic_write(order, json.dumps([[read.source, read.number, read.first] for read in self.reads]))
        written = [*(duplicates_of(read.out) for read in self.reads), order]
        return {
            "documents": sum(read.documents for read in self.reads),
            "bytes": sum(path.stat().st_size for path in paths),
            "exact": found.exact,
            "near": found.near,
            "sizes": {str(size): n for size, n in sorted(found.sizes.items())},
            "largest": self._shown(found.largest[:LARGEST]),
            "files": facts(written, self.run),
        }

    def _texts(self, numbers: np.ndarray) -> Iterator[str]:
        """The texts of documents, read again where their likeness is in doubt."""
        return (document.text for _, document in self._documents(numbers.tolist()))

    def _shown(self, clusters: Sequence[Sequence[int]]) -> list[Row]:
        """The largest clusters with the ids of a few of their documents and the survivor's beginning."""
        documents = dict(self._documents(sorted({n for members in clusters for n in members[:SHOWN]})))
        shown = []
        for members in clusters:
            first = documents[members[0]]
            names = [f"{documents[n].source}: {writable(documents[n].id)}" for n in members[:SHOWN]]
            shown.append({"size": len(members), "documents": names, "text": drop_sample(first)["text"]})
        return shown

    def _documents(self, numbers: Sequence[int]) -> Iterator[tuple[int, Document]]:
        """The documents with these numbers, which ascend; only parts that have some are read, and checked before."""
        for read in self.reads:
            first, last = (bisect_left(numbers, n) for n in (read.first, read.first + read.documents))
            if first < last:
                wanted = set(numbers[first:last])
                verify(read.out, read.fact(read.out, self.run))
                for number, document in enumerate(read_part(read.out, read.source), read.first):
                    if number in wanted:
                        yield number, document


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenise:
    """The documents of one part that are no copies, as tokens by split."""

    run: Path
    read: Read
    duplicates: Facts | None
    order: str
    valid_share: float
    test_share: float
    tokenizer: str
    stage: str = "tokenise"

    @property
    def id(self) -> str:
        return f"tokenise:{self.read.source}:{self.read.number:05d}"

    @property
    def where(self) -> str:
        return f"source {self.read.source}, tokens of part {self.read.number + 1}"

    @property
    def input(self) -> str:
        duplicates = self.duplicates and dict(self.duplicates)
        return _digest([dict(self.read.files), duplicates, self.tokenizer, self.valid_share, self.test_share])

    def do(self, progress: Progress = silent) -> Row:
        """Write the tokens of each split; the row counts documents, bytes, tokens and the copies left out."""
        verify(self.read.out, self.read.fact(self.read.out, self.run))
        copies = _Copies(self)
        prefix = self.run / "tokens" / self.read.out.stem
        made = tokenise.tokenise_part(copies.left(), _tokenizer(self.run, self.tokenizer), prefix, self._split)
        files = {}
        for file in made["files"]:
            for name, sha256 in ((file["file"], file["sha256"]), (file["docs"], file["docs_sha256"])):
                path = prefix.parent / name
                files[path.relative_to(self.run).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256}
        return {
            "source": self.read.source,
            "documents": made["documents"],
            "bytes": made["bytes"],
            "tokens": sum(made["tokens"].values()),
            "splits": {
                "documents": {file["split"]: file["documents"] for file in made["files"]},
                "tokens": dict(made["tokens"]),
            },
            "dropped": dict(copies.dropped),
            "drop_samples": copies.samples,
            "samples": copies.examples,
            "files": files,
        }

    def _split(self, text: str) -> str:
        return tokenise.split_of(text, self.valid_share, self.test_share)


class _Copies:
    """Leaves out the documents of a part that are copies of others, and counts them by kind."""

    def __init__(self, unit: Tokenise) -> None:
        self._unit = unit
        self._hashes = functools.cache(self._load)
        self.dropped: Counter[str] = Counter()
        self.samples: dict[str, list[dict[str, str]]] = {}
        self.examples: list[dict[str, str]] = []

    def left(self) -> Iterator[Document]:
        """The documents that are kept, as text that UTF-8 can store."""
        unit, read = self._unit, self._unit.read
        survivors = None
        if unit.duplicates is not None:
            survivors = np.load(verify(duplicates_of(read.out), unit.duplicates)).tolist()
        for place, document in enumerate(read_part(read.out, read.source)):
            number = read.first + place
            if survivors is not None and survivors[place] != number:
                self._drop(document, number, survivors[place])
                continue
            kept = Document(
                id=writable(document.id), text=writable(document.text), source=read.source, meta=document.meta
            )
            if len(self.examples) < SAMPLES and read.number < SAMPLED_PARTS:
                self.examples.append({"id": kept.id, "text": kept.text[:2000]})
            yield kept

    def _drop(self, document: Document, number: int, survivor: int) -> None:
        reason = "exact duplicate" if self._hash(number) == self._hash(survivor) else "near duplicate"
        self.dropped[reason] += 1
        shown = self.samples.setdefault(reason, [])
        if len(shown) < DROP_SAMPLES and self._unit.read.number < SAMPLED_PARTS:
            source, part, first = self._of(survivor)
            place = f"of document {survivor - first + 1} in part {part + 1} of {source}"
            shown.append(drop_sample(document, place))

    def _of(self, number: int) -> tuple[str, int, int]:
        """Source, part, and the number of the part's first document, of a document."""
        starts, order = _order(self._unit.run, self._unit.order)
        source, part, first = order[bisect_right(starts, number) - 1]
        return source, part, first

    def _load(self, path: Path) -> np.ndarray:
        array: np.ndarray = np.load(path, mmap_mode="r")
        return array

    def _hash(self, number: int) -> bytes:
        source, part, first = self._of(number)
        array = self._hashes(signatures_of(part_file(self._unit.run, source, part)))
        return bytes(array[number - first, :2].tobytes())


@functools.lru_cache(maxsize=1)
def _order(run: Path, sha256: str) -> tuple[list[int], list[tuple[str, int, int]]]:
    """The first document of each part, and the parts, as the grouping numbered them; read once a process."""
    order = [(source, part, first) for source, part, first in read_json(run / "parts" / ORDER)]
    return [first for _, _, first in order], order


@functools.lru_cache(maxsize=1)
def _tokenizer(run: Path, sha256: str) -> Any:
    """The run's tokeniser, once a process."""
    return plugins.import_module("llemma.tokens.tokenizer").load_tokenizer(run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """The tokens of one source and split, part after part, as shards."""

    run: Path
    source: str
    split: str
    pieces: tuple[tuple[Path, Facts], ...]
    limit: int
    dtype: str
    stage: str = "pack"

    @property
    def id(self) -> str:
        return f"pack:{self.source}:{self.split}"

    @property
    def where(self) -> str:
        return f"source {self.source}, shards of {self.split}"

    @property
    def input(self) -> str:
        return _digest([self.limit, self.dtype, [[path.name, dict(fact)] for path, fact in self.pieces]])

    def do(self, progress: Progress = silent) -> Row:
        """Write the shards; the row lists them."""
        for path, fact in self.pieces:
            verify(path, fact)
        tokens = [path for path, _ in self.pieces if path.name.endswith(".bin")]
        dtype = np.dtype(self.dtype)
        shards = pack.pack(self.run / "shards", self.source, self.split, tokens, self.limit, dtype)
        files: dict[str, Any] = {}
        for shard in shards:
            path = self.run / shard.file
            for name, sha256 in ((path, shard.sha256), (docs_path(path), shard.docs_sha256)):
                files[name.relative_to(self.run).as_posix()] = {"bytes": name.stat().st_size, "sha256": sha256}
        return {
            "source": self.source,
            "bytes": sum(shard.tokens for shard in shards) * dtype.itemsize,
            "shards": [to_row(shard) for shard in shards],
            "files": files,
        }


def tokenizer_hash(run: Path) -> str:
    """What tells one tokeniser from another."""
    return sha256_file(plugins.import_module("llemma.tokens.tokenizer").tokenizer_file(run))

"""Builds a corpus folder from a recipe: documents → filters → tokeniser → token shards with a manifest.

A stage is a function from one document to a reason for dropping it (or ``None``). The unit of work is a
source: a finished source has a row in ``rows.jsonl`` and is never done again; a killed build starts the
unfinished one over. Sources are mixed at training time by the weights in the manifest, not here.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llemma import plugins
from llemma.config import build, setting, to_table
from llemma.corpus import code_filter
from llemma.corpus.shards import Shard, ShardWriter, read_manifest
from llemma.errors import ConfigError, DataError
from llemma.records import Document, Event, Progress, silent, to_row
from llemma.run import Run, open_run, sha256_file

BATCH = 512  # documents tokenised in one call of the library
SAMPLES = 3  # example documents of each source kept in the manifest for the report


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """One source of a recipe."""

    kind: str = setting("", "plug-in that yields the documents (default: the entry's own name)")
    weight: float = setting(1.0, "share of the training mixture, relative to the other sources")
    rule: str = setting("", "language of the code rule that filters the files (empty: none)")
    options: Mapping[str, Any] = setting(factory=dict, help="settings of the plug-in")

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight={self.weight} of a source must be a number of at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerEntry:
    """Where the tokeniser comes from."""

    path: str = setting("", "folder or tokenizer.json to use (empty: train one on this corpus)")
    vocab_size: int = setting(2048, "entries when one is trained")
    sample_bytes: int = setting(4_000_000, "bytes of text from each source it is trained on")

    def __post_init__(self) -> None:
        if not 300 <= self.vocab_size <= 65_536:  # 256 bytes, the end mark, some merges; ids of 16 bits in the shards
            raise ValueError(f"tokenizer.vocab_size={self.vocab_size} must lie in 300..65536")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """A corpus recipe: sources with weights, a tokeniser, sizes."""

    sources: Mapping[str, SourceEntry] = field(metadata={"help": "one table for each source"})
    tokenizer: TokenizerEntry = setting(factory=TokenizerEntry, help="the tokeniser")
    valid_share: float = setting(0.02, "share of documents held out for validation, by hash of their text")
    shard_tokens: int = setting(50_000_000, "tokens per shard file")
    min_bytes: int = setting(20, "drop shorter documents")
    run: Path = setting(Path("runs/corpus"), "folder the corpus is written to")

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("a recipe needs at least one source: [sources.NAME]")
        if sum(entry.weight for entry in self.sources.values()) <= 0:
            raise ValueError("the weights of the sources must sum to something positive")
        for name in self.sources:
            if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
                raise ValueError(f"sources.{name!r}: a source's name is part of file names; use letters, digits, -, _")
        if self.shard_tokens < 1:
            raise ValueError(f"shard_tokens={self.shard_tokens} must be at least 1")
        if not 0 <= self.valid_share < 1:
            raise ValueError(f"valid_share={self.valid_share} must lie in 0..1")


Reader = Callable[[], Iterator[Document]]


def build_corpus(config: CorpusConfig, progress: Progress = silent) -> Mapping[str, Any]:
    """Build (or finish) the corpus folder ``config.run``; returns its manifest.

    Raises ConfigError for a bad recipe before anything is written, DataError for unreadable input.
    """
    readers = {name: _reader(name, entry) for name, entry in config.sources.items()}
    rules = {name: code_filter.rule(e.rule) if e.rule else None for name, e in config.sources.items()}
    given = _load(config.tokenizer.path) if config.tokenizer.path else None
    started = time.perf_counter()
    with open_run(config.run, "corpus", to_table(config), free=("run",)) as run:
        if (run.folder / "manifest.json").exists():
            return read_manifest(run.folder)
        for part in run.folder.rglob(".*.part"):
            part.unlink()  # a killed process left it; this one holds the lock
        tokenizer = _tokenizer(config, given, readers, run, progress)
        (run.folder / "shards").mkdir(exist_ok=True)
        for name, read in readers.items():
            if f"source:{name}" not in run.ids:
                rule = rules[name]
                stages = (_short(config.min_bytes), *([_coded(rule)] if rule else []), _duplicate())
                run.append([_one_source(config, run, name, kept(read(), stages), tokenizer, progress)])
        manifest = _manifest(config, run, tokenizer.vocab_size, time.perf_counter() - started)
        run.write_json("manifest.json", manifest)
    return manifest


def kept(
    documents: Iterable[Document], stages: Iterable[Callable[[Document], str | None]]
) -> Iterator[tuple[Document, str | None]]:
    """Each document with the first stage's reason to drop it, or None when every stage keeps it."""
    chain = tuple(stages)
    for document in documents:
        yield document, next((reason for stage in chain if (reason := stage(document))), None)


def _reader(name: str, entry: SourceEntry) -> Reader:
    module = plugins.load("sources", entry.kind or name)
    if not (hasattr(module, "Options") and hasattr(module, "documents")):
        raise ConfigError(f"{entry.kind or name} is not a source: it needs a dataclass Options and documents(options)")
    options = build(module.Options, entry.options, where=f"sources.{name}: ", prefix="options.")
    return lambda: iter(module.documents(options))


def _short(min_bytes: int) -> Callable[[Document], str | None]:
    return lambda document: "too short" if len(document.text.encode("utf-8", "surrogatepass")) < min_bytes else None


def _coded(rule: code_filter.CodeRule) -> Callable[[Document], str | None]:
    return lambda document: code_filter.refusal(rule, document.text)


def _duplicate() -> Callable[[Document], str | None]:
    """Exact duplicates within the source: the first of equal texts (outer space apart) is kept."""
    seen: set[bytes] = set()

    def stage(document: Document) -> str | None:
        name = hashlib.blake2b(document.text.strip().encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if name in seen:
            return "exact duplicate"
        seen.add(name)
        return None

    return stage


def _load(path: str) -> Any:
    """The tokeniser that the recipe names. Raises DataError, ConfigError when it has no end mark."""
    tokenizer = plugins.import_module("llemma.tokens.tokenizer").load_tokenizer(Path(path))
    if tokenizer.end_id is None:
        raise ConfigError(f"{path}: the tokeniser has neither <|endoftext|> nor </s> to end documents")
    return tokenizer


def _tokenizer(config: CorpusConfig, given: Any, readers: Mapping[str, Reader], run: Run, progress: Progress) -> Any:
    if (run.folder / "tokenizer.json").exists():  # the one that the finished sources were tokenised with
        return _load(str(run.folder))
    tokenizer = given
    if tokenizer is None:
        tokens = plugins.import_module("llemma.tokens.tokenizer")
        progress(Event(stage="tokeniser", note="training byte-level BPE, one token per digit"))
        texts = (t for name in sorted(readers) for t in _sample(readers[name](), config.tokenizer.sample_bytes))
        tokenizer = tokens.train_tokenizer(texts, config.tokenizer.vocab_size)
    tokenizer.save(run.folder)
    return tokenizer


def _sample(documents: Iterator[Document], limit: int) -> Iterator[str]:
    total = 0
    for document in documents:
        text = _writable(document.text)[: max(0, limit - total)]
        total += len(text.encode())
        yield text
        if total >= limit:
            return


def _one_source(
    config: CorpusConfig,
    run: Run,
    name: str,
    judged: Iterator[tuple[Document, str | None]],
    tokenizer: Any,
    progress: Progress,
) -> dict[str, Any]:
    """Tokenise one source into its shards; the row that says so."""
    counts: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    samples: list[dict[str, str]] = []
    folder, limit = run.folder / "shards", config.shard_tokens
    with ShardWriter(folder, name, "train", limit) as train, ShardWriter(folder, name, "valid", limit) as valid:
        while chunk := list(itertools.islice(judged, BATCH)):
            dropped.update(reason for _, reason in chunk if reason)
            documents = [document for document, reason in chunk if not reason]
            texts = [_writable(d.text) for d in documents]
            for document, text, ids in zip(documents, texts, tokenizer.encode_batch(texts), strict=True):
                held_out = _held_out(text, config.valid_share)
                (valid if held_out else train).add(np.append(ids, tokenizer.end_id))
                counts.update(documents=1, bytes=len(text.encode()), tokens=len(ids) + 1)
                if len(samples) < SAMPLES:
                    samples.append({"id": _writable(document.id), "text": text[:2000]})
            figures = {"tokens": counts["tokens"], "dropped": dropped.total()}
            total = counts["documents"] if len(chunk) < BATCH else None  # known with the last chunk
            stage = f"corpus: {name}"
            progress(Event(stage=stage, done=counts["documents"], total=total, unit="documents", figures=figures))
    if not counts["documents"]:
        reasons = ", ".join(f"{n} × {reason}" for reason, n in dropped.items()) or "the source yields none"
        raise DataError(f"source {name}: no document left ({reasons}); check its options")
    return {
        "id": f"source:{name}",
        "name": name,
        **counts,
        "dropped": dict(dropped.most_common()),
        "shards": [to_row(shard) for shard in (*train.shards, *valid.shards)],
        "samples": samples,
    }


def _writable(text: str) -> str:
    """The text with ``?`` for half surrogate pairs, which UTF-8 cannot store."""
    return text.encode("utf-8", "replace").decode()


def _held_out(text: str, share: float) -> bool:
    """Whether a document belongs to the validation split, decided by its text alone."""
    place = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
    return place < share * 2**64


def _manifest(config: CorpusConfig, run: Run, vocab_size: int, seconds: float) -> dict[str, Any]:
    rows = {row["name"]: row for row in run.rows()}
    sources = {
        name: {
            "documents": rows[name]["documents"],
            "bytes": rows[name]["bytes"],
            "tokens": rows[name]["tokens"],
            "weight": entry.weight,
            "dropped": rows[name]["dropped"],
        }
        for name, entry in config.sources.items()
    }
    shards: list[Shard] = [shard for name in config.sources for shard in rows[name]["shards"]]
    return {
        "documents": sum(s["documents"] for s in sources.values()),
        "bytes": sum(s["bytes"] for s in sources.values()),
        "tokens": sum(s["tokens"] for s in sources.values()),
        "sources": sources,
        "shards": shards,
        "tokenizer": {"sha256": sha256_file(run.folder / "tokenizer.json"), "vocab_size": vocab_size},
        "samples": {name: rows[name]["samples"] for name in config.sources},
        "seconds": round(seconds, 1),
    }

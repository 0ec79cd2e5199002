"""Recipes of corpora: the settings of ``llemma corpus``, and what of them can be wrong before any work is done."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llemma.config import setting
from llemma.corpus.dedup import DedupConfig
from llemma.corpus.mix import shares
from llemma.corpus.overlap import OverlapConfig
from llemma.corpus.quality import QualityEntry

# Settings that may differ when a build goes on: they do not change what is built.
FREE = ("run", "workers", "engine", "address", "dry_run")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """One source of a recipe."""

    kind: str = setting("", "plug-in that yields the documents (default: the entry's own name)")
    weight: float = setting(1.0, "share of the training mixture, relative to the other sources")
    share: float | None = setting(None, "fixed share of the whole mixture, 0..1, instead of a weight")
    rule: str = setting("", "language of the code rule that filters the files; any: by their endings (empty: none)")
    rules: Literal["llemma", "fixed"] = setting("llemma", "code rules: the paper's, or its faults mended")
    test_theorems: tuple[str, ...] = setting((), "lists of theorems to cut out of Lean and Isabelle: files, or minif2f")
    near: bool = setting(True, "look for near duplicates too, where [dedup] does (false: equal texts only)")
    optional: bool = setting(False, "leave the source out, with a note, when its input is not on this machine")
    quality: QualityEntry = setting(factory=QualityEntry, help="rules of quality for the documents")
    options: Mapping[str, Any] = setting(factory=dict, help="settings of the plug-in")

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight={self.weight} of a source must be a number of at least 0")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(f"share={self.share} of a source must lie in 0..1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerEntry:
    """Where the tokeniser comes from."""

    path: str = setting("", "folder or tokenizer.json to use (empty: train one on this corpus)")
    vocab_size: int = setting(2048, "entries when one is trained")
    sample_bytes: int = setting(4_000_000, "bytes of text from each source it is trained on")

    def __post_init__(self) -> None:
        if not 300 <= self.vocab_size <= 65_536:  # 256 bytes, the end mark, some merges; more is of no use to the texts
            raise ValueError(f"tokenizer.vocab_size={self.vocab_size} must lie in 300..65536")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """A corpus recipe: sources with weights, duplicates, held-out problems, a tokeniser, sizes, the engine."""

    sources: Mapping[str, SourceEntry] = field(metadata={"help": "one table for each source"})
    tokenizer: TokenizerEntry = setting(factory=TokenizerEntry, help="the tokeniser")
    dedup: DedupConfig = setting(
        factory=lambda: DedupConfig(near=False), help="duplicates (no table: equal texts only)"
    )
    decontaminate: OverlapConfig = setting(
        factory=OverlapConfig,
        help="what is held out (tasks: default all benchmarks whose data are here; none: nothing)",
    )
    valid_share: float = setting(0.02, "share of documents held out for validation, by hash of their text")
    test_share: float = setting(0.0, "share of documents held out for tests, by hash of their text")
    train_tokens: int = setting(
        0, "tokens that a model is to be trained on: the epochs of each source are shown for it"
    )
    shard_tokens: int = setting(50_000_000, "tokens per shard file")
    min_bytes: int = setting(20, "drop shorter documents")
    engine: Literal["local", "ray"] = setting("local", "processes of this machine, or the machines of a Ray cluster")
    address: str = setting("", "address of the Ray cluster (empty: the one this process is in, else a new one here)")
    workers: int = setting(0, "processes that work (0: one per core, of the cluster with engine=ray)")
    keep_text: bool = setting(False, "keep the texts of the kept documents in the folder parts/")
    dry_run: bool = setting(False, "show what would be done, write nothing")
    trace: str = setting("", "FILE:TOKEN: show the document behind a token of the finished corpus, do nothing else")
    run: Path = setting(Path("runs/corpus"), "folder the corpus is written to")

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("a recipe needs at least one source: [sources.NAME]")
        shares(self.weights, self.fixed)
        for name in self.sources:
            if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
                raise ValueError(f"sources.{name!r}: a source's name is part of file names; use letters, digits, -, _")
        if self.dedup.paragraphs:
            raise ValueError("dedup.paragraphs is for files: take them out with `llemma dedup` first, then build")
        for name in self.dedup.priority:
            if name not in self.sources:
                raise ValueError(f"dedup.priority: no source {name!r} in this recipe")
        for key, least in (("shard_tokens", 1), ("workers", 0), ("train_tokens", 0), ("min_bytes", 0)):
            if getattr(self, key) < least:
                raise ValueError(f"{key}={getattr(self, key)} must be at least {least}")
        for key in ("valid_share", "test_share"):
            if not 0 <= getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)} must lie in 0..1")
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share and test_share leave no document to train on")

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each source."""
        return {name: entry.weight for name, entry in self.sources.items()}

    @property
    def fixed(self) -> dict[str, float]:
        """The shares of the sources that have one."""
        return {name: entry.share for name, entry in self.sources.items() if entry.share is not None}

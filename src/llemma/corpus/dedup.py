"""Duplicates among documents: settings, signatures, grouping; and paragraphs that were seen before.

``signatures`` is done for each part of the input alone, ``group`` once over all of them; ``clusters`` says what stays.
Nothing here reads or writes documents: that is the work of who calls (``llemma dedup``, a corpus build).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from llemma.config import setting
from llemma.corpus import clusters, minhash
from llemma.corpus.clusters import Grouped, Linkage, Rules, Texts
from llemma.corpus.folding import Digits
from llemma.corpus.minhash import Plan
from llemma.records import Progress, silent

# Bands × rows over shingles of so many words. default: datatrove's (s* = 0.72); megamath: MegaMath's (s* = 0.79).
PROFILES = {"default": (14, 8, 5), "megamath": (11, 10, 5)}
_PARAGRAPH_END = re.compile(r"\n[ \t\r\f\v]*\n\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupConfig:
    """How duplicates are found: the table ``[dedup]`` of a recipe."""

    enabled: bool = setting(True, "look for duplicates at all")
    exact: bool = setting(True, "remove texts that are equal but for white space")
    near: bool = setting(True, "remove texts that are alike, by MinHash")
    profile: Literal["default", "megamath"] = setting("default", "14 bands of 8 rows, or 11 of 10; 5 words a shingle")
    bands: int = setting(0, "bands (0: the profile's)")
    rows: int = setting(0, "rows of a band (0: the profile's)")
    ngram: int = setting(0, "words of a shingle (0: the profile's)")
    similarity: float = setting(0.5, "remove nothing that is less like its survivor")
    linkage: Linkage = setting("direct", "remove what is like a document that stays, or whole chains of likeness")
    digits: Digits = setting("keep", "zero: numbers that differ in their digits are the same word")
    paragraphs: bool = setting(False, "take out paragraphs that were seen before, in any document")
    paragraph_bytes: int = setting(100, "shorter paragraphs always stay")
    priority: tuple[str, ...] = setting((), "sources that keep their copy, first to last; the others follow as given")
    memory: int = setting(1500, "megabytes that grouping may take")

    def __post_init__(self) -> None:
        for name, most in (("bands", 256), ("rows", 256), ("ngram", 256), ("paragraph_bytes", 1 << 20)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name}={getattr(self, name)} must lie in 0..{most}")
        if not 0 <= self.similarity <= 1:
            raise ValueError(f"similarity={self.similarity} must lie in 0..1")
        if self.memory < 64:
            raise ValueError(f"memory={self.memory}: grouping needs at least 64 megabytes")
        if self.enabled and not (self.exact or self.near or self.paragraphs):
            raise ValueError("exact, near and paragraphs are all off: nothing to do")


def plan(config: DedupConfig) -> Plan:
    """The signature that these settings ask for."""
    bands, rows, ngram = PROFILES[config.profile]
    if not config.near:
        return Plan(bands=0, rows=0, ngram=1, digits=config.digits)
    return Plan(
        bands=config.bands or bands, rows=config.rows or rows, ngram=config.ngram or ngram, digits=config.digits
    )  # fmt: skip


def signatures(texts: Sequence[str], config: DedupConfig) -> np.ndarray:
    """One row of uint64 a text: 128 bits of the exact hash, a key per band, the sketch (see ``minhash``)."""
    return minhash.sign(*minhash.pack(texts), plan(config))


def group(
    files: Sequence[Path],
    config: DedupConfig,
    *,
    scratch: Path,
    progress: Progress = silent,
    texts: Texts | None = None,
) -> Grouped:
    """Group the documents of signature files in order of priority; X.sig.npy gets X.dup.npy and X.sim.npy.

    A document's number is its place in the concatenation of the files; the lowest number of equals survives. X.dup.npy
    (int64) holds each document's survivor, its own number if it stays; X.sim.npy (float32) how alike they are.
    ``texts`` yields the texts of documents given by number, ascending: with it the similarity is computed where its
    estimate is in doubt, so that nothing below ``similarity`` is removed.
    """
    return clusters.group(files, rules(config), scratch=scratch, progress=progress, texts=texts)


def rules(config: DedupConfig) -> Rules:
    """The settings as grouping takes them."""
    return Rules(
        plan=plan(config),
        exact=config.exact,
        similarity=config.similarity,
        linkage=config.linkage,
        memory=config.memory * 1_000_000,
    )


def in_order(names: Sequence[str], priority: Sequence[str]) -> list[int]:
    """The places of ``names`` with those of ``priority`` first; the others follow in their order."""
    rank = {name: place for place, name in enumerate(priority)}
    return sorted(range(len(names)), key=lambda k: (rank.get(names[k], len(rank)), k))


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, each with the blank lines behind it; together they are the text."""
    ends = [match.end() for match in _PARAGRAPH_END.finditer(text)]
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True) if a < b]


def paragraph_signatures(texts: Sequence[str], config: DedupConfig) -> tuple[np.ndarray, np.ndarray]:
    """Exact hashes of all paragraphs (k, 2), 0 for those too short to count; and how many each text has (int64).

    Saved as X.sig.npy and grouped by ``group_paragraphs`` they say which paragraphs stay: the first of equal ones.
    """
    found = [paragraphs(text) for text in texts]
    flat = [paragraph for some in found for paragraph in some]
    rows = minhash.sign(*minhash.pack(flat), Plan(bands=0, rows=0, ngram=1))
    rows[[len(p.strip().encode("utf-8", "surrogatepass")) < config.paragraph_bytes for p in flat]] = 0
    return rows, np.array([len(some) for some in found], dtype=np.int64)


def group_paragraphs(
    files: Sequence[Path], config: DedupConfig, *, scratch: Path, progress: Progress = silent
) -> Grouped:
    """As ``group``, for the files that hold ``paragraph_signatures``."""
    exact = Rules(plan=Plan(bands=0, rows=0, ngram=1), memory=config.memory * 1_000_000)
    return clusters.group(files, exact, scratch=scratch, progress=progress)


def without(text: str, stays: Sequence[bool]) -> str:
    """The text without the paragraphs that do not stay."""
    return "".join(p for p, stay in zip(paragraphs(text), stays, strict=True) if stay)

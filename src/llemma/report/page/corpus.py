"""A corpus run as the page shows it: what came in, what was dropped and why, what a document looks like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llemma.report.page.read import Folder, finite, json_object, listed, table, whole, words
from llemma.report.units import one_line

MOST_SOURCES = 60
MOST_EXAMPLES = 3
LONGEST_EXAMPLE = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of a corpus; ``share`` is its part of all tokens (of all bytes without tokens).

    ``removed`` counts lines taken out of documents, ``rejected`` are dropped documents: reason, detail, id, text.
    """

    name: str
    documents: int
    bytes: int
    tokens: int
    share: float | None
    weight: float | None
    dropped: tuple[tuple[str, int], ...]
    removed: tuple[tuple[str, int], ...]
    examples: tuple[tuple[str, str], ...]
    rejected: tuple[tuple[str, str, str, str], ...]

    @property
    def lost(self) -> int:
        """Documents dropped for any reason."""
        return sum(n for _, n in self.dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A whole corpus."""

    name: str
    documents: int
    tokens: int
    bytes: int
    seconds: float | None
    shards: int
    vocabulary: int
    tokenizer: str
    sources: tuple[Source, ...]
    notes: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason for dropping, the most frequent first."""
        totals: dict[str, int] = {}
        for source in self.sources:
            for reason, n in source.dropped:
                totals[reason] = totals.get(reason, 0) + n
        return tuple(sorted(totals, key=lambda reason: (-totals[reason], reason)))


def read_corpus(folder: Folder) -> Corpus:
    """The corpus in ``folder``; missing parts are empty."""
    manifest, trouble = json_object(folder.path, "manifest.json")
    listing, samples = table(manifest.get("sources")), table(manifest.get("samples"))
    rejects = table(manifest.get("drop_samples"))
    names = list(listing)[:MOST_SOURCES]
    notes = [] if trouble is None else [trouble]
    if len(listing) > len(names):
        notes.append(f"{len(listing) - len(names)} more sources are not shown")
    unit = "tokens" if any(whole(table(s).get("tokens")) for s in listing.values()) else "bytes"
    total = sum(whole(table(s).get(unit)) for s in listing.values())
    tokenizer = table(manifest.get("tokenizer"))
    return Corpus(
        name=folder.name,
        documents=whole(manifest.get("documents")),
        tokens=whole(manifest.get("tokens")),
        bytes=whole(manifest.get("bytes")),
        seconds=finite(manifest.get("seconds")),
        shards=len(listed(manifest.get("shards"))),
        vocabulary=whole(tokenizer.get("vocab_size")),
        tokenizer=one_line(words(tokenizer.get("sha256")), 16),
        sources=tuple(
            _source(name, table(listing[name]), samples.get(name), rejects.get(name), unit, total) for name in names
        ),
        notes=tuple(notes),
    )


def _counts(value: object) -> list[tuple[str, int]]:
    return [(one_line(reason, 60), whole(n)) for reason, n in list(table(value).items())[:40]]


def _rejected(value: object) -> Iterator[tuple[str, str, str, str]]:
    for reason, samples in list(table(value).items())[:40]:
        for sample in map(table, listed(samples)[:MOST_EXAMPLES]):
            detail, name = one_line(words(sample.get("detail")), 100), one_line(words(sample.get("id")))
            yield one_line(reason, 60), detail, name, words(sample.get("text"))


def _source(name: str, row: object, samples: object, rejects: object, unit: str, total: int) -> Source:
    facts = table(row)
    dropped = _counts(facts.get("dropped"))
    examples = [table(sample) for sample in listed(samples)[:MOST_EXAMPLES]]
    return Source(
        name=one_line(name, 60),
        documents=whole(facts.get("documents")),
        bytes=whole(facts.get("bytes")),
        tokens=whole(facts.get("tokens")),
        share=whole(facts.get(unit)) / total if total else None,
        weight=finite(facts.get("weight")),
        dropped=tuple(sorted(dropped, key=lambda pair: (-pair[1], pair[0]))),
        removed=tuple(_counts(facts.get("removed"))),
        rejected=tuple(_rejected(rejects)),
        examples=tuple((one_line(words(e.get("id"))), words(e.get("text"))) for e in examples),
    )

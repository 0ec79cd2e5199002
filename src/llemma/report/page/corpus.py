"""A corpus run as the page shows it: what came in, what was dropped and why, what a document looks like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llemma.report.page.read import Folder, finite, json_object, listed, table, whole, words
from llemma.report.units import one_line

MOST_SOURCES = 60
MOST_EXAMPLES = 3
MOST_CLUSTERS = 20
LONGEST_EXAMPLE = 1_500
_OVERLAP = "overlap with "


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source of a corpus; ``share`` is its part of all tokens (of all bytes without tokens).

    ``came`` counts the documents that were read, ``splits`` those that stayed, by split; ``portion`` is the share of
    the training tokens that the mixture gives it, ``epochs`` how often that reads it.
    ``removed`` counts lines taken out of documents, ``rejected`` are dropped documents: reason, detail, id, text.
    """

    name: str
    documents: int
    bytes: int
    tokens: int
    share: float | None
    weight: float | None
    came: int
    splits: tuple[tuple[str, int], ...]
    portion: float | None
    budget: float | None
    epochs: float | None
    dropped: tuple[tuple[str, int], ...]
    removed: tuple[tuple[str, int], ...]
    examples: tuple[tuple[str, str], ...]
    rejected: tuple[tuple[str, str, str, str], ...]

    @property
    def lost(self) -> int:
        """Documents dropped for any reason."""
        return sum(n for _, n in self.dropped)

    @property
    def overlaps(self) -> tuple[tuple[str, int], ...]:
        """Documents dropped for what they share with a benchmark, by task."""
        return tuple((reason.removeprefix(_OVERLAP), n) for reason, n in self.dropped if reason.startswith(_OVERLAP))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of the build: ``seconds`` are those of all its processes together."""

    name: str
    units: int
    documents: int
    bytes: int
    seconds: float | None

    @property
    def speed(self) -> float | None:
        """Megabytes a second and process."""
        return self.bytes / 1e6 / self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Documents that are copies of each other: how many, the ids of some, the beginning of the one that stays."""

    size: int
    names: tuple[str, ...]
    text: str


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
    stages: tuple[Stage, ...] = ()
    exact: int = 0
    near: int = 0
    clusters: tuple[Cluster, ...] = ()
    held_out: tuple[str, ...] = ()
    items: int = 0
    budget: int = 0

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
    tokenizer, mixture = table(manifest.get("tokenizer")), table(manifest.get("mixture"))
    duplicates, held_out = table(manifest.get("duplicates")), table(manifest.get("held_out"))
    left_out = list(table(manifest.get("left_out")).items())[:MOST_SOURCES]
    notes += [f"source {one_line(name, 60)} was left out: {one_line(words(why), 200)}" for name, why in left_out]
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
            _source(name, table(listing[name]), samples.get(name), rejects.get(name), unit, total, mixture.get(name))
            for name in names
        ),
        notes=tuple(notes),
        stages=tuple(_stage(name, row) for name, row in list(table(manifest.get("stages")).items())[:10]),
        exact=whole(duplicates.get("exact")),
        near=whole(duplicates.get("near")),
        clusters=tuple(_cluster(table(each)) for each in listed(duplicates.get("largest"))[:MOST_CLUSTERS]),
        held_out=tuple(one_line(words(name), 60) for name in listed(held_out.get("tasks"))[:100]),
        items=whole(held_out.get("items")),
        budget=whole(manifest.get("train_tokens")),
    )


def _stage(name: str, row: object) -> Stage:
    facts = table(row)
    return Stage(
        name=one_line(name, 20),
        units=whole(facts.get("units")),
        documents=whole(facts.get("documents")),
        bytes=whole(facts.get("bytes")),
        seconds=finite(facts.get("seconds")),
    )


def _cluster(row: Mapping[str, Any]) -> Cluster:
    names = tuple(one_line(words(name), 100) for name in listed(row.get("documents"))[:8])
    return Cluster(size=whole(row.get("size")), names=names, text=words(row.get("text")))


def _counts(value: object) -> list[tuple[str, int]]:
    return [(one_line(reason, 60), whole(n)) for reason, n in list(table(value).items())[:40]]


def _rejected(value: object) -> Iterator[tuple[str, str, str, str]]:
    for reason, samples in list(table(value).items())[:40]:
        for sample in map(table, listed(samples)[:MOST_EXAMPLES]):
            detail, name = one_line(words(sample.get("detail")), 100), one_line(words(sample.get("id")))
            yield one_line(reason, 60), detail, name, words(sample.get("text"))


def _source(
    name: str, row: object, samples: object, rejects: object, unit: str, total: int, mixed: object
) -> Source:  # fmt: skip
    facts, portion = table(row), table(mixed)
    splits = table(table(facts.get("splits")).get("documents"))
    dropped = _counts(facts.get("dropped"))
    examples = [table(sample) for sample in listed(samples)[:MOST_EXAMPLES]]
    return Source(
        name=one_line(name, 60),
        documents=whole(facts.get("documents")),
        bytes=whole(facts.get("bytes")),
        tokens=whole(facts.get("tokens")),
        share=whole(facts.get(unit)) / total if total else None,
        weight=finite(facts.get("weight")),
        came=whole(table(facts.get("read")).get("documents")),
        splits=tuple((one_line(split, 10), whole(n)) for split, n in list(splits.items())[:5]),
        portion=finite(portion.get("share")),
        budget=finite(portion.get("budget")),
        epochs=finite(portion.get("epochs")),
        dropped=tuple(sorted(dropped, key=lambda pair: (-pair[1], pair[0]))),
        removed=tuple(_counts(facts.get("removed"))),
        rejected=tuple(_rejected(rejects)),
        examples=tuple((one_line(words(e.get("id"))), words(e.get("text"))) for e in examples),
    )

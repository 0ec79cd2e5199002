"""Figures of a run out of its rows: pure, so that a run can be counted again without a prover."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llemma.evaluate.stats import metric
from llemma.grade.vote import pass_at_k
from llemma.prove.config import ProveConfig
from llemma.prove.theorems import Source
from llemma.records import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What one search proved. ``theorems`` counts those with a verdict, ``errors`` those lost to infrastructure;
    ``beyond`` are the theorems it proved and the ladder did not, None without a ladder beside it."""

    search: str
    metrics: tuple[Metric, ...]
    theorems: int
    proved: int
    beyond: int | None
    errors: int
    expansions: int
    calls: int
    calls_median: float | None  # of a proved theorem
    tokens: int
    rejected: int
    crashes: int
    seconds: float
    reasons: Mapping[str, int]
    axioms: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProveResult:
    """The results search by search, and what they are results about.

    ``metrics`` are those of the first search, ``errors`` counts what was lost over all of them; ``theorems`` says of
    each theorem and search what became of it.
    """

    run: str | None
    task: str
    prover: str
    version: str
    model: str
    digest: str
    dataset: Mapping[str, Any]
    metrics: tuple[Metric, ...]
    errors: int
    searches: tuple[SearchResult, ...]
    cache: Mapping[str, float]
    theorems: tuple[Mapping[str, Any], ...]


TOLD = ("theorem", "search", "hash", "proved", "reason", "calls", "proof", "error")  # of a row, in the results


def figures(
    config: ProveConfig, source: Source, version: str, rows: Sequence[Mapping[str, Any]], cache: tuple[int, int] | None
) -> ProveResult:
    """The figures of these rows; ``cache`` is hits and misses."""
    found = {name: [row for row in rows if row["search"] == name] for name in config.searches}
    ladder = {row["theorem"] for row in found.get("ladder", ()) if row["proved"]} if "ladder" in found else None
    hits, misses = cache or (0, 0)
    searches = tuple(
        result_of(name, own, None if name == "ladder" else ladder, config.seed) for name, own in found.items()
    )
    return ProveResult(
        run=None if config.run is None else str(config.run),
        task=source.name,
        prover=config.prover,
        version=version,
        model=config.model,
        digest=source.digest,
        dataset=source.meta,
        metrics=searches[0].metrics,
        errors=sum(each.errors for each in searches),
        searches=searches,
        cache={"hits": hits, "misses": misses, "rate": hits / (hits + misses) if hits + misses else 0.0},
        theorems=tuple({key: row.get(key) for key in TOLD} for row in rows),
    )


def result_of(search: str, rows: Sequence[Mapping[str, Any]], ladder: set[str] | None, seed: int = 0) -> SearchResult:
    """The figures of one search; ``ladder`` are the theorems that the ladder proved."""
    good = [row for row in rows if row["error"] is None]
    proved = [row for row in good if row["proved"]]
    names = {row["theorem"] for row in proved}
    metrics = [metric("proved", [float(row["proved"]) for row in good], seed=seed)]
    if good and all(row["attempts"] for row in good):
        metrics += _passes(good, seed)
    return SearchResult(
        search=search,
        metrics=tuple(metrics),
        theorems=len(good),
        proved=len(proved),
        beyond=None if ladder is None else len(names - ladder),
        errors=len(rows) - len(good),
        expansions=sum(row["expansions"] for row in good),
        calls=sum(row["calls"] for row in good),
        calls_median=statistics.median([row["calls"] for row in proved]) if proved else None,
        tokens=sum(row["tokens"] for row in good),
        rejected=sum(row["rejected"] for row in good),
        crashes=sum(row["crashes"] for row in good),
        seconds=round(sum(row["seconds"] for row in good), 3),
        reasons=dict(Counter(row["reason"].partition(":")[0] for row in good).most_common()),
        axioms=dict(Counter(axiom for row in proved for axiom in row["verdict"]["axioms"]).most_common()),
    )


def _passes(rows: Sequence[Mapping[str, Any]], seed: int) -> list[Metric]:
    """pass@1, 2, 4, … up to the samples that every theorem has; a sample is right when one of its rounds is."""
    counts = []
    for row in rows:
        right = {attempt["k"] for attempt in row["attempts"] if attempt["proved"]}
        counts.append((len({attempt["k"] for attempt in row["attempts"]}), len(right)))
    most = min(n for n, _ in counts)
    ks = sorted({*(1 << i for i in range(most.bit_length())), most})
    return [metric(f"pass@{k}", [pass_at_k(n, c, k) for n, c in counts], seed=seed) for k in ks if k <= most]

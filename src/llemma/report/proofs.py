"""Proof searches and verdicts as lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llemma.prove.figures import ProveResult, SearchResult
from llemma.prove.recorded import Recorded
from llemma.records import Metric, Verdict
from llemma.report.tables import Figure, as_text, compare
from llemma.report.units import one_line

FEW = 24  # searches up to which each has a line of its own


def as_lines(result: ProveResult) -> Iterator[str]:
    """Each theorem when they are few; the searches in one table, their cost below, what they are about at the end."""
    if len(result.theorems) <= FEW:
        yield from _each(result)
    found = [
        Figure(task=each.search, model=result.model if each.search != "ladder" else "no model", metric=m)
        for each in result.searches
        for m in _widest(each.metrics)
    ]
    yield from _table(found)
    for each in result.searches:
        yield _cost(each)
    axioms = {axiom: n for each in result.searches for axiom, n in each.axioms.items()}
    if axioms:
        yield "axioms used: " + ", ".join(sorted(axioms))
    if result.cache["hits"] + result.cache["misses"]:
        yield f"cache: {result.cache['hits']:,.0f} of {result.cache['hits'] + result.cache['misses']:,.0f} calls found"
    source = f", data {str(result.dataset['sha256'])[:16]}" if "sha256" in result.dataset else ""
    yield f"{result.task}: statements {result.digest}{source}; {result.prover} {result.version}"


def _each(result: ProveResult) -> Iterator[str]:
    for row in result.theorems:
        how = f"{row['theorem']} ({row['search']})"
        if row["error"] is not None:
            yield f"{how}: LOST: {one_line(row['error'], 300)}"
        elif row["proved"]:
            yield f"{how}: proved in {row['calls']} calls: {one_line(row['proof'], 300)}"
        else:
            yield f"{how}: not proved, {one_line(row['reason'], 300)}"
    yield ""


def _table(found: Sequence[Figure]) -> Iterator[str]:
    rows = list(dict.fromkeys(f.task for f in found))
    metrics = list(dict.fromkeys(f.metric.name for f in found))
    table = compare([Figure(task=f.task, model="", metric=f.metric) for f in found], base="")
    assert len(table.rows) == len(rows) and len(table.columns) == len(metrics)
    yield from as_text(table).splitlines()


def _widest(metrics: Sequence[Metric]) -> list[Metric]:
    """``proved``, pass@1 and the largest pass@k."""
    passes = [m for m in metrics if m.name.startswith("pass@")]
    return [m for m in metrics if m.name == "proved"] + (passes[:1] + passes[1:][-1:])


def _cost(each: SearchResult) -> str:
    parts = [f"{each.search}: {each.proved} of {each.theorems} proved"]
    if each.beyond is not None:
        parts.append(f"{each.beyond} of them beyond the ladder")
    parts.append(f"{each.calls:,} calls" + (f", median {each.calls_median:g} to a proof" if each.calls_median else ""))
    if each.tokens:
        parts.append(f"{each.tokens:,} tokens")
    if each.rejected:
        parts.append(f"{each.rejected} finished paths or texts refused by the check")
    if each.crashes:
        parts.append(f"{each.crashes} dead workers replaced")
    if each.errors:
        parts.append(f"{each.errors} LOST to failures, not counted")
    parts.append(", ".join(f"{n} {reason}" for reason, n in each.reasons.items()))
    return "; ".join(parts) + f"; {each.seconds:.1f} s"


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """The layers of a verdict with their reasons, then the verdict."""
    width = max((len(layer.name) for layer in verdict.layers), default=0)
    for layer in verdict.layers:
        yield f"{'ok' if layer.ok else 'NOT OK':7} {layer.name:{width}}  {one_line(layer.detail, 400)}"
    axioms = ", ".join(one_line(axiom, 200) for axiom in verdict.axioms) or "none"
    yield f"{'proved' if verdict.proved else 'NOT PROVED'} in {verdict.seconds:.1f} s; axioms: {axioms}"


def recorded_lines(runs: Sequence[Recorded]) -> Iterator[str]:
    """Recorded runs of the paper in one table, how their proofs were and how the others failed below."""
    found = [Figure(task=run.model, model="", metric=run.proved) for run in runs]
    yield from as_text(compare(found, base="")).splitlines()
    for run in runs:
        failed = ", ".join(f"{n} {reason}" for reason, n in run.failures.items())
        yield (
            f"{run.model}: {run.count} of {run.proved.n}; {run.first} at the first expansion, {run.single} of one "
            f"tactic; failures: {failed}"
        )

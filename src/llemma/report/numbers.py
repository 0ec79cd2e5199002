"""Comparisons of number encodings as lines for the terminal, and how their figures are called and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llemma.report.units import DASH, count, grid, interval, percent, significant

SHARES = ("exact", "three_figures", "within_1_percent", "units")
TITLES = {
    "exact": "exact", "three_figures": "three figures", "within_1_percent": "within 1 %", "units": "units digit",
    "median_error": "median relative error", "r2": "R²", "mse": "mean squared error",
    "words_loss": "loss on words (nats)", "inside": "error inside", "gap": "error in the gap", "beyond": "error beyond",
}  # fmt: skip
VIEWS = {"samples": "equal samples", "tokens": "equal tokens", "flops": "equal FLOPs"}
MOST_FIGURES = 4  # across a terminal


def cell(figure: str, value: float | None, low: float | None, high: float | None) -> str:
    """A figure with its interval; shares in per cent."""
    if value is None:
        return "none"
    if figure in SHARES:
        return interval(value, low, high)
    if figure == "r2" and value < -1:
        return "below -1"  # worse than the mean guess by how much says nothing
    if low is None or high is None:
        return significant(value)
    return f"{significant(value)} [{significant(low, 2)}, {significant(high, 2)}]"


def heading(view: str, budget: float | None, test: str) -> str:
    """What stands above a table: the view, its budget, the test."""
    return f"{VIEWS[view]} ({count(budget)} {'FLOPs' if view == 'flops' else view}), {test}"


def trained_lines(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The three views of every task, with what could not be trained."""
    for task, found in tables.items():
        figures = found["figures"][:MOST_FIGURES]
        for view, tests in found["views"].items():
            for test, lines in tests.items():
                yield from ("", f"{task}: {heading(view, found['budgets'][view], test)}")
                yield from _lines(figures, lines)
        sure = ", ".join(f"{name} {percent(of['error'])}" for name, of in found["calibration"].items())
        yield from ("", *([f"{task}: stated probability and exactness are apart by {sure}"] if sure else []))
        yield from (f"{task}: {name} not trained: {why}" for name, why in found["failed"].items())


def probe_lines(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """The probe's tables: means over the seeds, with the least and the greatest."""
    for task, lines in tables.items():
        figures = [key for key in lines[0] if key != "encoding"] if lines else []
        yield from ("", f"{task}: the probe")
        yield from _lines(figures, lines)


def _lines(figures: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    costly = any("tokens_per_sample" in line for line in lines)
    head = ["encoding", "tokens" if costly else "", *(TITLES.get(figure, figure) for figure in figures)]
    body = []
    for line in lines:
        tokens = line.get("tokens_per_sample")
        shown = [cell(f, *(line[f][k] for k in ("mean", "low", "high"))) if f in line else DASH for f in figures]
        body.append([line["encoding"], "" if tokens is None else f"{tokens:.1f}", *shown])
    return grid(head, body)

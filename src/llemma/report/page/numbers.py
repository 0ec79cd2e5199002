"""Comparisons of number encodings as the page shows them: tables in three views, points to draw, reliability.

Reads ``metrics.json`` of ``llemma numbers compare`` and ``probe``; values of a wrong form are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llemma.report.numbers import SHARES, TITLES, VIEWS, cell, heading
from llemma.report.page.read import Folder, finite, json_object, listed, table, words
from llemma.report.units import DASH, one_line

MOST_TASKS = 24
MOST_LINES = 60
MOST_POINTS = 40
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberTable:
    """One table: encodings and baselines down, figures across, each cell with its interval as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Lines of a chart: encoding → points; ``share``: the values lie in 0..1."""

    title: str
    across: str
    up: str
    lines: Mapping[str, Points]
    share: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberTask:
    """A task of a comparison."""

    name: str
    tables: tuple[NumberTable, ...]
    charts: tuple[Drawn, ...]
    reliability: Mapping[str, Points]
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """A run of ``llemma numbers``."""

    name: str
    trained: bool
    tasks: tuple[NumberTask, ...]
    notes: tuple[str, ...]


def read_numbers(folder: Folder) -> Numbers:
    """Read a comparison; what is damaged becomes a note."""
    stored, trouble = json_object(folder.path, "metrics.json")
    tasks = []
    for name, found in list(stored.items())[:MOST_TASKS]:
        title = one_line(name, 40)
        if isinstance(found, list):
            tasks.append(_probed(title, found))
        else:
            tasks.append(_trained(title, table(found)))
    trained = any(isinstance(found, Mapping) for found in stored.values())
    return Numbers(name=folder.name, trained=trained, tasks=tuple(tasks), notes=() if trouble is None else (trouble,))


def _probed(name: str, lines: list[Any]) -> NumberTask:
    shown = [table(line) for line in lines[:MOST_LINES]]
    figures = list(dict.fromkeys(key for line in shown for key in line if key != "encoding"))[:12]
    made = _table("the probe", figures, shown)
    return NumberTask(name=name, tables=(made,) if made.rows else (), charts=(), reliability={}, failed=())


def _trained(name: str, found: Mapping[str, Any]) -> NumberTask:
    figures = [words(figure) for figure in listed(found.get("figures"))[:12]]
    budgets, tables = table(found.get("budgets")), []
    tests: list[str] = []
    for view in VIEWS:
        of = table(table(found.get("views")).get(view))
        tests = tests or [words(test) for test in of][:6]
        for test, lines in list(of.items())[:6]:
            made = _table(
                one_line(heading(view, finite(budgets.get(view)), words(test)), 90),
                figures,
                [table(line) for line in listed(lines)[:MOST_LINES]],
            )
            tables += [made] if made.rows else []
    return NumberTask(
        name=name,
        tables=tuple(tables),
        charts=tuple(_charts(name, figures, tests[:1], table(found.get("curves")))),
        reliability=_reliability(table(found.get("calibration"))),
        failed=tuple((one_line(k, 40), one_line(v, 200)) for k, v in list(table(found.get("failed")).items())[:40]),
    )


def _table(title: str, figures: list[str], lines: list[Mapping[str, Any]]) -> NumberTable:
    rows = []
    for line in lines:
        cells = tuple(_cell(figure, table(line.get(figure))) for figure in figures)
        tokens = finite(line.get("tokens_per_sample"))
        rows.append((one_line(words(line.get("encoding")), 40), (*cells, DASH if tokens is None else f"{tokens:.1f}")))
    heads = tuple(one_line(TITLES.get(figure, figure), 40) for figure in figures)
    if all(cells[-1] == DASH for _, cells in rows):  # the probe has no tokens
        return NumberTable(title=title, columns=heads, rows=tuple((name, cells[:-1]) for name, cells in rows))
    return NumberTable(title=title, columns=(*heads, "tokens a sample"), rows=tuple(rows))


def _cell(figure: str, stored: Mapping[str, Any]) -> str:
    value, low, high = (finite(stored.get(key)) for key in ("mean", "low", "high"))
    return cell(figure, value, low, high) if "mean" in stored else DASH


def _charts(name: str, figures: list[str], tests: list[str], curves: Mapping[str, Any]) -> list[Drawn]:
    """The first figure, and the median error beside it, against samples and against FLOPs, on the first test."""
    chosen = list(dict.fromkeys([*figures[:1], *(f for f in figures if f == "median_error")]))
    drawn = []
    for test in tests:
        for figure in chosen:
            for view in ("samples", "flops"):
                lines = {one_line(k, 40): _points(v, view, test, figure) for k, v in list(curves.items())[:MOST_LINES]}
                kept = {k: points for k, points in lines.items() if len(points) > 1}
                if kept:
                    up = TITLES.get(figure, figure)
                    drawn.append(
                        Drawn(
                            title=f"{name}, {one_line(test, 40)}: {up} by {'FLOPs' if view == 'flops' else view}",
                            across="FLOPs" if view == "flops" else view,
                            up=up,
                            lines=kept,
                            share=figure in SHARES,
                        )
                    )
    return drawn


def _points(stored: Any, view: str, test: str, figure: str) -> Points:
    pairs = [
        (finite(table(point).get(view)), finite(table(table(point).get(test)).get(figure)))
        for point in listed(stored)[:MOST_POINTS]
    ]
    return tuple((x, y) for x, y in pairs if x is not None and y is not None and x > 0 and math.isfinite(y))


def _reliability(stored: Mapping[str, Any]) -> dict[str, Points]:
    """Encoding → (stated probability, share of exact answers) of its bins."""
    found = {}
    for name, each in list(stored.items())[:MOST_LINES]:
        bins = [table(one) for one in listed(table(each).get("bins"))[:40]]
        pairs = [(finite(one.get("stated")), finite(one.get("exact"))) for one in bins]
        points = tuple((x, y) for x, y in pairs if x is not None and y is not None)
        if points:
            found[one_line(name, 40)] = points
    return found

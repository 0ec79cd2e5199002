"""Comparison tables: tasks down, runs and their metrics across, each figure with its 95 % interval.

Pure functions from figures to a ``Table`` and from a ``Table`` to text, Markdown or CSV. Nothing is read or
printed here, and no test of significance is made: a mark says only that two intervals do not overlap.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llemma.records import Metric
from llemma.report.units import DASH, interval, one_line

Mark = Literal["", "▲", "▼"]

LEGEND = "▲ above, ▼ below {base} on the same metric: the 95 % intervals do not overlap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric of one model (or run) on one task."""

    task: str
    model: str
    metric: Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A place in a table; ``metric`` is None where nothing was measured."""

    metric: Metric | None = None
    mark: Mark = ""

    def __str__(self) -> str:
        if self.metric is None:
            return DASH
        shown = interval(self.metric.value, self.metric.low, self.metric.high)
        return f"{shown} {self.mark}" if self.mark else shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What a column holds: one metric of one model."""

    model: str
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One task; ``n`` is its number of problems as text, ``cells`` match the table's columns."""

    task: str
    n: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows = tasks, columns = models × metrics; ``notes`` belong below it."""

    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()


def figures(results: Iterable[Mapping[str, Any]], model: str | None = None) -> tuple[Figure, ...]:
    """The figures in the ``{"run", "task", "metrics"}`` objects of an evaluation.

    ``model`` heads the column instead of the object's ``run``. Entries of a wrong form are left out.
    """
    found = []
    for result in results:
        head = one_line(model if model is not None else result.get("run", ""), 40)
        entries = result.get("metrics")
        for entry in entries if isinstance(entries, (list, tuple)) else ():
            metric = metric_from(entry)
            if metric is not None:
                found.append(Figure(task=one_line(result.get("task", "")), model=head, metric=metric))
    return tuple(found)


def metric_from(entry: Any) -> Metric | None:
    """The metric in ``{"name", "value", "low", "high", "n"}``, or None when it holds no finite value."""
    if not isinstance(entry, Mapping):
        return None
    value = _finite(entry.get("value"))
    if value is None:
        return None
    low, high, n = (_finite(entry.get(key)) for key in ("low", "high", "n"))
    return Metric(
        name=one_line(entry.get("name", entry.get("metric", "")), 30),
        value=value,
        low=math.nan if low is None else low,
        high=math.nan if high is None else high,
        n=int(n or 0),
    )


def compare(found: Sequence[Figure], *, base: str | None = None, notes: Iterable[str] = ()) -> Table:
    """The comparison table of some figures, in the order in which tasks, metrics and models first appear.

    ``base`` names the model the others are compared with (default: the first one). When several figures
    fall in one place the last one counts.
    """
    models = list(dict.fromkeys(f.model for f in found))
    metrics = sorted(dict.fromkeys(f.metric.name for f in found), key=_metric_order)
    base = base if base is not None else next(iter(models), None)
    places = {(f.task, f.metric.name, f.model): f.metric for f in found}
    present = {(f.metric.name, f.model) for f in found}
    columns = tuple(Column(model=m, metric=name) for name in metrics for m in models if (name, m) in present)
    rows = []
    for task in dict.fromkeys(f.task for f in found):
        cells = []
        for column in columns:
            metric = places.get((task, column.metric, column.model))
            other = places.get((task, column.metric, base or ""))
            cells.append(Cell(metric=metric, mark="" if column.model == base else _mark(metric, other)))
        rows.append(Row(task=task, n=_sizes(cells), cells=tuple(cells)))
    marked = any(cell.mark for row in rows for cell in row.cells)
    legend = (LEGEND.format(base=base),) if marked else ()
    return Table(columns=columns, rows=tuple(rows), notes=(*legend, *(one_line(note, 300) for note in notes)))


def as_text(table: Table) -> str:
    """The table for a terminal: aligned columns, two heading lines, notes below; no trailing line break."""
    if not table.rows:
        return "no results" + "".join(f"\n{note}" for note in table.notes)
    head = [["", "", *(c.model for c in table.columns)], ["task", "n", *(c.metric for c in table.columns)]]
    marked = [any(row.cells[i].mark for row in table.rows) for i in range(len(table.columns))]
    body = [[row.task, row.n, *_aligned(row.cells, marked)] for row in table.rows]
    widths = [max(len(line[i]) for line in head + body) for i in range(len(head[0]))]
    rule = "  ".join("─" * width for width in widths)
    lines = [_line(line, widths) for line in head] + [rule] + [_line(line, widths) for line in body]
    return "\n".join([*lines, *table.notes])


def as_markdown(table: Table) -> str:
    """The table as GitHub Markdown; names are escaped."""
    if not table.rows:
        return "no results\n"
    head = ["task", "n", *(f"{c.model} {c.metric}".strip() for c in table.columns)]
    lines = [_pipes(head), "|---|---:|" + "---:|" * len(table.columns)]
    lines += [_pipes([row.task, row.n, *map(str, row.cells)]) for row in table.rows]
    return "\n".join(lines) + "\n" + "".join(f"\n{_markdown(note)}\n" for note in table.notes)


def as_csv(table: Table) -> str:
    """One line per figure (``task,model,metric,value,low,high,n,mark``): the form other programs read."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["task", "model", "metric", "value", "low", "high", "n", "mark"])
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            if cell.metric is not None:
                m = cell.metric
                edges = ["" if math.isnan(edge) else repr(edge) for edge in (m.low, m.high)]
                words = {"▲": "above", "▼": "below", "": ""}
                writer.writerow([row.task, column.model, m.name, repr(m.value), *edges, m.n, words[cell.mark]])
    return out.getvalue()


def _mark(metric: Metric | None, other: Metric | None) -> Mark:
    if metric is None or other is None:
        return ""
    return "▲" if metric.low > other.high else "▼" if metric.high < other.low else ""


def _sizes(cells: Iterable[Cell]) -> str:
    sizes = sorted({cell.metric.n for cell in cells if cell.metric is not None})
    return DASH if not sizes else str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}–{sizes[-1]}"


def _metric_order(name: str) -> tuple[int, str, int]:
    kind, _, k = name.partition("@")
    order = {"accuracy": 0, "maj": 1, "pass": 2}.get(kind, 3)
    return order, kind, int(k) if k.isdecimal() and len(k) < 10 else 0


def _aligned(cells: Iterable[Cell], marked: Iterable[bool]) -> list[str]:
    # In a column with marks every cell has room for one, so that its per cent signs stand below each other.
    return [f"{cell}  " if room and not cell.mark else str(cell) for cell, room in zip(cells, marked, strict=True)]


def _line(parts: Sequence[str], widths: Sequence[int]) -> str:
    padded = [part.rjust(width) for part, width in zip(parts, widths, strict=True)]
    return "  ".join([parts[0].ljust(widths[0]), *padded[1:]]).rstrip()


def _pipes(parts: Iterable[str]) -> str:
    return "| " + " | ".join(map(_markdown, parts)) + " |"


def _markdown(text: str) -> str:
    for mark in ("\\", "|", "<", "`", "*", "_"):
        text = text.replace(mark, "&lt;" if mark == "<" else "\\" + mark)
    return text


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None

"""Tables of trained number encodings: equal samples, equal tokens, equal FLOPs, from the rows of a comparison.

A view takes of every run the last point within its budget. Intervals are a bootstrap of seeds, and of problems within
each; for shares no narrower than Wilson's interval of all problems. Pure functions from rows to plain data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from llemma.evaluate.stats import wilson
from llemma.records import to_row
from llemma.tokens.numbers.scores import SHARES, Answered, calibration, columns, figures
from llemma.tokens.numbers.tasks import Task

View = Literal["samples", "tokens", "flops"]
VIEWS: tuple[View, ...] = ("samples", "tokens", "flops")
RESAMPLES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How far a run goes in each view."""

    samples: float
    tokens: float
    flops: float


class Tables:
    """The tables of one task. ``rows`` are those of its runs, baselines among them; tests hold ``count`` problems."""

    def __init__(self, task: Task, rows: Iterable[Mapping[str, Any]], seeds: Sequence[int], count: int) -> None:
        self.task, self.seeds, self._count = task, seeds, count
        self.failed: dict[str, str] = {}
        self._points: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
        for row in rows:
            if row["task"] != task.name or row["seed"] not in seeds:
                continue
            if "failed" in row:
                self.failed[row["encoding"]] = row["failed"]
            else:
                self._points.setdefault(row["encoding"], {}).setdefault(row["seed"], []).append(row)
        for runs in self._points.values():
            for points in runs.values():
                points.sort(key=lambda row: row["step"])
        self._asked: dict[tuple[str, int], list[Any]] = {}
        self._lines: dict[tuple[Any, ...], dict[str, Any]] = {}

    def table(self, budget: Budget) -> dict[str, Any]:
        """All that ``metrics.json`` says of the task."""
        chosen = {view: self._chosen(view, getattr(budget, view)) for view in VIEWS}
        return {
            "budgets": to_row(budget),
            "figures": list(self.task.figures),
            "views": {
                view: {test: self._rows(chosen[view], test) for test in self.task.tests} for view in VIEWS
            },
            "curves": {name: self._curve(runs) for name, runs in self._points.items() if _learns(runs)},
            "calibration": self._calibration(chosen["flops"]),
            "failed": self.failed,
        }  # fmt: skip

    def _chosen(self, view: View, budget: float) -> dict[str, list[Mapping[str, Any]]]:
        """Encoding → the point of each seed: the last within the budget; none where one step is more than that."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for name, runs in self._points.items():
            for seed in self.seeds:
                within = [row for row in runs.get(seed, ()) if row[view] <= budget * (1 + 1e-9) and "answers" in row]
                if within:
                    found.setdefault(name, []).append(within[-1])
        return found

    def _rows(self, chosen: Mapping[str, Sequence[Mapping[str, Any]]], test: str) -> list[dict[str, Any]]:
        return [self._line(name, rows, test) for name, rows in chosen.items()]

    def _line(self, name: str, rows: Sequence[Mapping[str, Any]], test: str) -> dict[str, Any]:
        key = (name, test, *(row["id"] for row in rows))
        if key not in self._lines:
            self._lines[key] = self._measured(name, rows, test)
        return self._lines[key]

    def _measured(self, name: str, rows: Sequence[Mapping[str, Any]], test: str) -> dict[str, Any]:
        line: dict[str, Any] = {"encoding": name, "seeds": len(rows)}
        if rows[0]["step"]:
            cost = ("samples", "tokens", "flops", "tokens_per_sample", "seconds")
            line |= {k: float(np.mean([row[k] for row in rows])) for k in cost}
        found: dict[str, Any] = summary([self._columns(row, test) for row in rows])
        words = [row["words_loss"][test] for row in rows if row.get("words_loss")]
        if words:
            lost = None in words  # a model that diverged has none
            ends = (min(words), max(words)) if len(words) > 1 and not lost else (None, None)
            found["words_loss"] = {"mean": None if lost else float(np.mean(words)), "low": ends[0], "high": ends[1]}
        return line | {k: found[k] for k in self.task.figures if k in found}

    def _columns(self, row: Mapping[str, Any], test: str) -> dict[str, np.ndarray]:
        key = (test, row["seed"])
        if key not in self._asked:
            self._asked[key] = self.task.samples(test, 0, self._count, row["seed"])
        written = zip(self._asked[key], row["answers"][test], strict=True)
        return columns(
            self.task,
            [
                Answered(sample=sample, text=text, probability=float("nan") if sure is None else sure)
                for sample, (text, sure) in written
            ],
        )

    def _curve(self, runs: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """The points of the seeds together, by their number."""
        curve = []
        for at in zip(*runs.values(), strict=False):
            point: dict[str, Any] = {k: float(np.mean([row[k] for row in at])) for k in VIEWS}
            for test in self.task.tests:
                values = {k: [row["figures"][test].get(k) for row in at] for k in self.task.figures}
                point[test] = {k: float(np.mean(v)) for k, v in values.items() if None not in v}
            curve.append(point)
        return curve

    def _calibration(self, chosen: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
        """Encoding → reliability on the first test, over the seeds."""
        found = {}
        for name, rows in chosen.items():
            parts = [self._columns(row, self.task.tests[0]) for row in rows]
            sure = calibration(*(np.concatenate([part[k] for part in parts]) for k in ("exact", "probability")))
            if sure is not None:
                found[name] = to_row(sure)
        return found


def _learns(runs: Mapping[int, Sequence[Mapping[str, Any]]]) -> bool:
    return all(row["step"] for points in runs.values() for row in points)


def summary(seeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """Figure → mean over the seeds, with its 95 % interval; ``seeds`` holds the columns of each, equally many problems.

    Values that are not finite (the median error of a model that writes no numbers) are None.
    """
    stacked = {k: np.stack([of[k] for of in seeds]) for k in seeds[0]}  # (seeds, problems)
    shape = stacked["exact"].shape
    means = {k: v.mean() for k, v in figures(stacked).items()}
    random = np.random.default_rng(0)
    drawn = random.integers(0, shape[0], (RESAMPLES, shape[0]))
    which = random.integers(0, shape[1], (RESAMPLES, *shape))
    with np.errstate(invalid="ignore"):
        spread = figures({k: v[drawn[:, :, None], which] for k, v in stacked.items()})
        ends = {k: np.quantile(v.mean(axis=1), [0.025, 0.975], method="nearest") for k, v in spread.items()}
    found = {}
    for name, mean in means.items():
        low, high = ends[name]
        if name in SHARES:
            outer = wilson(float(stacked[name].sum()), stacked[name].size)
            low, high = min(low, outer.low), max(high, outer.high)
        found[name] = {"mean": _finite(mean), "low": _finite(low), "high": _finite(high)}
    return found


def _finite(value: Any) -> Any:
    return float(value) if np.isfinite(value) else None

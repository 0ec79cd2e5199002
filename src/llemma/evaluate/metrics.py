"""Scores of one task out of its stored rows: pure, so any run can be scored again without a model.

A sample in error has no say: it is counted beside the score, and a problem that lost all its samples is left out
of ``n``. An unparsable answer is an outcome of the model and counts as not correct.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llemma.evaluate.stats import metric
from llemma.grade.vote import maj_at_k, pass_at_k
from llemma.records import Metric

Row = Mapping[str, Any]

NEEDED = ("id", "task", "problem", "k", "grade", "error", "key", "difficulty")  # what is read of a row


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """The scores of one task. ``samples`` were wanted, ``errors`` of them were lost to the infrastructure and
    ``unparsable`` of the others have no readable answer. ``groups``: accuracy by difficulty, where it is known."""

    run: str | None
    task: str
    metrics: tuple[Metric, ...]
    errors: int
    unparsable: int
    samples: int
    groups: tuple[Metric, ...] = ()


def metrics_of(rows: Iterable[Row], *, task: str, run: str | None = None, seed: int = 0) -> TaskResult:
    """Score the rows of one task, in whatever order they were stored.

    ``accuracy`` is the mean over problems of the share of correct samples. With several samples per problem also
    ``maj@k`` for k = 2, 4, 8, … and all (maj@1 is the accuracy), and ``pass@n``. ``seed`` is the bootstrap's.
    """
    rows = list(rows)
    wanted = {(row["problem"], row["k"]) for row in rows}
    good = sorted((row for row in rows if row["error"] is None), key=lambda row: (row["problem"], row["k"]))
    by_problem: dict[str, list[Row]] = {}
    for row in good:
        by_problem.setdefault(row["problem"], []).append(row)
    problems = list(by_problem.values())
    shares = [_share(samples) for samples in problems]
    metrics = [metric("accuracy", shares, seed=seed)]
    n = 1 + max((k for _, k in wanted), default=0)
    if n > 1:
        metrics += _votes(problems, n, seed)
        passed = [pass_at_k(len(samples), _correct(samples), len(samples)) for samples in problems]
        metrics.append(metric(f"pass@{n}", passed, seed=seed))
    return TaskResult(
        run=run,
        task=task,
        metrics=tuple(metrics),
        errors=len(wanted) - len(good),
        unparsable=sum(row["grade"]["verdict"] == "unparsable" for row in good),
        samples=len(wanted),
        groups=tuple(_by_difficulty(problems, shares, seed)),
    )


def _votes(problems: Sequence[Sequence[Row]], n: int, seed: int) -> list[Metric]:
    """maj@k for the powers of two below n and for n; a problem with lost samples votes with those it has."""
    keys = [[row["key"] for row in samples] for samples in problems]
    right = [{row["key"] for row in samples if _is_correct(row) and row["key"] is not None} for samples in problems]
    sizes = sorted({1 << i for i in range(1, n.bit_length()) if 1 << i < n} | {n})
    return [metric(f"maj@{k}", maj_at_k(keys, right, k), seed=seed) for k in sizes]


def _by_difficulty(problems: Sequence[Sequence[Row]], shares: Sequence[float], seed: int) -> list[Metric]:
    levels: dict[Any, list[float]] = {}
    for samples, share in zip(problems, shares, strict=True):
        if "difficulty" in samples[0]:
            levels.setdefault(samples[0]["difficulty"], []).append(share)
    return [metric(f"accuracy[difficulty={level}]", levels[level], seed=seed) for level in sorted(levels, key=str)]


def _share(samples: Sequence[Row]) -> float:
    return _correct(samples) / len(samples)


def _correct(samples: Sequence[Row]) -> int:
    return sum(map(_is_correct, samples))


def _is_correct(row: Row) -> bool:
    return bool(row["grade"]["verdict"] == "correct")

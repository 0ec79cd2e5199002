"""Scores of one task out of its stored rows: pure, so any run can be scored again without a model.

A sample in error has no say: it is counted beside the score, and a problem that lost all its samples is left out
of ``n``. An unparsable answer is an outcome of the model and counts as not correct.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llemma.evaluate.stats import metric
from llemma.evaluate.tally import Judged, Tally
from llemma.grade.vote import maj_at_k, pass_at_k
from llemma.records import Classes, Metric

GROUPS = ("subject", "level", "kind", "difficulty")  # of Problem.meta: results are split by these


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Votes for every number of samples: ``maj[i]`` and ``passed[i]`` belong to ``k[i]``, means over problems."""

    k: tuple[int, ...] = ()
    maj: tuple[float, ...] = ()
    passed: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What one scorer says. ``unparsable`` answers could not be read, ``timeouts`` took the grader too long and
    ``unsafe`` ones it would not touch: all three count as not correct. ``groups``: accuracy by subject, level, …"""

    scorer: str
    metrics: tuple[Metric, ...]
    unparsable: int
    timeouts: int
    unsafe: int
    groups: tuple[Metric, ...] = ()
    curve: Curve = Curve()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """The scores of one task. ``samples`` were wanted, ``errors`` of them were lost to the infrastructure.

    ``metrics``, ``unparsable``, ``timeouts``, ``unsafe``, ``groups`` and ``curve`` are those of the scorer in front,
    ``others`` those of the scorers beside it. ``prompt`` names the few-shot examples, ``sampling`` how it was sampled.
    """

    run: str | None
    task: str
    metrics: tuple[Metric, ...]
    errors: int
    unparsable: int
    samples: int
    groups: tuple[Metric, ...] = ()
    timeouts: int = 0
    unsafe: int = 0
    scorer: str = "strict"
    others: tuple[Scored, ...] = ()
    curve: Curve = Curve()
    prompt: Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which samples a score is about: these problems (None: all that have rows) and ``samples`` of each."""

    samples: int
    problems: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A problem with the samples that one scorer judged."""

    name: str
    groups: Mapping[str, Any]
    samples: Sequence[Judged]
    shown: Mapping[str, str]

    @property
    def share(self) -> float:
        return self.correct / len(self.samples)

    @property
    def correct(self) -> int:
        return sum(sample.correct for sample in self.samples)


def metrics_of(
    tally: Tally, wanted: Scope, *, task: str, classes: Mapping[str, Classes | None] | None = None, seed: int = 0,
    dirty: Container[str] | None = None, votes: bool = True,
) -> TaskResult:  # fmt: skip
    """Score the rows of one task, in whatever order they were stored.

    ``accuracy`` is the mean over problems of the share of correct samples. With several samples per problem also
    ``maj@k`` for k = 2, 4, 8, … and all (maj@1 is the accuracy), and ``pass@n``. ``seed`` is the bootstrap's.
    ``dirty`` names the problems that overlap a training corpus: accuracy is then also given for them and the others.
    ``classes`` says by scorer which answers are equal in a vote (without: those of equal keys); ``votes=False`` leaves
    votes out, which take longest.
    """
    names = list(tally.problems) if wanted.problems is None else list(wanted.problems)
    there = [(name, tally.problems[name]) for name in names if name in tally.problems]
    scored = []
    for scorer in tally.scorers() or ["strict"]:
        kept = [
            _Kept(name=name, groups=problem.groups, samples=samples, shown=problem.shown(scorer))
            for name, problem in sorted(there, key=lambda pair: pair[0])
            if (samples := problem.judged(scorer, wanted.samples))
        ]
        scored.append(_scored(scorer, kept, wanted.samples, seed, dirty, (classes or {}).get(scorer), votes))
    front, *others = scored
    return TaskResult(
        run=None,
        task=task,
        metrics=front.metrics,
        errors=sum(len(problem.missing(wanted.samples)) for _, problem in there),
        unparsable=front.unparsable,
        samples=_count(tally, wanted, names),
        groups=front.groups,
        timeouts=front.timeouts,
        unsafe=front.unsafe,
        scorer=front.scorer,
        others=tuple(others),
        curve=front.curve,
    )


def values_by_problem(
    tally: Tally, scorer: str, samples: int, k: int | None = None, classes: Classes | None = None
) -> dict[str, float]:
    """The value of each problem: the share of correct samples, or for ``k`` what its vote of k samples is worth."""
    found = {}
    for name, problem in tally.problems.items():
        judged = problem.judged(scorer, samples)
        if judged:
            kept = _Kept(name=name, groups=problem.groups, samples=judged, shown=problem.shown(scorer))
            found[name] = kept.share if k is None else _Votes.of([kept], classes).won(k)[0]
    return found


def _count(tally: Tally, wanted: Scope, names: Sequence[str]) -> int:
    """The samples that were wanted and tried: made, or lost."""
    total = 0
    for name in names:
        problem = tally.problems.get(name)
        if problem is not None:
            total += len({k for k in (*problem.ks, *problem.lost) if k < wanted.samples})
    return total


def _scored(
    scorer: str, problems: Sequence[_Kept], n: int, seed: int, dirty: Container[str] | None, classes: Classes | None,
    with_votes: bool,
) -> Scored:  # fmt: skip
    shares = [problem.share for problem in problems]
    metrics = [metric("accuracy", shares, seed=seed)]
    verdicts = Counter(sample.verdict for problem in problems for sample in problem.samples)
    n = min(n, max((1 + sample.k for problem in problems for sample in problem.samples), default=1))
    curve = Curve()
    if n > 1 and with_votes:
        votes = _Votes.of(problems, classes)
        sizes = sorted({1 << i for i in range(1, n.bit_length()) if 1 << i < n} | {n})
        metrics += [metric(f"maj@{k}", votes.won(k), seed=seed) for k in sizes]
        ks = tuple(range(1, n + 1))
        maj = tuple(_mean(votes.won(k)) for k in ks)
        curve = Curve(k=ks, maj=maj, passed=tuple(_mean(_passed(problems, k)) for k in ks))
    if n > 1:
        metrics.append(metric(f"pass@{n}", _passed(problems, n), seed=seed))
    return Scored(
        scorer=scorer,
        metrics=tuple(metrics),
        unparsable=verdicts["unparsable"],
        timeouts=verdicts["timeout"],
        unsafe=verdicts["unsafe"],
        groups=(*_by_group(problems, seed), *_by_overlap(problems, dirty, seed)),
        curve=curve,
    )


@dataclass(frozen=True, slots=True)
class _Votes:
    """The class each problem's samples vote for, and the classes that are right."""

    cast: list[Sequence[Hashable | None]]
    right: list[set[Hashable]]

    @classmethod
    def of(cls, problems: Sequence[_Kept], classes: Classes | None) -> _Votes:
        cast, right = [], []
        for problem in problems:
            keys = [sample.key for sample in problem.samples]
            names = keys if classes is None else classes(keys, problem.shown)
            # a class stands for the answer that was seen first in it, and is right when that one is
            first = dict(zip(reversed(names), reversed(problem.samples), strict=True))
            cast.append(names)
            right.append({name for name, sample in first.items() if name is not None and sample.correct})
        return cls(cast, right)

    def won(self, k: int) -> list[float]:
        """What a vote of ``k`` samples is worth; a problem with lost samples votes with those it has."""
        return maj_at_k(self.cast, self.right, k)


def _passed(problems: Sequence[_Kept], k: int) -> list[float]:
    return [pass_at_k(len(p.samples), p.correct, min(k, len(p.samples))) for p in problems]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def _by_group(problems: Sequence[_Kept], seed: int) -> list[Metric]:
    found = []
    for group in GROUPS:
        levels: dict[str, list[float]] = {}
        for problem in problems:
            if group in problem.groups:
                levels.setdefault(str(problem.groups[group]), []).append(problem.share)
        found += [metric(f"accuracy[{group}={level}]", levels[level], seed=seed) for level in sorted(levels)]
    return found


def _by_overlap(problems: Sequence[_Kept], dirty: Container[str] | None, seed: int) -> list[Metric]:
    if dirty is None:
        return []
    parts: dict[str, list[float]] = {"clean": [], "dirty": []}
    for problem in problems:
        parts["dirty" if problem.name in dirty else "clean"].append(problem.share)
    return [metric(f"accuracy[overlap={part}]", values, seed=seed) for part, values in parts.items()]


def errors_of(tally: Tally, wanted: Scope) -> Iterable[str]:
    """The last error of every sample that was lost and not made since."""
    names = tally.problems if wanted.problems is None else wanted.problems
    for name in names:
        if name in tally.problems:
            yield from tally.problems[name].missing(wanted.samples)

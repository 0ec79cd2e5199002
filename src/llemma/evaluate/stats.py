"""Metrics with 95 % intervals over problems, and the difference of two runs on the same problems.

Says how sure a score is, not whether it is right. Problems are the units that were drawn, so intervals are over
problems, never over samples: 64 samples of one problem are one observation. Per-problem values that are all 0 or 1
get Wilson's interval, others a bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llemma.records import Metric

Z95 = 1.959963984540054  # the 97.5 % point of the standard normal distribution


class Interval(NamedTuple):
    """A two-sided interval of a fraction."""

    low: float
    high: float


def wilson(successes: float, n: int, z: float = Z95) -> Interval:
    """Wilson's score interval (1927) for ``successes`` of ``n`` (a fraction of one counts as such); (0, 1) when n is 0.

    Unlike the normal approximation it neither collapses at 0 or n successes nor leaves 0..1. Raises ValueError
    unless 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return Interval(0.0, 1.0)
    p, spread = successes / n, z * z / n
    centre = (p + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (p * (1 - p) + spread / 4)) / (1 + spread)
    # exact ends: at 0 and n successes rounding would leave 1e-18 above 0 or below 1
    return Interval(0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def bootstrap(values: Sequence[float], *, seed: int = 0, resamples: int = 10_000, level: float = 0.95) -> Interval:
    """Percentile bootstrap of the mean of per-problem ``values``; (0, 1) when there are none.

    The result does not depend on the order of the problems. With a handful of problems percentile intervals are too
    narrow; with one it has no width.
    """
    if len(values) == 0:
        return Interval(0.0, 1.0)
    means = _resampled(np.asarray(values, dtype=np.float64), np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


_MANY = 64  # distinct values above which drawing indices is faster than drawing counts
_CELLS = 1 << 22  # numbers held at once


def _resampled(values: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """The means of ``resamples`` draws with replacement, in bounded memory.

    A draw of n indices is for the mean the same as a multinomial count of the distinct values.
    """
    distinct, counts = np.unique(values, return_counts=True)
    n = len(values)
    if len(distinct) <= _MANY:
        draws = rng.multinomial(n, counts / n, size=resamples)  # (resamples, distinct)
        return np.asarray(draws @ distinct / n)
    ordered = np.sort(values)
    at_once = max(1, _CELLS // n)
    sizes = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    return np.concatenate([ordered[rng.integers(0, n, size=(size, n))].mean(axis=1) for size in sizes])


def metric(name: str, values: Sequence[float], *, seed: int = 0) -> Metric:
    """The mean of one value per problem with its 95 % interval; no problems give 0 in (0, 1) with n = 0."""
    n = len(values)
    if all(value in (0.0, 1.0) for value in values):
        successes = sum(value == 1.0 for value in values)
        low, high = wilson(successes, n)
        return Metric(name=name, value=successes / n if n else 0.0, low=low, high=high, n=n)
    mean = math.fsum(values) / n
    if len(set(values)) == 1:  # every resample would be the same: an interval without width claims too much
        low, high = wilson(mean * n, n)
        return Metric(name=name, value=mean, low=low, high=high, n=n)
    low, high = bootstrap(values, seed=seed)
    return Metric(name=name, value=mean, low=min(low, mean), high=max(high, mean), n=n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much higher the second run's mean is than the first's, over the ``n`` problems that both have.

    ``low`` and ``high`` are the paired bootstrap's 95 % interval. For values that are all 0 or 1, ``only_first`` and
    ``only_second`` count the problems that one of them alone solved and ``p`` is McNemar's exact two-sided test on
    them; otherwise they are None.
    """

    value: float
    low: float
    high: float
    n: int
    only_first: int | None = None
    only_second: int | None = None
    p: float | None = None


def paired(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Difference:
    """The difference of two runs, problem by problem. Raises ValueError when there are no common problems."""
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} values: paired runs need the same problems, at least one")
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    difference = b - a
    mean = math.fsum(difference) / len(difference)
    low, high = bootstrap(difference.tolist(), seed=seed)
    plain = bool(np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all())
    only_first, only_second = int((difference < 0).sum()), int((difference > 0).sum())
    return Difference(
        value=mean,
        low=min(low, mean),
        high=max(high, mean),
        n=len(difference),
        only_first=only_first if plain else None,
        only_second=only_second if plain else None,
        p=mcnemar(only_first, only_second) if plain else None,
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's exact test (1947): how likely a split of the discordant problems at least this uneven is by chance.

    Twice the smaller binomial tail at 1/2, at most 1; 1 when no problem tells the runs apart.
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))

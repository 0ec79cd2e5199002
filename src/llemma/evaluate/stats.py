"""Metrics with 95 % intervals over problems; says how sure a score is, not whether it is right.

Problems are the units that were drawn, so intervals are over problems, never over samples: 64 samples of one
problem are one observation. Per-problem values that are all 0 or 1 get Wilson's interval, others a bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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

    A resample is a multinomial count of the distinct values: the same distribution as drawing n indices, and its
    result does not depend on the order of the problems. With a handful of problems percentile intervals are too
    narrow; with one it has no width.
    """
    if len(values) == 0:
        return Interval(0.0, 1.0)
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    n = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(n, counts / n, size=resamples)  # [resamples, distinct]
    low, high = np.quantile(draws @ distinct / n, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


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

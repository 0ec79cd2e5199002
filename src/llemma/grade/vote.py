"""Majority votes over sampled answers, and what they and pass@k are worth for any k up to the samples at hand.

Votes are over class names (``Answer.key``); ``None`` is a sample without a readable answer: it has no vote, and a
problem where nobody votes is lost. The paper votes in this way with k = 100 and 256 (Llemma, table 2, section 3.1).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence, Set
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_NEGLIGIBLE = 1e-14  # terms that cannot matter beside the rounding of the sum


def majority(keys: Sequence[str | None]) -> str | None:
    """The key with most votes, the one seen first among equals; ``None`` when nobody votes."""
    votes = Counter(key for key in keys if key is not None)  # keeps the order of first sight
    return max(votes, key=votes.__getitem__, default=None)


def maj_at_k(keys_by_problem: Sequence[Sequence[str | None]], correct_keys: Sequence[Set[str]], k: int) -> list[float]:
    """For each problem the probability that a vote among ``k`` of its samples is won by a correct key.

    With k samples (or fewer) at hand it is the one vote that was held: 0 or 1, ties to the answer seen first. With
    more it is the exact expectation over all draws of k of them in random order; by symmetry an answer that ties
    with t - 1 others is then seen first once in t. No resampling, hence no seed. Raises ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k={k}: a vote needs at least one sample")
    return [_won(keys, correct, k) for keys, correct in zip(keys_by_problem, correct_keys, strict=True)]


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The probability that k of n samples hold a correct one: 1 - C(n-c, k)/C(n, k) (Chen et al., 2021).

    Raises ValueError unless 1 <= k <= n and 0 <= correct <= n.
    """
    if not (1 <= k <= n and 0 <= correct <= n):
        raise ValueError(f"pass@{k} of {n} samples with {correct} correct is not defined")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def _won(keys: Sequence[str | None], correct: Set[str], k: int) -> float:
    if len(keys) <= k:
        return float(majority(keys) in correct)
    votes = Counter(key for key in keys if key is not None)
    silent = len(keys) - votes.total()
    total = 0.0
    for key in correct & votes.keys():
        others = tuple(sorted(count for other, count in votes.items() if other != key))
        total += _class_wins(votes[key], others, silent, k)
    return min(1.0, total)


@lru_cache(maxsize=4096)
def _class_wins(own: int, others: tuple[int, ...], silent: int, k: int) -> float:
    """P(a class of ``own`` samples wins among k of all samples), ties shared equally.

    Sums over m, its own votes in the draw, and over the number of other classes that also have m. Counts of a draw
    without replacement are independent binomials conditioned on their sum, so every factor is a binomial
    probability with p = k/n: stable for any n, no huge binomial coefficients.
    """
    n = own + sum(others) + silent
    p = k / n
    mine = _binomial(own, p)
    whole = float(_binomial(n, p)[k])
    won = 0.0
    for m in range(1, min(own, k) + 1):
        rivals = [count for count in others if count >= m]
        at_most = float(mine[m]) * math.prod(float(_up_to(count, p)[m]) for count in rivals) / whole
        if at_most < _NEGLIGIBLE:
            continue
        free = n - own - sum(rivals)  # cannot reach m votes, or have none: they only fill the draw
        won += float(mine[m]) * _outcomes(rivals, free, m, k - m, p)
    return won / whole


def _outcomes(rivals: Sequence[int], free: int, m: int, rest: int, p: float) -> float:
    """Sum over t of P(rivals and free fill ``rest`` places, no rival above m votes, t of them at m) / (t + 1)."""
    most = min(rest // m, len(rivals))  # rivals that can have m votes
    table = np.zeros((most + 1, rest + 1))  # [rivals at m votes, places filled]
    table[0, 0] = 1.0
    for number, count in enumerate(rivals):
        chance = _binomial(count, p)
        tied = min(number, most) + 1  # rows in use: at most `number` rivals are at m so far
        before = table[:tied]
        after = np.zeros_like(table)
        for votes in range(min(m - 1, rest) + 1):
            after[:tied, votes:] += chance[votes] * before[:, : rest + 1 - votes]
        if m <= rest:
            shifted = chance[m] * before[:most, : rest + 1 - m]
            after[1 : len(shifted) + 1, m:] += shifted
        table = after
    fill = np.zeros(rest + 1)
    chance = _binomial(free, p)[: rest + 1]
    fill[: len(chance)] = chance
    share = 1.0 / np.arange(1, most + 2)
    return float(share @ (table @ fill[::-1]))


@lru_cache(maxsize=4096)
def _binomial(n: int, p: float) -> Vector:
    """P(X = i) for X ~ Binomial(n, p), i = 0..n; 0 < p < 1."""
    i = np.arange(n + 1)
    factorial = np.array([math.lgamma(j + 1) for j in range(n + 1)])
    logs = factorial[n] - factorial[i] - factorial[n - i] + i * math.log(p) + (n - i) * math.log1p(-p)
    return np.asarray(np.exp(logs), dtype=np.float64)


@lru_cache(maxsize=4096)
def _up_to(n: int, p: float) -> Vector:
    """P(X <= i) for X ~ Binomial(n, p), i = 0..n."""
    return np.cumsum(_binomial(n, p))

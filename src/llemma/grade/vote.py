"""Votes over sampled answers: who wins, and what a vote of k is worth, out of the n >= k samples at hand.

``classes`` puts answers into classes of equal ones; every function after it works on classes, which may be any
hashable names: those of ``classes``, or canonical keys where equal answers always have equal keys. ``None`` is a
sample without a readable answer: it takes its place in a draw of k, but has no vote, and a problem where nobody votes
is lost. Ties go to the class seen first. The paper votes in this way with k = 16, 100 and 256 (Llemma, table 2).

For k < n the draw is k of the n samples, in random order. ``maj_at_k``, ``best_at_k`` and ``pass_at_k`` are exact
expectations over all draws. A weighted vote has no short formula: ``weighted_maj_at_k`` lists all draws while they
are few, and ``resampled_maj_at_k`` draws at random, by a seed, and says how sure it is.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

H = TypeVar("H", bound=Hashable)
Vector = NDArray[np.float64]

MOST_DRAWS = 400_000  # that weighted_maj_at_k lists for one problem: about a second
_NEGLIGIBLE = 1e-14  # terms that cannot matter beside the rounding of the sum
_EQUAL = 1.0 - 1e-12  # sums of weights this close are a tie: 0.1 + 0.2 and 0.3
_CELLS = 2_000_000  # numbers in one block of resampling: 16 MB, whatever the number of draws
_Z95 = 1.959963984540054  # the 97.5 % point of the standard normal distribution


def classes(
    answers: Sequence[str | None],
    *,
    key: Callable[[str], str | None],
    same: Callable[[str, str], bool],
    most: int = 10_000,
) -> list[int | None]:
    """The class of each answer, numbered 0, 1, … in order of first sight; ``None`` where there is no vote.

    Equal keys are one class without a question; ``same`` is asked, once at most, about two answers of different keys.
    It need not be transitive: a grader rightly lets ``1, 2`` pass for the pair ``(1, 2)`` and for the interval
    ``[1, 2]``, which are not equal. So a key joins a class only if it is the same as every key there, and no class
    holds two answers that ``same`` tells apart. Keys with more votes come first, and each joins the first class that
    takes it. The order of the samples therefore changes nothing but the numbers of the classes.

    At most ``most`` questions are asked, about the keys with most votes first: 256 answers without sense must not cost
    32,640 proofs. Keys beyond that stay alone.
    """
    seen = Counter(answer for answer in answers if answer is not None)
    keys = {answer: key(answer) for answer in seen}
    shown: dict[str, str] = {}  # the most frequent answer of each key speaks for it
    votes: Counter[str] = Counter()
    for answer in sorted(seen, key=lambda answer: (-seen[answer], answer)):
        name = keys[answer]
        if name is not None:
            shown.setdefault(name, answer)
            votes[name] += seen[answer]
    asked = itertools.count(1)

    def alike(one: str, other: str) -> bool:
        return next(asked) <= most and same(shown[one], shown[other])

    found: list[list[str]] = []  # the keys of each class
    home: dict[str, int] = {}
    for name in sorted(votes, key=lambda name: (-votes[name], name)):
        taken = (i for i, members in enumerate(found) if all(alike(member, name) for member in members))
        home[name] = next(taken, len(found))
        if home[name] == len(found):
            found.append([])
        found[home[name]].append(name)
    numbers: dict[int, int] = {}
    names = [None if answer is None else keys[answer] for answer in answers]
    return [None if name is None else numbers.setdefault(home[name], len(numbers)) for name in names]


def majority(keys: Sequence[H | None]) -> H | None:
    """The class with most votes, the one seen first among equals; ``None`` when nobody votes."""
    votes = Counter(key for key in keys if key is not None)  # keeps the order of first sight
    return max(votes, key=votes.__getitem__, default=None)


def weighted_majority(keys: Sequence[H | None], weights: Sequence[float]) -> H | None:
    """The class whose weights have the largest sum, the one seen first among equals; ``None`` when nobody votes.

    Weights are at least 0: probabilities of a verifier (Li et al., 2023, DiVeRSe, and Uesato et al., 2022, vote
    by their sum) or ``likelihoods``. Scores that may be negative would turn more votes into less: give their
    sigmoid or exponential. Raises ValueError for a weight that is negative or not a finite number.
    """
    _check_weights(weights)
    sums = {key: math.fsum(given) for key, given in _by_class(keys, weights).items()}
    best = max(sums.values(), default=0.0)
    return next((key for key, total in sums.items() if total >= best * _EQUAL), None)


def best_of(keys: Sequence[H | None], scores: Sequence[float]) -> H | None:
    """The class of the sample with the highest score (best-of-n), the first seen among equals.

    Only samples with a readable answer stand for election; ``None`` when there is none. Cobbe et al. (2021) choose
    so among 100 samples. Scores may be any finite numbers. Raises ValueError for others.
    """
    _check_scores(scores)
    standing = [(score, key) for key, score in zip(keys, scores, strict=True) if key is not None]
    return max(standing, key=lambda pair: pair[0])[1] if standing else None  # max: the first among equals


def likelihoods(logprobs: Sequence[float], tokens: Sequence[int], *, per_token: bool = True) -> list[float]:
    """Weights for a vote out of log-probabilities (sums over a completion's tokens, in nats); they add up to 1.

    ``per_token``: the exponential of the mean over the tokens, the length-normalised weight of Wang et al. (2023,
    Self-Consistency, equation 1). It is the default because the probability of a whole completion shrinks
    exponentially with its length, so one short sample outweighs all others; in their table 1 votes by it lose
    to the plain vote, and votes by the normalised one are level with it. A completion of no tokens weighs as one of
    one token. A vote does not change with the common factor that makes the sum 1; it keeps exponentials in range.
    """
    if not all(math.isfinite(value) for value in logprobs):
        raise ValueError("a log-probability is not a finite number")
    each = [lp / max(n, 1) if per_token else lp for lp, n in zip(logprobs, tokens, strict=True)]
    top = max(each, default=0.0)
    weights = [math.exp(value - top) for value in each]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def maj_at_k(keys_by_problem: Sequence[Sequence[H | None]], correct_keys: Sequence[Set[H]], k: int) -> list[float]:
    """For each problem the probability that a vote among ``k`` of its samples is won by a correct class.

    With k samples (or fewer) at hand it is the one vote that was held: 0 or 1, ties to the answer seen first. With
    more it is the exact expectation over all draws of k of them in random order; by symmetry an answer that ties
    with t - 1 others is then seen first once in t. No resampling, hence no seed. Raises ValueError for k < 1.
    """
    _check_k(k)
    return [_won(keys, correct, k) for keys, correct in zip(keys_by_problem, correct_keys, strict=True)]


def best_at_k(
    keys_by_problem: Sequence[Sequence[H | None]],
    scores_by_problem: Sequence[Sequence[float]],
    correct_keys: Sequence[Set[H]],
    k: int,
) -> list[float]:
    """For each problem the probability that ``best_of`` among ``k`` of its samples is correct, exactly.

    With k samples (or fewer) at hand, the one choice that was made. Raises ValueError for k < 1 and for scores that
    are not finite numbers.
    """
    _check_k(k)
    problems = zip(keys_by_problem, scores_by_problem, correct_keys, strict=True)
    return [_chosen(keys, scores, correct, k) for keys, scores, correct in problems]


def weighted_maj_at_k(
    keys_by_problem: Sequence[Sequence[H | None]],
    weights_by_problem: Sequence[Sequence[float]],
    correct_keys: Sequence[Set[H]],
    k: int,
) -> list[float]:
    """For each problem the probability that ``weighted_majority`` among ``k`` of its samples is correct, exactly.

    All draws are listed, so C(n, k) must be at most ``MOST_DRAWS``; ``resampled_maj_at_k`` is for more. With k
    samples (or fewer) at hand it is the one vote that was held. Raises ValueError for k < 1, for too many draws, and
    for a weight that is negative or not a finite number.
    """
    _check_k(k)
    problems = zip(keys_by_problem, weights_by_problem, correct_keys, strict=True)
    return [_weighted_won(keys, weights, correct, k) for keys, weights, correct in problems]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """An expectation over draws, estimated from ``draws`` of them per problem.

    ``values``: the share of won votes of each problem. ``value``: their mean. ``low`` to ``high``: the 95 % interval
    of the exact expectation for these samples. It narrows with more draws and says nothing about other problems;
    for that, give ``values`` to ``llemma.evaluate.stats.metric`` as any score of one value per problem.
    """

    values: tuple[float, ...]
    value: float
    low: float
    high: float
    draws: int


def resampled_maj_at_k(
    keys_by_problem: Sequence[Sequence[H | None]],
    correct_keys: Sequence[Set[H]],
    k: int,
    *,
    weights_by_problem: Sequence[Sequence[float]] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Resampled:
    """maj@k, weighted or not, from random draws of ``k`` of each problem's samples in random order.

    With k samples (or fewer) at hand it is the one vote that was held, without doubt. The same seed gives the same
    result; memory does not grow with ``draws``. Raises ValueError for k or ``draws`` below 1 and for a weight that is
    negative or not a finite number.
    """
    _check_k(k)
    if draws < 1:
        raise ValueError(f"draws={draws}: at least one is needed")
    given = weights_by_problem if weights_by_problem is not None else [[1.0] * len(keys) for keys in keys_by_problem]
    values: list[float] = []
    variance = 0.0  # of the mean, times the square of the number of problems
    for index, (keys, weights, correct) in enumerate(zip(keys_by_problem, given, correct_keys, strict=True)):
        _check_weights(weights)
        if len(keys) <= k:
            values.append(float(weighted_majority(keys, weights) in correct))
            continue
        won = _count_won(keys, weights, correct, k, draws, np.random.default_rng((seed, index)))
        values.append(won / draws)
        smoothed = (won + 0.5) / (draws + 1)  # Jeffreys' prior: no interval without width after a few equal draws
        variance += smoothed * (1 - smoothed) / draws
    n = max(len(values), 1)
    value, half = math.fsum(values) / n, _Z95 * math.sqrt(variance) / n
    return Resampled(
        values=tuple(values), value=value, low=max(0.0, value - half), high=min(1.0, value + half), draws=draws
    )


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The probability that k of n samples hold a correct one: 1 - C(n-c, k)/C(n, k) (Chen et al., 2021).

    Raises ValueError unless 1 <= k <= n and 0 <= correct <= n.
    """
    if not (1 <= k <= n and 0 <= correct <= n):
        raise ValueError(f"pass@{k} of {n} samples with {correct} correct is not defined")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def _check_k(k: int) -> None:
    if k < 1:
        raise ValueError(f"k={k}: a vote needs at least one sample")


def _check_scores(scores: Sequence[float]) -> None:
    for i, score in enumerate(scores):
        if not math.isfinite(score):
            raise ValueError(f"the score of sample {i} is {score}; scores must be finite numbers")


def _check_weights(weights: Sequence[float]) -> None:
    for i, weight in enumerate(weights):
        if not 0.0 <= weight < math.inf:
            raise ValueError(f"the weight of sample {i} is {weight}; weights must be finite and at least 0")


def _by_class(keys: Sequence[H | None], weights: Sequence[float]) -> dict[H, list[float]]:
    """The weights of each class, in order of first sight."""
    found: dict[H, list[float]] = {}
    for key, weight in zip(keys, weights, strict=True):
        if key is not None:
            found.setdefault(key, []).append(weight)
    return found


def _chosen(keys: Sequence[H | None], scores: Sequence[float], correct: Set[H], k: int) -> float:
    """The chance that the best of k is correct: by groups of equal scores, worst first.

    The best of the draw lies in a group when the draw has a sample of it and none better: C(m + g, k) - C(m, k) of
    the C(n, k) draws, with m samples worse than the group of g. Which of the group's drawn samples comes first is
    equally likely for all of them, so the share of correct ones in the group is the chance.
    """
    if len(keys) <= k:
        return float(best_of(keys, scores) in correct)
    _check_scores(scores)
    groups: dict[float, list[bool]] = {}
    for key, score in zip(keys, scores, strict=True):
        if key is not None:
            groups.setdefault(score, []).append(key in correct)
    below = sum(key is None for key in keys)
    won, draws = 0.0, math.comb(len(keys), k)
    for _, group in sorted(groups.items()):
        here = math.comb(below + len(group), k) - math.comb(below, k)
        won += here / draws * sum(group) / len(group)  # a quotient of whole numbers: no overflow
        below += len(group)
    return min(1.0, won)


def _weighted_won(keys: Sequence[H | None], weights: Sequence[float], correct: Set[H], k: int) -> float:
    """The share of draws that a correct class wins, draw by draw.

    Of tied classes the one seen first wins: the first of their samples in random order, so each class has as many
    chances as it has samples among theirs.
    """
    _check_weights(weights)
    if len(keys) <= k:
        return float(weighted_majority(keys, weights) in correct)
    draws = math.comb(len(keys), k)
    if draws > MOST_DRAWS:
        raise ValueError(
            f"there are {draws:.3g} draws of {k} of {len(keys)} samples; resampled_maj_at_k draws some at random"
        )
    won = 0.0
    for draw in itertools.combinations(range(len(keys)), k):
        found = _by_class([keys[i] for i in draw], [weights[i] for i in draw])
        sums = {key: math.fsum(given) for key, given in found.items()}
        best = max(sums.values(), default=0.0)
        tied = {key: len(found[key]) for key, total in sums.items() if total >= best * _EQUAL}
        if tied:
            won += sum(n for key, n in tied.items() if key in correct) / sum(tied.values())
    return won / draws


def _count_won(
    keys: Sequence[H | None],
    weights: Sequence[float],
    correct: Set[H],
    k: int,
    draws: int,
    random: np.random.Generator,
) -> int:
    """How many of ``draws`` random draws a correct class wins."""
    numbers: dict[H, int] = {}
    number = np.array([-1 if key is None else numbers.setdefault(key, len(numbers)) for key in keys])
    if not numbers:
        return 0
    right = np.array([key in correct for key in numbers])
    weight = np.asarray(weights, dtype=np.float64)
    block = max(1, _CELLS // max(len(keys), len(numbers)))
    won = 0
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        order = np.argsort(random.random((rows, len(keys))), axis=1)[:, :k]  # [rows, k]: samples, first seen first
        winner = _winners(number[order], weight[order], len(numbers))
        won += int(np.count_nonzero(right[winner] & (winner >= 0)))
    return won


def _winners(drawn: NDArray[np.int64], weight: Vector, count: int) -> NDArray[np.int64]:
    """The winning class of each row of class numbers ``drawn`` [rows, k] (-1: no vote); -1 where nobody votes."""
    rows, k = drawn.shape
    row, place = np.nonzero(drawn >= 0)
    cell = row * count + drawn[row, place]
    sums = np.bincount(cell, weight[row, place], minlength=rows * count).reshape(rows, count)
    seen = np.full(rows * count, k)  # the place where a class is first seen; k: not in the draw
    seen[cell[::-1]] = place[::-1]  # the last assignment stays: the first place
    seen = seen.reshape(rows, count)
    best = np.where(seen < k, sums, 0.0).max(axis=1, keepdims=True)
    tied = np.where((seen < k) & (sums >= best * _EQUAL), seen, k)
    winner = tied.argmin(axis=1)
    return np.where(tied.min(axis=1) < k, winner, -1)


def _won(keys: Sequence[H | None], correct: Set[H], k: int) -> float:
    if len(keys) <= k:
        return float(majority(keys) in correct)
    votes = Counter(key for key in keys if key is not None)
    silent = len(keys) - votes.total()
    total = 0.0
    for key in votes:
        if key in correct:
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

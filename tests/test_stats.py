"""Intervals: against closed forms, published numbers and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llemma.evaluate.stats import Z95, bootstrap, mcnemar, metric, paired, wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (480, 1319), (900, 5000)])
def test_wilson_ends_solve_the_score_equation(successes: int, n: int) -> None:
    # the ends are the p where |successes/n - p| is exactly z standard errors *of p*: roots of a quadratic
    a, b, c = 1 + Z95**2 / n, -(2 * successes / n + Z95**2 / n), (successes / n) ** 2
    low, high = sorted(np.roots([a, b, c]).real)
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-9)


def test_wilson_of_nothing_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="successes"):
        wilson(3, 2)


def test_wilson_as_published() -> None:
    # Newcombe (1998), table I, score method without continuity correction: 81/263, 15/148, 0/20, 1/29
    table = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    for successes, n, low, high in table:
        assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    for p in (0.05, 0.36, 0.5):
        ends = {s: wilson(int(s), 200) for s in range(201)}
        hits = [ends[s].low <= p <= ends[s].high for s in rng.binomial(200, p, 20_000)]
        assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_bootstrap_has_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(2).random(1000)
    low, high = bootstrap(values.tolist())
    assert (high - low) / 2 == pytest.approx(Z95 * values.std() / math.sqrt(1000), rel=0.05)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=2e-3)


def test_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(1000):
        low, high = bootstrap((rng.binomial(4, 0.3, 150) / 4).tolist(), seed=seed, resamples=1000)
        hits += low <= 0.3 <= high
    assert 0.93 <= hits / 1000 <= 0.97


def test_bootstrap_is_a_function_of_values_and_seed() -> None:
    values = [0.0, 0.25, 0.5, 1.0] * 10
    assert bootstrap(values) == bootstrap(values[::-1])
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)
    assert bootstrap([]) == (0.0, 1.0)


def test_zero_one_values_get_wilson_and_others_the_bootstrap() -> None:
    plain = metric("accuracy", [1.0, 0.0, 1.0, 1.0])
    assert (plain.value, plain.n) == (0.75, 4)
    assert (plain.low, plain.high) == wilson(3, 4)
    shares = [0.5, 0.25, 1.0, 0.0]
    mixed = metric("accuracy", shares, seed=5)
    assert (mixed.low, mixed.high) == bootstrap(shares, seed=5)
    assert mixed.low <= mixed.value <= mixed.high


def test_no_problems_are_no_score() -> None:
    empty = metric("accuracy", [])
    assert (empty.value, empty.low, empty.high, empty.n) == (0.0, 0.0, 1.0, 0)


def test_many_distinct_values_are_resampled_as_few_are() -> None:
    values = np.random.default_rng(4).random(400)
    rounded = np.round(values * 60) / 60  # 61 values: the other way of drawing
    one, other = bootstrap(values.tolist(), seed=1), bootstrap(rounded.tolist(), seed=1)
    assert one == pytest.approx(other, abs=5e-3)
    assert bootstrap(values.tolist(), seed=1) == bootstrap(sorted(values.tolist()), seed=1)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (1, 1, 1.0), (0, 5, 0.0625), (5, 0, 0.0625), (2, 8, 0.109375), (10, 20, 0.0987369), (3, 3, 1.0)],
)
def test_mcnemar_is_the_exact_binomial_test(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p, rel=1e-5)


def test_mcnemar_holds_for_thousands() -> None:
    assert mcnemar(4000, 4000) == pytest.approx(1.0)
    assert 0 < mcnemar(4000, 4500) < 1e-7


def test_a_paired_difference_knows_what_only_one_run_solved() -> None:
    found = paired([1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0])
    assert (found.value, found.n, found.only_first, found.only_second) == (0.25, 4, 1, 2)
    assert found.p == mcnemar(1, 2) and found.low <= found.value <= found.high
    shares = paired([0.5, 0.25], [0.75, 0.25])
    assert (shares.only_first, shares.only_second, shares.p) == (None, None, None) and shares.value == 0.125
    with pytest.raises(ValueError, match="same problems"):
        paired([1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match="same problems"):
        paired([], [])


def test_pairing_narrows_the_interval_of_runs_that_agree() -> None:
    rng = np.random.default_rng(6)
    first = rng.random(500) < 0.5
    second = first ^ (rng.random(500) < 0.04)
    found = paired(first.astype(float).tolist(), second.astype(float).tolist())
    apart = wilson(int(first.sum()), 500)
    assert found.high - found.low < 0.6 * (apart.high - apart.low)


def test_a_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(7), 0
    for seed in range(300):
        first = rng.random(200) < 0.5
        second = np.where(rng.random(200) < 0.2, rng.random(200) < 0.7, first)
        found = paired(first.astype(float).tolist(), second.astype(float).tolist(), seed=seed)
        hits += found.low <= 0.2 * (0.7 - 0.5) <= found.high
    assert 0.91 <= hits / 300 <= 0.98

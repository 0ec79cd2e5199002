"""Majority votes, their expectation over draws, and pass@k."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llemma.grade.vote import maj_at_k, majority, pass_at_k


@pytest.mark.parametrize(
    ("keys", "winner"),
    [
        (["1", "2", "2"], "2"),
        (["1", "2"], "1"),
        (["2", "1", "1", "2"], "2"),
        ([None, None, "3"], "3"),
        ([None, None], None),
        ([], None),
    ],
)
def test_majority(keys: list[str | None], winner: str | None) -> None:
    assert majority(keys) == winner


def test_all_invalid_votes_lose() -> None:
    assert maj_at_k([[None, None], [None, None]], [set(), {"1"}], 2) == [0.0, 0.0]
    assert maj_at_k([[None, None, None]], [{"1"}], 2) == [0.0]


def test_one_vote_is_as_good_as_the_share_of_correct_samples() -> None:
    assert maj_at_k([["1", "2", "1", None]], [{"1"}], 1)[0] == pytest.approx(0.5)


def test_all_samples_are_one_vote_with_ties_to_the_first() -> None:
    assert maj_at_k([["1", "2"], ["2", "1"]], [{"1"}, {"1"}], 2) == [1.0, 0.0]


def test_two_of_three_by_hand() -> None:
    # draws: {1,1} won, {1,2} twice: seen first in half of the orders
    assert maj_at_k([["1", "1", "2"]], [{"1"}], 2)[0] == pytest.approx(1 / 3 + 2 / 3 / 2)


def by_enumeration(keys: list[str | None], correct: set[str], k: int) -> float:
    """Every ordered draw, one by one."""
    draws = list(itertools.permutations(range(len(keys)), k))
    return sum(majority([keys[i] for i in draw]) in correct for draw in draws) / len(draws)


@given(
    st.lists(st.sampled_from(["1", "2", "3", None]), min_size=2, max_size=6),
    st.sets(st.sampled_from(["1", "2", "3"])),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_expectation_is_that_of_all_ordered_draws(
    keys: list[str | None], correct: set[str], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(keys) - 1))
    assert maj_at_k([keys], [correct], k)[0] == pytest.approx(by_enumeration(keys, correct, k), abs=1e-12)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=20, max_size=300), st.integers(1, 19))
@settings(max_examples=40, deadline=None)
def test_some_answer_wins_every_vote(keys: list[str], k: int) -> None:
    total = sum(maj_at_k([keys], [{key}], k)[0] for key in Counter(keys))
    assert total == pytest.approx(1.0, abs=1e-9)


def test_large_votes_neither_overflow_nor_drag() -> None:
    keys = ["right"] * 1200 + ["wrong"] * 900 + [None] * 900
    # the lead of "right" in a draw of 256 of 3000 is nearly normal: mean 256 (0.4 - 0.3), variance with the finite
    # population factor (3000 - 256)/2999
    mean, variance = 256 * 0.1, 256 * (0.7 - 0.1**2) * (3000 - 256) / 2999
    expected = 0.5 * (1 + math.erf(mean / math.sqrt(2 * variance)))
    assert maj_at_k([keys], [{"right"}], 256)[0] == pytest.approx(expected, abs=1e-3)


def test_fewer_samples_than_k_vote_with_what_they_are() -> None:
    assert maj_at_k([["1"], ["2", "1", "1"]], [{"1"}, {"1"}], 3) == [1.0, 1.0]


def test_k_must_be_positive() -> None:
    with pytest.raises(ValueError, match="k=0"):
        maj_at_k([["1"]], [{"1"}], 0)


@given(st.integers(1, 8), st.data())
@settings(deadline=None)
def test_pass_at_k_is_the_share_of_draws_with_a_correct_sample(n: int, data: st.DataObject) -> None:
    correct, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations(range(n), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(min(draw) < correct for draw in draws) / len(draws))


def test_pass_at_k_of_many_samples_is_finite() -> None:
    assert math.isclose(pass_at_k(10_000, 1, 5_000), 0.5)
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(3, 4, 1)

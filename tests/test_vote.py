"""Classes of equal answers, votes of every kind, their expectation over draws, and pass@k."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llemma.grade import vote
from llemma.grade.vote import (
    best_at_k,
    best_of,
    classes,
    likelihoods,
    maj_at_k,
    majority,
    pass_at_k,
    resampled_maj_at_k,
    weighted_maj_at_k,
    weighted_majority,
)

# --- classes of equal answers: an answer is here VALUE:SPELLING, its key the whole text, equal values are equal


def value(answer: str) -> str:
    return answer.partition(":")[0]


def equal(one: str, other: str) -> bool:
    return value(one) == value(other)


def spelled(answer: str) -> str | None:
    return None if answer.startswith("?") else answer


ANSWERS = st.lists(st.sampled_from(["1:a", "1:b", "1:c", "2:a", "2:b", "3:a", "?", None]), max_size=12)


def test_equal_keys_are_one_class_without_a_question():
    def never(one: str, other: str) -> bool:
        raise AssertionError(f"asked about {one} and {other}")

    answers = ["0.5", "1/2", None, "?"]
    assert classes(answers, key=lambda a: None if a == "?" else "1/2", same=never) == [0, 0, None, None]
    assert classes([], key=spelled, same=never) == []


def test_no_class_holds_answers_that_are_told_apart():
    def same(one: str, other: str) -> bool:  # as a grader does: a bare list passes for a pair and for an interval
        return "1,2" in (one, other)

    for answers, expected in (
        (["1,2", "(1,2)", "[1,2]"], [0, 0, 1]),
        (["[1,2]", "(1,2)", "1,2"], [0, 1, 1]),
        (["[1,2]", "(1,2)", "1,2", "[1,2]"], [0, 1, 0, 0]),
        (["1,2", "1,2", "(1,2)", "[1,2]", "[1,2]"], [0, 0, 1, 0, 0]),
    ):
        assert classes(answers, key=str, same=same) == expected


@given(ANSWERS)
def test_classes_are_those_of_the_values_numbered_by_first_sight(answers: list[str | None]):
    found = classes(answers, key=spelled, same=equal)
    order: dict[str, int] = {}
    for answer, number in zip(answers, found, strict=True):
        votes = answer is not None and spelled(answer) is not None
        assert number == (order.setdefault(value(answer), len(order)) if votes else None)


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_change_the_winners_votes(answers: list[str | None], shuffler: random.Random):
    def held(answers: list[str | None]) -> int:
        found = classes(answers, key=spelled, same=equal)
        return Counter(found)[majority(found)] if majority(found) is not None else 0

    shuffled = list(answers)
    shuffler.shuffle(shuffled)
    assert held(answers) == held(shuffled)


@given(
    st.lists(st.sampled_from("abcdef"), max_size=10),
    st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef"))),
    st.randoms(use_true_random=False),
)
def test_classes_stay_the_same_and_sound_when_equality_is_not_transitive(
    answers: list[str], known: set[tuple[str, str]], shuffler: random.Random
):
    def same(one: str, other: str) -> bool:
        return (one, other) in known or (other, one) in known

    def groups(order: list[int]) -> set[frozenset[int]]:
        found = classes([answers[i] for i in order], key=str, same=same)
        return {frozenset(i for i, c in zip(order, found, strict=True) if c == number) for number in set(found)}

    order = list(range(len(answers)))
    before = groups(order)
    for group in before:
        members = {answers[i] for i in group}
        assert all(same(one, other) for one, other in itertools.combinations(members, 2))
    shuffler.shuffle(order)
    assert groups(order) == before


def test_keys_and_questions_are_few():
    keyed: list[str] = []
    asked: list[tuple[str, str]] = []

    def key(answer: str) -> str:
        keyed.append(answer)
        return answer

    def same(one: str, other: str) -> bool:
        asked.append((one, other))
        return equal(one, other)

    answers = ["1:a", "1:b", "2:a", "1:c"] * 64
    assert classes(answers, key=key, same=same) == [0, 0, 1, 0] * 64
    assert sorted(keyed) == ["1:a", "1:b", "1:c", "2:a"]
    assert len(asked) <= 6


def test_answers_without_sense_cost_a_bounded_number_of_questions():
    asked = []

    def same(one: str, other: str) -> bool:
        asked.append((one, other))
        return {one, other} == {"good", "well"}

    nonsense = [f"x{i}" for i in range(300)]
    found = classes([*nonsense, *["good", "well"] * 2], key=str, same=same, most=1000)
    assert len(asked) == 1000
    assert found[-4:] == [300] * 4, "what has most votes is asked about first"
    assert len(set(found)) == 301


# --- the plain vote


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


@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=8))
def test_the_winner_has_most_votes_and_was_seen_first_among_equals(keys: list[str | None]) -> None:
    winner = majority(keys)
    votes = Counter(key for key in keys if key is not None)
    if winner is None:
        assert not votes
    else:
        assert votes[winner] == max(votes.values())
        assert winner == next(key for key in keys if key is not None and votes[key] == votes[winner])


# --- votes with weights


@pytest.mark.parametrize(
    ("keys", "weights", "winner"),
    [
        (["1", "2", "2"], [0.9, 0.3, 0.3], "1"),
        (["1", "2", "2"], [0.5, 0.3, 0.3], "2"),
        (["1", "2", "2"], [0.3, 0.1, 0.2], "1"),  # 0.1 + 0.2 ties with 0.3
        (["2", "1", "2"], [0.1, 0.3, 0.2], "2"),
        (["1", "2"], [0.0, 0.0], "1"),
        ([None, "2"], [9.0, 0.1], "2"),
        ([None, None], [1.0, 1.0], None),
        ([], [], None),
    ],
)
def test_weighted_majority(keys: list[str | None], weights: list[float], winner: str | None) -> None:
    assert weighted_majority(keys, weights) == winner


@given(st.lists(st.sampled_from(["1", "2", "3", None]), max_size=9), st.sampled_from([1.0, 0.1, 1 / 3, 7.0]))
def test_equal_weights_are_the_plain_vote(keys: list[str | None], weight: float) -> None:
    assert weighted_majority(keys, [weight] * len(keys)) == majority(keys)


@pytest.mark.parametrize(
    ("keys", "scores", "winner"),
    [
        (["1", "2", "2"], [-1.0, -3.0, -2.0], "1"),
        (["1", "2"], [5.0, 5.0], "1"),
        ([None, "2", "1"], [9.0, 0.0, -1.0], "2"),
        ([None], [1.0], None),
        ([], [], None),
    ],
)
def test_best_of(keys: list[str | None], scores: list[float], winner: str | None) -> None:
    assert best_of(keys, scores) == winner


def test_likelihoods_are_those_of_the_mean_token_or_of_the_whole_text() -> None:
    assert likelihoods([-1.0, -4.0], [1, 4]) == pytest.approx([0.5, 0.5])
    assert likelihoods([-1.0, -4.0], [1, 4], per_token=False) == pytest.approx(
        [1 / (1 + math.exp(-3)), 1 / (1 + math.exp(3))]
    )
    assert likelihoods([-2.0, -2.0 - 2 * math.log(3)], [2, 2]) == pytest.approx([0.75, 0.25])
    assert likelihoods([-90_000.0, -90_000.0], [1, 1], per_token=False) == [0.5, 0.5]  # exp of each would be 0
    assert likelihoods([0.0], [0]) == [1.0]
    assert likelihoods([], []) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: weighted_majority(["1"], [-0.1]),
        lambda: weighted_majority(["1"], [math.nan]),
        lambda: weighted_majority(["1"], [math.inf]),
        lambda: weighted_maj_at_k([["1", "2"]], [[1.0, -1.0]], [{"1"}], 1),
        lambda: resampled_maj_at_k([["1", "2"]], [{"1"}], 1, weights_by_problem=[[1.0, -1.0]]),
        lambda: best_of(["1"], [math.nan]),
        lambda: best_at_k([["1", "2"]], [[0.0, math.inf]], [{"1"}], 1),
        lambda: likelihoods([-math.inf], [3]),
    ],
)
def test_a_weight_or_score_that_is_no_number_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="finite"):
        wrong()


def test_every_sample_has_a_weight() -> None:
    with pytest.raises(ValueError, match="zip"):
        weighted_majority(["1", "2"], [1.0])
    with pytest.raises(ValueError, match="zip"):
        maj_at_k([["1"]], [], 1)


Choice = Callable[[Sequence[str | None], Sequence[float]], str | None]


def expected(choose: Choice, keys: list[str | None], weights: list[float], correct: set[str], k: int) -> float:
    """Every ordered draw, one by one."""
    draws = list(itertools.permutations(range(len(keys)), k))
    return sum(choose([keys[i] for i in draw], [weights[i] for i in draw]) in correct for draw in draws) / len(draws)


SAMPLES = st.lists(
    st.tuples(st.sampled_from(["1", "2", "3", None]), st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0])),
    min_size=2,
    max_size=6,
)


@given(SAMPLES, st.sets(st.sampled_from(["1", "2", "3"])), st.data())
@settings(max_examples=100)
def test_weighted_and_best_expectations_are_those_of_all_ordered_draws(
    samples: list[tuple[str | None, float]], correct: set[str], data: st.DataObject
) -> None:
    keys, weights = [key for key, _ in samples], [weight for _, weight in samples]
    k = data.draw(st.integers(1, len(keys)))
    if k == len(keys):  # the one vote that was held, in the order of the samples
        assert weighted_maj_at_k([keys], [weights], [correct], k) == [weighted_majority(keys, weights) in correct]
        assert best_at_k([keys], [weights], [correct], k) == [best_of(keys, weights) in correct]
        return
    by_weight = expected(weighted_majority, keys, weights, correct, k)
    assert weighted_maj_at_k([keys], [weights], [correct], k)[0] == pytest.approx(by_weight, abs=1e-12)
    by_score = expected(best_of, keys, weights, correct, k)
    assert best_at_k([keys], [weights], [correct], k)[0] == pytest.approx(by_score, abs=1e-12)


@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=2, max_size=12), st.data())
@settings(max_examples=60)
def test_with_equal_weights_the_weighted_expectation_is_the_plain_one(
    keys: list[str | None], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(keys)))
    plain = maj_at_k([keys], [{"1"}], k)[0]
    assert weighted_maj_at_k([keys], [[0.1] * len(keys)], [{"1"}], k)[0] == pytest.approx(plain, abs=1e-9)


def test_best_of_many_samples_is_a_probability() -> None:
    keys = ["right", "wrong", None] * 1000
    scores = [1.0, 0.5, 2.0] * 1000
    assert best_at_k([keys], [scores], [{"right"}], 256)[0] == pytest.approx(1.0)
    assert best_at_k([keys], [scores], [{"wrong"}], 256)[0] == pytest.approx(0.0, abs=1e-12)
    assert best_at_k([[None] * 9], [[1.0] * 9], [{"right"}], 2) == [0.0]


def test_too_many_draws_to_list_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="resampled_maj_at_k"):
        weighted_maj_at_k([["1", "2"] * 128], [[1.0] * 256], [{"1"}], 128)


# --- draws at random


def some_problems(count: int, n: int, seed: int) -> tuple[list[list[str | None]], list[set[str]]]:
    """Problems of every difficulty, with answers that do not vote."""
    chance = random.Random(seed)
    problems = []
    for _ in range(count):
        right = chance.random()
        others = ["b", "c", "d", None]
        problems.append(["a" if chance.random() < right else chance.choice(others) for _ in range(n)])
    return problems, [{"a"}] * count


@pytest.mark.parametrize("k", [1, 2, 7, 16])
def test_random_draws_agree_with_the_exact_expectation(k: int) -> None:
    problems, correct = some_problems(12, 16, seed=k)
    exact = maj_at_k(problems, correct, k)
    found = resampled_maj_at_k(problems, correct, k, draws=4000, seed=1)
    assert found.values == pytest.approx(exact, abs=5 * math.sqrt(0.25 / 4000))
    assert abs(found.value - math.fsum(exact) / 12) <= found.high - found.low  # twice the interval's half
    assert (found.low, found.high) == (found.value, found.value) if k == 16 else found.low < found.value < found.high


def test_weighted_random_draws_agree_with_the_listed_ones() -> None:
    problems, correct = some_problems(8, 9, seed=3)
    chance = random.Random(4)
    weights = [[chance.choice([0.0, 0.1, 0.2, 0.3, 1.0]) for _ in keys] for keys in problems]
    exact = weighted_maj_at_k(problems, weights, correct, 4)
    found = resampled_maj_at_k(problems, correct, 4, weights_by_problem=weights, draws=4000)
    assert found.values == pytest.approx(exact, abs=5 * math.sqrt(0.25 / 4000))


def test_the_interval_holds_the_exact_value_about_95_times_in_a_hundred() -> None:
    problems, correct = some_problems(10, 12, seed=5)
    exact = math.fsum(maj_at_k(problems, correct, 5)) / 10
    found = [resampled_maj_at_k(problems, correct, 5, draws=100, seed=seed) for seed in range(400)]
    held = sum(one.low <= exact <= one.high for one in found) / len(found)
    assert 0.92 <= held <= 0.99  # 400 seeds: 0.95 has a standard error of 0.011; the smoothing errs on the wide side


def test_the_seed_decides_and_memory_does_not_grow_with_the_draws(monkeypatch) -> None:
    problems, correct = some_problems(5, 10, seed=6)
    one = resampled_maj_at_k(problems, correct, 3, draws=50, seed=7)
    assert one == resampled_maj_at_k(problems, correct, 3, draws=50, seed=7)
    assert one.values != resampled_maj_at_k(problems, correct, 3, draws=50, seed=8).values
    assert one.draws == 50
    shapes = []
    monkeypatch.setattr(vote, "_CELLS", 40)
    winners = vote._winners
    monkeypatch.setattr(vote, "_winners", lambda drawn, *rest: shapes.append(drawn.shape) or winners(drawn, *rest))
    assert resampled_maj_at_k(problems, correct, 3, draws=50, seed=7) == one, "blocks of draws are one stream of draws"
    assert max(rows for rows, _ in shapes) == 4


def test_no_votes_no_problems_no_draws() -> None:
    nobody = resampled_maj_at_k([[None] * 5], [{"1"}], 2, draws=20)
    assert nobody.values == (0.0,) and nobody.low == 0.0 < nobody.high < 0.2
    nothing = resampled_maj_at_k([], [], 2)
    assert (nothing.values, nothing.value) == ((), 0.0)
    with pytest.raises(ValueError, match="draws=0"):
        resampled_maj_at_k([["1", "2"]], [{"1"}], 1, draws=0)


def test_classes_of_any_hashable_kind_can_vote() -> None:
    keys: list[Hashable | None] = [0, None, (1, 2), (1, 2), 0]
    assert majority(keys) == 0
    assert maj_at_k([keys], [{(1, 2)}], 3) == [pytest.approx(0.5, abs=0.01)]


# --- bad k, and pass@k


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

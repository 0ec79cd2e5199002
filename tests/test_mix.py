"""Mixtures: shares and epochs, as the paper has them."""

from __future__ import annotations

import pytest

from llemma.config import build
from llemma.corpus.manifest import portions
from llemma.corpus.mix import mixture, shares
from llemma.corpus.recipe import CorpusConfig

# Azerbayev et al. 2023: 95 % Proof-Pile-2 with arXiv : web : code = 2 : 4 : 1, 2 % the Pile, 3 % code of GitHub.
WEIGHTS = {"arxiv": 2.0, "web": 4.0, "code": 1.0, "pile": 1.0, "github": 1.0}
FIXED = {"pile": 0.02, "github": 0.03}
TOKENS = {"arxiv": 29_000_000_000, "web": 15_000_000_000, "code": 11_000_000_000}


def test_the_mixture_of_the_paper():
    found = mixture(WEIGHTS, FIXED, TOKENS, 200_000_000_000)
    assert {n: round(p.epochs, 1) for n, p in found.items() if p.epochs} == {"arxiv": 1.9, "web": 7.2, "code": 2.5}
    assert {n: round(p.budget / 1e9) for n, p in found.items() if p.budget} == {
        "arxiv": 54, "web": 109, "code": 27, "pile": 4, "github": 6,
    }  # fmt: skip
    assert sum(p.share for p in found.values()) == pytest.approx(1)
    assert found["pile"].epochs is None  # its size is not known


def test_half_the_budget_is_half_the_epochs_and_none_has_none():
    whole, half = (mixture(WEIGHTS, FIXED, TOKENS, budget) for budget in (200, 100))
    assert all(half[n].epochs == pytest.approx(whole[n].epochs / 2) for n in TOKENS)
    assert all(p.epochs is p.budget is None for p in mixture(WEIGHTS, FIXED, TOKENS, 0).values())


def test_weights_alone_are_shares_by_proportion():
    assert shares({"a": 3, "b": 1, "c": 0}, {}) == {"a": 0.75, "b": 0.25, "c": 0}
    assert shares({"a": 1, "b": 1}, {"a": 1.0, "b": 0.0}) == {"a": 1.0, "b": 0.0}


BAD = [
    ({"a": 1.0, "b": 1.0}, {"a": 1.2}, "must lie in 0..1"),
    ({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 0.6, "b": 0.6}, "sum to at most 1, not 1.2"),
    ({"a": 1.0, "b": 1.0}, {"a": 1.0}, "leave nothing for those with weights"),
    ({"a": 0.0, "b": 0.0}, {}, "sum to something positive"),
    ({"a": 1.0, "b": 0.0}, {"a": 0.5}, "sum to something positive"),
]


@pytest.mark.parametrize(("weights", "fixed", "message"), BAD, ids=[message for _, _, message in BAD])
def test_shares_that_cannot_be_are_refused(weights, fixed, message):
    with pytest.raises(ValueError, match=message):
        shares(weights, fixed)


@pytest.mark.parametrize(
    ("entries", "there", "expected"),
    [
        ({"a": {"weight": 1}, "b": {"share": 0.02}, "c": {"share": 0.03}}, "bc", {"b": 0.4, "c": 0.6}),
        ({"a": {"weight": 1}, "b": {"weight": 0}, "c": {"share": 0.5}}, "bc", {"b": 0, "c": 1}),
        ({"a": {"share": 0.5}, "b": {"share": 0.5}}, "b", {"b": 1}),
        ({"a": {"weight": 1}, "b": {"weight": 0}}, "b", {}),
        ({"a": {"weight": 3}, "b": {"weight": 1}, "c": {"share": 0.2}}, "ac", {"a": 0.8, "c": 0.2}),
    ],
)
def test_sources_that_are_missing_leave_a_mixture_of_the_others(entries, there, expected):
    config = build(CorpusConfig, {"sources": entries, "train_tokens": 100})
    found = portions(config, {name: {"splits": {"tokens": {"train": 10}}} for name in there})
    assert {name: portion.share for name, portion in found.items()} == pytest.approx(expected)
    assert all(portion.epochs == pytest.approx(portion.share * 10) for portion in found.values())

"""Beam search against all continuations, enumerated without a cache."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from llemma.backends import Beam, open_backend
from llemma.models.beam import Beams, beam_search, tokens_of
from llemma.models.llama import Llama, LlamaConfig
from llemma.records import Sampling
from test_generate import lively
from tiny import save_tiny

VOCAB, END = 13, 0
CONFIG = LlamaConfig(
    vocab_size=VOCAB,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    tie_word_embeddings=False,
)
PROMPT = [5, 3, 8, 1]


@pytest.fixture(scope="module")
def model() -> Llama:
    return lively(CONFIG, 3)


def never(ids: Sequence[int]) -> bool:
    return False


@torch.no_grad()
def logprobs(model: Llama, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """(rows, tokens) log-probability of each token of equally long continuations, by one forward pass."""
    ids = torch.tensor([[*PROMPT, *row] for row in rows])
    found = model(ids)[:, len(PROMPT) - 1 : -1].log_softmax(-1)
    return found.gather(-1, ids[:, len(PROMPT) :, None])[..., 0]


def everything(model: Llama, length: int, ended=never) -> dict[tuple[int, ...], float]:
    """Every continuation that ends: by the end mark, by ``ended``, or by its length. Its log-probability per token."""
    rows = list(itertools.product(range(VOCAB), repeat=length))
    found = {}
    for row, each in zip(rows, logprobs(model, rows).tolist(), strict=True):
        n = next((n for n in range(1, length) if row[n - 1] == END or ended(row[:n])), length)
        found[row[:n]] = sum(each[:n]) / n
    return found


@pytest.mark.parametrize("ended", [never, lambda ids: ids[-1] == 4], ids=["no stop", "stop at 4"])
def test_beams_as_wide_as_the_tree_find_the_best_of_all_continuations(model, ended):
    scored = everything(model, 3, ended)
    best = sorted(scored, key=scored.__getitem__, reverse=True)[:20]
    made = beam_search(model, PROMPT, Beams(width=VOCAB**2, max_tokens=3, ended=ended, end_id=END))
    ids = [(*each.ids, END) if each.finish == "eos" else each.ids for each in made]
    assert ids[:20] == best
    for each, own in zip(made, ids, strict=True):
        assert each.logprob / tokens_of(each) == pytest.approx(scored[own], abs=1e-4)


def test_one_beam_without_an_end_is_greedy(model):
    (made,) = beam_search(model, PROMPT, Beams(width=1, max_tokens=12, ended=never))
    ids: list[int] = []
    for _ in range(12):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([[*PROMPT, *ids]]))[0, -1].argmax()))
    assert list(made.ids) == ids and made.finish == "length"


def test_narrow_beams_are_what_beam_search_without_a_cache_finds(model):
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for _ in range(6):
        rows = [(*ids, token) for ids, _ in beams for token in range(VOCAB)]
        longer = list(zip(rows, logprobs(model, rows).sum(-1).tolist(), strict=True))
        beams = sorted(longer, key=lambda beam: -beam[1])[:5]
    made = beam_search(model, PROMPT, Beams(width=5, max_tokens=6, ended=never))
    assert [each.ids for each in made] == [ids for ids, _ in beams]


def test_the_back_end_gives_distinct_texts_without_the_stop_string_and_the_same_ones_twice(tmp_path: Path):
    engine = open_backend(f"hf:{save_tiny(tmp_path / 'model')}")
    assert isinstance(engine, Beam)
    sampling = Sampling(max_tokens=12, stop=("1",))
    first, again = (engine.beam("3 + 4 =", 6, sampling) for _ in range(2))
    assert first == again and 1 <= len(first) <= 6
    assert all("1" not in each.text and each.logprob is not None and each.tokens for each in first)
    per_token = [each.logprob / each.tokens for each in first if each.logprob is not None]
    assert per_token == sorted(per_token, reverse=True)

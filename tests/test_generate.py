"""Our generation against ``transformers`` and against full forward passes without any cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llemma.backends import Request
from llemma.backends.hf import LlamaBackend, cut, stopper
from llemma.models import generate as engine
from llemma.models.checkpoint import save_model
from llemma.models.generate import Decoding, Generated, generate, sample, split_prefix
from llemma.models.llama import Llama, LlamaConfig
from llemma.records import Sampling
from llemma.tokens.tokenizer import Tokenizer, train_tokenizer

VOCAB, CONTEXT, END = 97, 160, 0
CONFIG = LlamaConfig(
    vocab_size=VOCAB,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=CONTEXT,
    tie_word_embeddings=False,
)
NEAR = 1e-4  # greedy tokens may differ where two logits are nearer than this


def lively(config: LlamaConfig, seed: int) -> Llama:
    """A random model that does not repeat one token for ever: its logits depend on all it has seen."""
    model = Llama(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.3
            parameter.copy_(noise + 1 if parameter.ndim == 1 else noise)
    return model.eval()


@pytest.fixture(scope="module", params=[4, 2, 1], ids=["heads 4:4", "heads 4:2", "heads 4:1"])
def model(request: pytest.FixtureRequest) -> Llama:
    return lively(replace(CONFIG, num_key_value_heads=request.param), request.param)


def prompts_of(lengths: Sequence[int], shared: int = 0, seed: int = 0) -> list[list[int]]:
    """Random prompts that have their first ``shared`` ids in common, then go on for ``lengths`` more."""
    rng = np.random.default_rng(seed)
    prefix = rng.integers(1, VOCAB, shared).tolist()
    return [[*prefix, 1 + i, *rng.integers(1, VOCAB, n - 1).tolist()] for i, n in enumerate(lengths)]


def never(row: int, token: int) -> bool:
    return False


def greedy(model: Llama, prompts: list[list[int]], max_tokens: int, end_id: int | None = None) -> list[Generated]:
    return generate(model, prompts, Decoding(max_tokens=max_tokens, end_id=end_id), never)


@torch.no_grad()
def scored(model: Llama, prompt: Sequence[int], ids: Sequence[int]) -> torch.Tensor:
    """(len(ids), vocab) logits that one full forward pass gives before each of ``ids``."""
    whole = model(torch.tensor([[*prompt, *ids]]))[0]
    return whole[len(prompt) - 1 : len(prompt) + len(ids) - 1].double()


def assert_greedy(model: Llama, prompt: Sequence[int], output: Generated, end_id: int | None = None) -> None:
    """Every token is the most probable one of a full forward pass, and the log-probability is its sum."""
    ids = [*output.ids, end_id] if output.finish == "eos" and end_id is not None else list(output.ids)
    logits = scored(model, prompt, ids)
    chosen = logits.gather(1, torch.tensor(ids)[:, None])[:, 0]
    assert (logits.max(-1).values - chosen).max() < NEAR
    total = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None]).sum().item()
    assert output.logprob == pytest.approx(total, abs=1e-4 * len(ids))


# Against transformers


def test_one_row_gives_the_ids_of_transformers(model: Llama, tmp_path: Path) -> None:
    import transformers

    save_model(model, tmp_path, end_id=None)
    other: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    for prompt in prompts_of([1, 2, 31, 32, 33, 90], seed=3):
        mask = torch.ones(1, len(prompt), dtype=torch.long)
        found = other.generate(
            torch.tensor([prompt]), attention_mask=mask, max_new_tokens=40, do_sample=False, pad_token_id=0
        )
        (output,) = greedy(model, [prompt], 40)
        assert found[0, len(prompt) :].tolist() == list(output.ids)
        assert len(set(output.ids)) > 5  # not one token for ever


# Against full forward passes


@pytest.mark.parametrize("shared", [0, 1, 70], ids=lambda n: f"prefix {n}")
@pytest.mark.parametrize("lengths", [(1, 1), (5, 1, 17, 40), (33, 32, 31), (2, 60)], ids=str)
def test_a_batch_of_ragged_prompts_is_greedy_at_every_step(model: Llama, shared: int, lengths: tuple[int, ...]) -> None:
    prompts = prompts_of(lengths, shared)
    outputs = greedy(model, prompts, 40)
    for prompt, output in zip(prompts, outputs, strict=True):
        assert len(output.ids) == 40 and output.finish == "length"
        assert_greedy(model, prompt, output)


def test_padding_without_a_prefix_is_never_nan(model: Llama) -> None:
    outputs = greedy(model, prompts_of([1, 100]), 3)
    assert all(np.isfinite(output.logprob) for output in outputs)


@pytest.mark.parametrize("shared", [0, 12])
def test_rows_that_finish_leave_the_others_alone(model: Llama, shared: int) -> None:
    """Rows stop after 1, 2, 3, ... tokens, so that the batch shrinks step by step."""
    prompts = prompts_of([3, 9, 4, 1, 7, 5, 2, 8, 6, 10], shared)
    counts = Counter[int]()

    def stopped(row: int, token: int) -> bool:
        counts[row] += 1
        return counts[row] == 3 * row + 1

    outputs = generate(model, prompts, Decoding(max_tokens=26), stopped)
    alone = [greedy(model, [prompt], 26)[0].ids for prompt in prompts]
    for row, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
        assert len(output.ids) == min(26, 3 * row + 1)
        assert output.finish == ("stop" if 3 * row + 1 <= 26 else "length")
        assert_greedy(model, prompt, output)
        assert output.ids == alone[row][: len(output.ids)]  # no near-tie among these


def test_the_cache_shrinks_with_the_batch(model: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    advance = engine._advance

    def watched(model: Llama, ids: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(len(ids))
        return advance(model, ids, *rest)

    monkeypatch.setattr(engine, "_advance", watched)
    generate(model, prompts_of([2] * 8), Decoding(max_tokens=6), lambda row, token: row < 6)
    assert seen == [8, 2, 2, 2, 2, 2]


def test_the_end_mark_ends_a_row_and_is_left_out(model: Llama) -> None:
    prompts = prompts_of([4, 6, 5])
    free = greedy(model, prompts, 20)
    end = free[0].ids[7]
    outputs = greedy(model, prompts, 20, end_id=end)
    for prompt, output, before in zip(prompts, outputs, free, strict=True):
        cut_at = before.ids.index(end) if end in before.ids else 20
        assert output.ids == before.ids[:cut_at]
        assert output.finish == ("eos" if cut_at < 20 else "length")
        assert_greedy(model, prompt, output, end)
    assert outputs[0].finish == "eos"


def test_equal_prompts_give_equal_rows(model: Llama) -> None:
    (prompt,) = prompts_of([9])
    outputs = greedy(model, [prompt] * 3, 12)
    assert outputs[0].ids == outputs[1].ids == outputs[2].ids == greedy(model, [prompt], 12)[0].ids


@pytest.mark.parametrize(
    ("prompts", "prefix"),
    [
        ([[1, 2, 3]], [1, 2]),
        ([[1, 2, 3], [1, 2, 4]], [1, 2]),
        ([[1, 2], [1, 2, 4]], [1]),
        ([[1, 2], [1, 2]], [1]),
        ([[1], [1, 2]], []),
        ([[3, 1], [2, 1]], []),
        ([(1, 2, 3), [1, 2, 4], (1, 2, 0, 9)], [1, 2]),
    ],
)
def test_the_shared_prefix_leaves_every_prompt_an_id(prompts: list[Sequence[int]], prefix: list[int]) -> None:
    found, rest = split_prefix(prompts)
    assert found == prefix
    assert [[*found, *r] for r in rest] == [list(p) for p in prompts]
    assert all(rest)


# Sampling


def nucleus(logits: torch.Tensor, top_p: float) -> np.ndarray:
    """The truncated distribution as Holtzman et al. define it, written out one token at a time."""
    p = logits.double().softmax(-1).numpy()
    kept, mass = np.zeros_like(p), 0.0
    for token in np.argsort(-p, kind="stable"):
        if mass >= top_p:
            break
        kept[token] = p[token]
        mass += p[token]
    return kept / kept.sum()


@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.7, 0.3, 1e-9])
def test_frequencies_follow_the_truncated_distribution(top_p: float) -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(8)) * 1.5
    draws = 40_000
    u = torch.from_numpy(np.random.default_rng(1).random(draws))
    found = np.bincount(sample(logits.expand(draws, -1), top_p, u).numpy(), minlength=40)
    expected = nucleus(logits, top_p) * draws
    assert found[expected == 0].sum() == 0
    inside = expected > 0
    chi2 = ((found[inside] - expected[inside]) ** 2 / expected[inside]).sum()
    freedom = max(1, inside.sum() - 1)
    assert chi2 < freedom + 5 * (2 * freedom) ** 0.5  # five standard deviations


def test_inversion_covers_each_token_for_exactly_its_share() -> None:
    logits = torch.randn(20, generator=torch.Generator().manual_seed(2)) * 2
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    for top_p in (1.0, 0.9, 0.5):
        found = np.bincount(sample(logits.expand(len(u), -1), top_p, u).numpy(), minlength=20) / len(u)
        assert np.abs(found - nucleus(logits, top_p)).max() < 2e-5


@pytest.mark.parametrize("u", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_stay_inside_the_nucleus(u: float) -> None:
    logits = torch.tensor([[0.0, 5.0, -float("inf"), 1.0]])
    for top_p in (1.0, 0.9, 0.1):
        token = int(sample(logits, top_p, torch.tensor([u], dtype=torch.float64)))
        assert nucleus(logits[0], top_p)[token] > 0


def test_rows_of_one_batch_do_not_see_each_other() -> None:
    flat, sharp = torch.zeros(10), torch.tensor([9.0] + [0.0] * 9)
    u = torch.full((2,), 0.95, dtype=torch.float64)
    both = sample(torch.stack((flat, sharp)), 0.9, u)
    assert both.tolist() == [int(sample(row[None], 0.9, u[:1])) for row in (flat, sharp)]


def test_among_equals_the_lower_ids_belong_to_the_nucleus() -> None:
    logits = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    u = (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000
    expected = nucleus(logits[0], 0.75)
    assert (expected > 0).tolist() == [True, True, True, True, False, False] or expected[4] == 0
    found = np.bincount(sample(logits.expand(len(u), -1), 0.75, u).numpy(), minlength=6) / len(u)
    assert ((found > 0) == (expected > 0)).all() and np.abs(found - expected).max() < 1e-3


def test_a_rows_text_depends_on_its_seed_alone(model: Llama) -> None:
    prompts = prompts_of([6, 3, 11, 8], shared=5)
    how = Decoding(max_tokens=24, temperature=1.0, top_p=0.95, seeds=[5, 6, 7, 8])
    together = generate(model, prompts, how, never)
    for i, prompt in enumerate(prompts):
        (alone,) = generate(model, [prompt], replace(how, seeds=[how.seeds[i]]), never)
        assert alone.ids == together[i].ids
        assert alone.logprob == pytest.approx(together[i].logprob, abs=1e-3)
    many = generate(model, [prompts[0]] * 5, replace(how, seeds=[1, 2, 5, 3, 4]), never)
    assert many[2].ids == together[0].ids
    assert len({output.ids for output in many}) == 5


def test_samples_of_several_prompts_are_those_of_each_alone(model: Llama) -> None:
    prompts = prompts_of([6, 3, 11], shared=5)
    rows = [prompt for prompt in prompts for _ in range(4)]
    how = Decoding(max_tokens=16, temperature=1.0, top_p=0.95, seeds=list(range(12)))
    together = generate(model, rows, how, never)
    for i, prompt in enumerate(rows):
        (alone,) = generate(model, [prompt], replace(how, seeds=[i]), never)
        assert alone.ids == together[i].ids
        assert alone.logprob == pytest.approx(together[i].logprob, abs=1e-3)


def test_logprob_is_at_temperature_one_and_over_the_whole_vocabulary(model: Llama) -> None:
    (prompt,) = prompts_of([10])
    how = Decoding(max_tokens=15, temperature=0.6, top_p=0.8, seeds=[3])
    (output,) = generate(model, [prompt], how, never)
    table = scored(model, prompt, output.ids).log_softmax(-1)
    assert output.logprob == pytest.approx(table.gather(1, torch.tensor(output.ids)[:, None]).sum().item(), abs=1e-3)


def test_low_temperature_comes_near_greedy_and_high_does_not(model: Llama) -> None:
    (prompt,) = prompts_of([10])
    (best,) = greedy(model, [prompt], 10)
    (cold,) = generate(model, [prompt], Decoding(max_tokens=10, temperature=1e-4, seeds=[1]), never)
    (hot,) = generate(model, [prompt], Decoding(max_tokens=10, temperature=5.0, seeds=[1]), never)
    assert cold.ids == best.ids != hot.ids


# The back end on top: texts in, texts out

TEXT = ["the answer is 12. next problem: what is 3 + 45? Ünï – 数学 ∎", "if x = 7 then 2 x = 14, so the sum is 21."]


@pytest.fixture(scope="module")
def backend() -> LlamaBackend:
    tokenizer = train_tokenizer(TEXT * 10, 320)
    return LlamaBackend(lively(replace(CONFIG, vocab_size=tokenizer.vocab_size), 2), tokenizer, "tiny")


@pytest.fixture(scope="module")
def tokenizer(backend: LlamaBackend) -> Tokenizer:
    return backend._tokenizer


def write(backend: LlamaBackend, prompt: str, **sampling: Any) -> Any:
    (completion,) = backend.complete([Request(prompt=prompt)], Sampling(**sampling))
    return completion


def test_max_tokens_is_the_limit(backend: LlamaBackend) -> None:
    for limit in (1, 2, 33):
        completion = write(backend, "what is", max_tokens=limit)
        assert (completion.tokens, completion.finish) == (limit, "length")


def test_a_stop_string_over_several_tokens_ends_the_text_before_it(backend: LlamaBackend) -> None:
    tokenizer = backend._tokenizer
    free = write(backend, "what is", max_tokens=40)
    ids = tokenizer.encode(free.text)
    stop = free.text[8:14]
    assert len(tokenizer.encode(stop)) > 1 and len(ids) > 20
    completion = write(backend, "what is", max_tokens=40, stop=("no such text", stop))
    assert completion.text == free.text[: free.text.index(stop)]
    assert completion.finish == "stop"
    assert completion.tokens < free.tokens


def test_rows_stop_each_at_its_own_place(backend: LlamaBackend) -> None:
    requests = [Request(prompt=p) for p in ("what is", "if x", "the sum", "7 then")]
    free = backend.complete(requests, Sampling(max_tokens=40))
    stops = tuple(c.text[5 * i + 3 : 5 * i + 6] for i, c in enumerate(free))
    stopped = backend.complete(requests, Sampling(max_tokens=40, stop=stops))
    for before, after in zip(free, stopped, strict=True):
        assert after.text == cut(before.text, stops) != before.text
        assert after.finish == "stop"


@pytest.mark.parametrize("stop", ["∎", "数学", "–", "21.", " answer is", "x"])
def test_the_stopper_sees_a_stop_string_however_it_is_split(stop: str, tokenizer: Tokenizer) -> None:
    for text in (f"so{stop}", f"é12 {stop}", stop):
        for ids in (tokenizer.encode(text), [i for c in text for i in tokenizer.encode(c)]):
            stopped = stopper(tokenizer, ("never there", stop), 2)
            said = [stopped(1, token) for token in ids]
            assert said == [False] * (len(ids) - 1) + [True]


def test_the_stopper_keeps_rows_apart(tokenizer: Tokenizer) -> None:
    stopped = stopper(tokenizer, ("12",), 2)
    one, two = tokenizer.encode("1"), tokenizer.encode("2")
    assert len(one) == len(two) == 1
    assert [stopped(0, one[0]), stopped(1, two[0]), stopped(1, one[0]), stopped(0, two[0])] == [0, 0, 0, 1]


def test_an_empty_prompt_starts_from_the_end_mark(backend: LlamaBackend) -> None:
    completion = write(backend, "", max_tokens=8)
    end = backend._tokenizer.end_id
    assert end is not None
    (expected,) = greedy(backend._model, [[end]], 8, end_id=end)
    assert completion.text == backend._tokenizer.decode(expected.ids)


def test_a_prompt_longer_than_the_context_loses_its_beginning(backend: LlamaBackend) -> None:
    long = "the sum is 21. " * 80
    ids = backend._tokenizer.encode(long)
    assert len(ids) > CONTEXT
    completion = write(backend, long, max_tokens=20)
    (expected,) = greedy(backend._model, [ids[-(CONTEXT - 20) :]], 20, end_id=backend._tokenizer.end_id)
    assert completion.text == backend._tokenizer.decode(expected.ids)
    assert completion.logprob == pytest.approx(expected.logprob)


def test_k_samples_beside_it_do_not_change_a_text(backend: LlamaBackend) -> None:
    sampling = Sampling(max_tokens=20, temperature=0.8, top_p=0.95)
    few = backend.complete([Request(prompt="what is", seed=s) for s in (1, 2)], sampling)
    many = backend.complete([Request(prompt="what is", seed=s) for s in range(9)], sampling)
    assert [c.text for c in few] == [many[1].text, many[2].text]
    assert len({c.text for c in many}) == 9


def test_no_requests_are_no_work(backend: LlamaBackend) -> None:
    assert backend.complete([], Sampling()) == []

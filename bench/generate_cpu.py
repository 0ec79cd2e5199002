"""Tokens per second of sampling on CPU: llemma's generation against ``transformers``' ``generate``.

The shape of an evaluation: several problems behind the same few-shot examples, ``samples`` texts of each, one
batch. Both sides get the same weights and ids and write ``new_tokens`` for every row (no end mark, so that
llemma's shrinking batch counts for nothing here); they take turns (A B A B) in one process.

    python bench/generate_cpu.py [rounds=3] [problems=8] [samples=8] ...
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from train_cpu import SIZES, interleave, place, spread

from llemma.config import resolve, setting
from llemma.models.checkpoint import save_model
from llemma.models.generate import Decoding, generate
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.train.loop import set_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The model, the prompts, and how long to measure."""

    vocab_size: int = setting(2048, "entries of the vocabulary")
    hidden_size: int = setting(SIZES.hidden_size, "width of the residual stream")
    intermediate_size: int = setting(SIZES.intermediate_size, "width inside the feed-forward block")
    num_hidden_layers: int = setting(SIZES.num_hidden_layers, "number of blocks")
    num_attention_heads: int = setting(SIZES.num_attention_heads, "heads")
    shared: int = setting(256, "tokens of few-shot examples that all prompts begin with")
    own: int = setting(48, "most tokens of a problem's own text")
    problems: int = setting(8, "prompts")
    samples: int = setting(8, "texts of each prompt; problems x samples rows are one batch")
    new_tokens: int = setting(64, "tokens written by each row")
    temperature: float = setting(0.6, "temperature, with top_p 0.95")
    rounds: int = setting(3, "turns of each contender")
    threads: int = setting(0, "CPU threads (0: one per core, at most 8)")


def prompts_of(s: Settings) -> list[list[int]]:
    """Random ids: a shared beginning, then own text of different lengths."""
    generator = torch.Generator().manual_seed(0)
    prefix = torch.randint(s.vocab_size, (s.shared,), generator=generator).tolist()
    lengths = torch.randint(s.own // 2, s.own + 1, (s.problems,), generator=generator).tolist()
    return [prefix + torch.randint(s.vocab_size, (n,), generator=generator).tolist() for n in lengths]


def ours(model: Llama, prompts: list[list[int]], s: Settings) -> Callable[[], float]:
    """A turn of llemma; returns new tokens per second."""
    rows = [prompt for prompt in prompts for _ in range(s.samples)]
    how = Decoding(max_tokens=s.new_tokens, temperature=s.temperature, top_p=0.95, seeds=range(len(rows)))

    def turn() -> float:
        start = time.perf_counter()
        outputs = generate(model, rows, how, lambda row, token: False)
        return sum(len(output.ids) for output in outputs) / (time.perf_counter() - start)

    return turn


def theirs(folder: Path, prompts: list[list[int]], s: Settings) -> Callable[[], float]:
    """A turn of transformers with its own way to draw several texts of a prompt; new tokens per second."""
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    how = {"do_sample": True, "temperature": s.temperature, "top_p": 0.95, "top_k": 0, "pad_token_id": 0}

    def turn() -> float:
        start = time.perf_counter()
        out = model.generate(
            ids, attention_mask=mask, max_new_tokens=s.new_tokens, num_return_sequences=s.samples, **how
        )
        return out[:, width:].numel() / (time.perf_counter() - start)

    return turn


def main() -> None:
    s = resolve(Settings, words=sys.argv[1:])
    set_threads(s.threads)
    transformers.logging.set_verbosity_error()
    print(place())
    print(f"{s}\n")
    model = Llama(
        LlamaConfig(
            vocab_size=s.vocab_size,
            hidden_size=s.hidden_size,
            intermediate_size=s.intermediate_size,
            num_hidden_layers=s.num_hidden_layers,
            num_attention_heads=s.num_attention_heads,
            num_key_value_heads=s.num_attention_heads,
            max_position_embeddings=s.shared + s.own + s.new_tokens,
        )
    ).eval()
    initialise(model, 0)
    prompts = prompts_of(s)
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder), end_id=None)
        other = theirs(Path(folder), prompts, s)
    found = interleave({"llemma": ours(model, prompts, s), "transformers": other}, s.rounds)
    ratio = statistics.median(a / b for a, b in zip(found["llemma"], found["transformers"], strict=True))
    print("| rows | llemma, new tokens/s | transformers, new tokens/s | ratio |")
    print("| --- | --- | --- | --- |")
    print(f"| {s.problems} x {s.samples} | {spread(found['llemma'])} | {spread(found['transformers'])} | {ratio:.2f} |")


if __name__ == "__main__":
    main()

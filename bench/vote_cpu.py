"""Tokens per second of k samples of one prompt on CPU: llemma's generation against ``transformers``' ``generate``.

The shape of a majority vote, where llemma computes the prompt once and every sample reads its keys and values as one
matrix product. Both sides get the same weights, the same prompt and the same number of rows in one batch, and write
``new_tokens`` for every row (no end mark); they take turns (A B A B) in one process.

    python bench/vote_cpu.py [rounds=5] [samples=16,64] [prompt=512] ...
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import generate_cpu
import transformers
from train_cpu import SIZES, interleave, place, spread

from llemma.config import resolve, setting
from llemma.models.checkpoint import save_model
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.train.loop import set_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The model, the prompt, and how long to measure."""

    vocab_size: int = setting(2048, "entries of the vocabulary")
    hidden_size: int = setting(SIZES.hidden_size, "width of the residual stream")
    intermediate_size: int = setting(SIZES.intermediate_size, "width inside the feed-forward block")
    num_hidden_layers: int = setting(SIZES.num_hidden_layers, "number of blocks")
    num_attention_heads: int = setting(SIZES.num_attention_heads, "heads")
    prompt: int = setting(512, "tokens of the prompt: few-shot examples and question")
    samples: tuple[int, ...] = setting((16, 64), "texts of the prompt, one batch")
    new_tokens: int = setting(128, "tokens written by each row")
    temperature: float = setting(0.6, "temperature, with top_p 0.95")
    rounds: int = setting(5, "turns of each contender")
    threads: int = setting(0, "CPU threads (0: one per core, at most 8)")


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
            max_position_embeddings=s.prompt + s.new_tokens,
        )
    ).eval()
    initialise(model, 0)
    print("| samples | llemma, new tokens/s | transformers, new tokens/s | ratio |")
    print("| --- | --- | --- | --- |")
    for samples in s.samples:
        shape = generate_cpu.Settings(
            vocab_size=s.vocab_size, shared=s.prompt - 1, own=1, problems=1, samples=samples,
            new_tokens=s.new_tokens, temperature=s.temperature,
        )  # fmt: skip
        prompts = generate_cpu.prompts_of(replace(shape, own=2))
        with tempfile.TemporaryDirectory() as folder:
            save_model(model, Path(folder), end_id=None)
            other = generate_cpu.theirs(Path(folder), prompts, shape)
        found = interleave({"llemma": generate_cpu.ours(model, prompts, shape), "transformers": other}, s.rounds)
        ratio = statistics.median(a / b for a, b in zip(found["llemma"], found["transformers"], strict=True))
        print(f"| {samples} | {spread(found['llemma'])} | {spread(found['transformers'])} | {ratio:.2f} |")


if __name__ == "__main__":
    main()

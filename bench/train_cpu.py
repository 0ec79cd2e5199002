"""Tokens per second of a training step on CPU: llemma's against ``transformers``' LlamaForCausalLM.

Same sizes, same batches, same AdamW, one process; the contenders take turns (A B A B), so that a machine whose
speed drifts is fair to both. Data loading and checkpoints are left out. Below the table: the rate of a large
matrix product, and blocked attention against PyTorch's fused CPU kernel.

    python bench/train_cpu.py [rounds=5] [steps=3] [hidden_size=192] ...
"""

from __future__ import annotations

import datetime
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

import llemma
from llemma.config import resolve, setting
from llemma.models.attention import causal
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.train.config import ModelSizes, OptimConfig
from llemma.train.loop import bf16_is_fast, set_threads
from llemma.train.optim import adamw

SIZES = ModelSizes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Sizes (the defaults of `llemma train`), and how long to measure."""

    vocab_size: int = setting(2048, "entries of the vocabulary")
    hidden_size: int = setting(SIZES.hidden_size, "width of the residual stream")
    intermediate_size: int = setting(SIZES.intermediate_size, "width inside the feed-forward block")
    num_hidden_layers: int = setting(SIZES.num_hidden_layers, "number of blocks")
    num_attention_heads: int = setting(SIZES.num_attention_heads, "heads")
    context: int = setting(256, "tokens per sequence")
    batch_size: int = setting(16, "sequences per step")
    rounds: int = setting(5, "turns of each contender")
    steps: int = setting(3, "steps in one turn")
    threads: int = setting(0, "CPU threads (0: one per core, at most 8)")
    peak_size: int = setting(1536, "width of the square matrix product that stands for the peak")


def interleave(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run every contender once a round, in turn, after one round of warming up; what each returned."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            rate = work()
            if number:
                found[name].append(rate)
    return found


def spread(rates: list[float], unit: float = 1.0) -> str:
    """Median and range."""
    low, middle, high = (f"{x / unit:,.0f}" for x in (min(rates), statistics.median(rates), max(rates)))
    return f"{middle} ({low} to {high})"


def place() -> str:
    """Date, machine and versions: a figure without them says nothing."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    versions = f"llemma {llemma.__version__}, torch {torch.__version__}, transformers {transformers.__version__}"
    return f"{datetime.date.today()}; {model}, {torch.get_num_threads()} threads; {versions}"


def sizes(s: Settings) -> LlamaConfig:
    """The model's sizes for both sides."""
    return LlamaConfig(
        vocab_size=s.vocab_size,
        hidden_size=s.hidden_size,
        intermediate_size=s.intermediate_size,
        num_hidden_layers=s.num_hidden_layers,
        num_attention_heads=s.num_attention_heads,
        num_key_value_heads=s.num_attention_heads,
        max_position_embeddings=s.context + 1,
    )


def twin(config: LlamaConfig) -> Any:
    """``transformers``' model of the same sizes."""
    table = {name: getattr(config, name) for name in LlamaConfig.__slots__ if name != "rope_theta"}
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**table, rope_parameters={"rope_theta": config.rope_theta, "rope_type": "default"})
    )


def trainer(model: Any, loss_of: Callable[[Tensor], Tensor], s: Settings, bf16: bool) -> Callable[[], float]:
    """A turn of one contender: ``steps`` steps, returns tokens per second."""
    optimizer = adamw(model, OptimConfig())
    batches = torch.randint(s.vocab_size, (s.steps, s.batch_size, s.context + 1))

    def turn() -> float:
        start = time.perf_counter()
        for ids in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = loss_of(ids)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return s.steps * s.batch_size * s.context / (time.perf_counter() - start)

    return turn


def contender(kind: str, s: Settings, bf16: bool) -> Callable[[], float]:
    """``kind`` is llemma or transformers."""
    if kind == "llemma":
        model = Llama(sizes(s))
        initialise(model, 0)
        return trainer(model, model.loss, s, bf16)
    other = twin(sizes(s)).train()

    def loss_of(ids: Tensor) -> Tensor:
        logits = other(input_ids=ids[:, :-1], use_cache=False).logits
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())

    return trainer(other, loss_of, s, bf16)


def flops_per_token(s: Settings) -> float:
    """Forward and backward: 6 per weight of a matrix product, and causal attention's half square."""
    c = sizes(s)
    block = 4 * c.hidden_size**2 + 3 * c.hidden_size * c.intermediate_size
    matrices = c.num_hidden_layers * block + c.vocab_size * c.hidden_size
    return 6 * matrices + 6 * c.num_hidden_layers * s.context * c.hidden_size


def peak(size: int, dtype: torch.dtype) -> float:
    """Operations per second of a large square matrix product: the median of seven."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    rates = []
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        rates.append(2 * size**3 / (time.perf_counter() - start))
    return statistics.median(rates[1:])


def attention(s: Settings, function: Callable[..., Tensor], dtype: torch.dtype) -> Callable[[], float]:
    """Forward and backward of one layer's attention; returns passes per second."""
    shape = (s.batch_size, s.num_attention_heads, s.context, s.hidden_size // s.num_attention_heads)
    q, k, v = (torch.randn(shape).to(dtype).requires_grad_() for _ in range(3))
    grad = torch.randn(shape).to(dtype)

    def turn() -> float:
        start = time.perf_counter()
        for _ in range(s.steps):
            function(q, k, v).backward(grad)
        return s.steps / (time.perf_counter() - start)

    return turn


def main() -> None:
    s = resolve(Settings, words=sys.argv[1:])
    set_threads(s.threads)
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    print(place())
    print(f"{s}\n")
    precisions = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if bf16_is_fast() else {})
    peaks = {name: peak(s.peak_size, dtype) for name, dtype in precisions.items()}
    found = interleave(
        {f"{kind} {p}": contender(kind, s, p == "bf16") for p in precisions for kind in ("llemma", "transformers")},
        s.rounds,
    )
    print("| precision | llemma, tokens/s | transformers, tokens/s | ratio | llemma's share of the matmul peak |")
    print("| --- | --- | --- | --- | --- |")
    for p in precisions:
        mine, other = found[f"llemma {p}"], found[f"transformers {p}"]
        ratio = statistics.median(a / b for a, b in zip(mine, other, strict=True))
        share = statistics.median(mine) * flops_per_token(s) / peaks[p]
        print(
            f"| {p} | {spread(mine)} | {spread(other)} | {ratio:.2f} | {share:.0%} of {peaks[p] / 1e9:,.0f} GFLOP/s |"
        )
    if not bf16_is_fast():
        print("\nbf16 left out: this CPU has no bf16 instructions, it would be emulated")
    print("\n| attention, forward + backward | blocked, passes/s | PyTorch's kernel, passes/s | ratio |")
    print("| --- | --- | --- | --- |")
    for p, dtype in precisions.items():
        pair = {
            "blocked": attention(s, causal, dtype),
            "sdpa": attention(s, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), dtype),
        }
        rates = interleave(pair, s.rounds)
        ratio = statistics.median(a / b for a, b in zip(rates["blocked"], rates["sdpa"], strict=True))
        print(f"| {p} | {spread(rates['blocked'])} | {spread(rates['sdpa'])} | {ratio:.2f} |")


if __name__ == "__main__":
    main()

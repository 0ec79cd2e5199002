"""Tokens per second of a training step on CPU: llemma's, eager and compiled, beside other trainers.

Beside it: ``transformers``' LlamaForCausalLM in the same loop, its Trainer, and litgpt where it is installed (an
environment of its own: ``pip install litgpt==0.5.13 lightning``). Same sizes, same kind of batches, AdamW, clipping and
precision, one process; the contenders take turns (A B A B), so that a machine whose speed drifts is fair to all. Data
loading and checkpoints are left out. Below the table: blocked attention against PyTorch's fused CPU kernel.

    python bench/train_cpu.py [size=S] [precision=bf16] [rounds=7] [steps=2] ...
"""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

import llemma
from llemma.config import resolve, setting
from llemma.models.attention import causal
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.train.config import ModelSizes, OptimConfig
from llemma.train.device import bf16_is_fast, keep_freed_memory, set_threads
from llemma.train.optim import adamw

SIZES = ModelSizes()
# Width, inner width, blocks, heads, vocabulary; tiny is the default of `llemma train`.
MODELS = {
    "tiny": (128, 384, 4, 4, 2048),
    "S": (256, 688, 6, 4, 4096),
    "M": (384, 1024, 6, 6, 8192),
}


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Sizes, and how long to measure."""

    size: Literal["tiny", "S", "M"] = setting("S", "model: 0.7, 6.8 or 16.9 million parameters")
    context: int = setting(512, "tokens per sequence")
    batch_size: int = setting(8, "sequences per step")
    precision: Literal["auto", "fp32", "bf16"] = setting("auto", "of matrix products; auto: bf16 where it is fast")
    rounds: int = setting(7, "turns of each contender")
    steps: int = setting(2, "steps in one turn")
    threads: int = setting(0, "CPU threads (0: one per core, at most 8)")
    peak_size: int = setting(1536, "width of the square matrix product that stands for the peak")
    clock: Literal["wall", "processor"] = setting("wall", "processor: seconds of this process, on a busy machine")
    only: tuple[str, ...] = setting((), "contenders to run (default: all that are installed)")


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
    """The model's sizes for all sides."""
    width, inner, blocks, heads, vocabulary = MODELS[s.size]
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=s.context + 1,
        tie_word_embeddings=False,
    )


def twin(config: LlamaConfig) -> Any:
    """``transformers``' model of the same sizes."""
    table = {name: getattr(config, name) for name in LlamaConfig.__slots__ if name != "rope_theta"}
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**table, rope_parameters={"rope_theta": config.rope_theta, "rope_type": "default"})
    )


def batches(s: Settings) -> Tensor:
    """(steps, batch_size, context + 1) random ids."""
    return torch.randint(sizes(s).vocab_size, (s.steps, s.batch_size, s.context + 1))


def turns(model: Any, loss_of: Callable[[Tensor], Tensor], s: Settings, bf16: bool) -> Callable[[], float]:
    """A turn of a contender in our loop's step: ``steps`` steps, returns tokens per second."""
    optimizer = adamw(model, OptimConfig())
    rows = batches(s)

    def turn() -> float:
        start = CLOCKS[s.clock]()
        for ids in rows:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = loss_of(ids)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return rows[:, :, 1:].numel() / (CLOCKS[s.clock]() - start)

    return turn


def ours(s: Settings, bf16: bool, compiled: bool = False) -> Callable[[], float]:
    """llemma's Llama; compiled block by block, as ``parallel.compile=true`` does."""
    model = Llama(sizes(s))
    initialise(model, 0)
    if compiled:
        for block in model.blocks():
            block.forward = torch.compile(block.forward)  # type: ignore[method-assign]
    return turns(model, model.loss, s, bf16)


def theirs(s: Settings, bf16: bool) -> Callable[[], float]:
    """``transformers``' model in the same step."""
    other = twin(sizes(s)).train()

    def loss_of(ids: Tensor) -> Tensor:
        logits = other(input_ids=ids[:, :-1], use_cache=False).logits
        return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())

    return turns(other, loss_of, s, bf16)


class Stamps(transformers.TrainerCallback):
    """When each step of the Trainer ended."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.at: list[float] = []
        self.clock = clock

    def on_step_end(self, *args: Any, **named: Any) -> None:
        self.at.append(self.clock())


def their_trainer(s: Settings, bf16: bool) -> Callable[[], float]:
    """``transformers``' Trainer on its own model: the steps after the first of each call."""
    rows = torch.randint(sizes(s).vocab_size, ((s.steps + 1) * s.batch_size, s.context))
    stamps = Stamps(CLOCKS[s.clock])
    how = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=s.batch_size,
        max_steps=s.steps + 1,
        learning_rate=3e-3,
        weight_decay=0.1,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=bf16,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    data = [{"input_ids": ids, "labels": ids} for ids in rows]
    trainer = transformers.Trainer(
        model=twin(sizes(s)), args=how, train_dataset=data, data_collator=stacked, callbacks=[stamps]
    )

    def turn() -> float:
        stamps.at.clear()
        trainer.train()
        return s.steps * s.batch_size * s.context / (stamps.at[-1] - stamps.at[0])

    return turn


def stacked(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Equal rows as a batch."""
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def litgpt(s: Settings, bf16: bool) -> Callable[[], float]:
    """litgpt's GPT under Lightning Fabric, as its own pretraining loop does a step."""
    import lightning
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    c = sizes(s)
    config = Config(
        block_size=s.context,
        padded_vocab_size=c.vocab_size,
        n_layer=c.num_hidden_layers,
        n_head=c.num_attention_heads,
        n_embd=c.hidden_size,
        intermediate_size=c.intermediate_size,
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        mlp_class_name="LLaMAMLP",
        norm_eps=1e-5,
    )
    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision="bf16-mixed" if bf16 else "32-true")
    model = fabric.setup(GPT(config))
    optimizer = fabric.setup_optimizers(adamw(model, OptimConfig()))
    rows = batches(s)

    def turn() -> float:
        start = CLOCKS[s.clock]()
        for ids in rows:
            loss = chunked_cross_entropy(model(ids[:, :-1].contiguous()), ids[:, 1:].contiguous(), chunk_size=0)
            fabric.backward(loss)
            fabric.clip_gradients(model, optimizer, max_norm=1.0)
            optimizer.step()
            optimizer.zero_grad()
        return rows[:, :, 1:].numel() / (CLOCKS[s.clock]() - start)

    return turn


def flops_per_token(s: Settings) -> float:
    """Forward and backward: 6 per weight of a matrix product, and causal attention's half square."""
    c = sizes(s)
    block = 4 * c.hidden_size**2 + 3 * c.hidden_size * c.intermediate_size
    matrices = c.num_hidden_layers * block + c.vocab_size * c.hidden_size
    return 6 * matrices + 6 * c.num_hidden_layers * s.context * c.hidden_size


def peak(size: int, dtype: torch.dtype, clock: Callable[[], float] = time.perf_counter) -> float:
    """Operations per second of a large square matrix product: the median of seven."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    rates = []
    for _ in range(8):
        start = clock()
        a @ b
        rates.append(2 * size**3 / (clock() - start))
    return statistics.median(rates[1:])


def attention(s: Settings, function: Callable[..., Tensor], dtype: torch.dtype) -> Callable[[], float]:
    """Forward and backward of one layer's attention; returns passes per second."""
    c = sizes(s)
    shape = (s.batch_size, c.num_attention_heads, s.context, c.head_dim)
    q, k, v = (torch.randn(shape).to(dtype).requires_grad_() for _ in range(3))
    grad = torch.randn(shape).to(dtype)

    def turn() -> float:
        start = CLOCKS[s.clock]()
        for _ in range(s.steps):
            function(q, k, v).backward(grad)
        return s.steps / (CLOCKS[s.clock]() - start)

    return turn


def contenders(s: Settings, bf16: bool) -> dict[str, Callable[[], float]]:
    """Those that are asked for and installed."""
    makers: dict[str, Callable[[], Callable[[], float]]] = {
        "llemma compiled": lambda: ours(s, bf16, compiled=True),
        "llemma": lambda: ours(s, bf16),
        "transformers": lambda: theirs(s, bf16),
        "transformers Trainer": lambda: their_trainer(s, bf16),
    }
    if importlib.util.find_spec("litgpt") is not None:
        makers[f"litgpt {importlib.metadata.version('litgpt')}"] = lambda: litgpt(s, bf16)
    return {name: make() for name, make in makers.items() if not s.only or name.startswith(s.only)}


def main() -> None:
    s = resolve(Settings, words=sys.argv[1:])
    set_threads(s.threads)
    keep_freed_memory()  # as `llemma train` does; serves all contenders
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    bf16 = s.precision == "bf16" or (s.precision == "auto" and bf16_is_fast())
    dtype = torch.bfloat16 if bf16 else torch.float32
    print(f"{place()}; load {os.getloadavg()[0]:.1f}")
    print(f"{s}\n")
    runs = contenders(s, bf16)
    runs["matrix product"] = lambda: peak(s.peak_size, dtype, CLOCKS[s.clock])
    found = interleave(runs, s.rounds)
    top = max(found.pop("matrix product"))  # others on the machine only ever make it smaller
    others = [name for name in found if not name.startswith("llemma")]
    best = max(others, key=lambda name: statistics.median(found[name]), default="")
    kind = "bf16" if bf16 else "fp32"
    print(f"| {kind} | tokens/s | best | of the matmul peak, {top / 1e9:,.0f} GFLOP/s | to {best} |")
    print("| --- | --- | --- | --- | --- |")
    for name, rates in found.items():
        share = statistics.median(rates) * flops_per_token(s) / top
        ratio = statistics.median(a / b for a, b in zip(rates, found.get(best, rates), strict=True))
        print(f"| {name} | {spread(rates)} | {max(rates):,.0f} | {share:.0%} | {ratio:.2f} |")
    print("\n| attention, forward + backward | blocked, passes/s | PyTorch's kernel, passes/s | ratio |")
    print("| --- | --- | --- | --- |")
    pair = {
        "blocked": attention(s, causal, dtype),
        "sdpa": attention(s, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), dtype),
    }
    rates = interleave(pair, s.rounds)
    ratio = statistics.median(a / b for a, b in zip(rates["blocked"], rates["sdpa"], strict=True))
    print(f"| {kind} | {spread(rates['blocked'])} | {spread(rates['sdpa'])} | {ratio:.2f} |")


if __name__ == "__main__":
    main()

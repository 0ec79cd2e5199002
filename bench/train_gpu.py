"""Training speed on one GPU: its roofs first, then 1B and 7B models, ours beside ``transformers``' Trainer.

bf16 over fp32 masters, AdamW, random weights and ids, context 4096: speed does not depend on what is learnt. A model
whose state does not fit has fewer blocks of the same width, and the table says how many: operations per second and MFU
stay comparable, tokens per second are those of the shorter model. ``peak`` is what the maker states (dense bf16). With
``fp8=true`` our model runs once more with fp8 products in its blocks, and both loss curves are printed. Everything fits
into ``minutes``; what does not is named as left out.

    python bench/train_gpu.py [minutes=8] [fp8=true] [models=1b,7b] [trainer=true] [checkpointing=full]
    python bench/train_gpu.py device=cpu models=tiny minutes=1      (whether it runs; not a measurement)
"""

from __future__ import annotations

import datetime
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
import transformers
from torch import Tensor
from transformers.trainer_utils import TrainOutput

import llemma
from llemma.config import resolve, setting
from llemma.models.attention import causal
from llemma.models.fp8 import quantised
from llemma.models.llama import Llama, LlamaConfig, hf_config, initialise
from llemma.train.config import OptimConfig, ParallelConfig
from llemma.train.device import device_name
from llemma.train.memory import per_gpu
from llemma.train.optim import adamw
from llemma.train.parallel import Mesh, clip, distribute, gradient_norm, start
from llemma.train.tracking import TrackConfig, peak_memory, stated_peak

SEVEN = LlamaConfig(
    vocab_size=32016, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=32, max_position_embeddings=4096, tie_word_embeddings=False,
)  # fmt: skip
# TinyLlama 1.1B's sizes, with Llemma's vocabulary
ONE = replace(SEVEN, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_key_value_heads=4)
TINY = replace(ONE, vocab_size=512, hidden_size=64, intermediate_size=176, num_hidden_layers=2, num_attention_heads=4)
MODELS = {"tiny": TINY, "1b": ONE, "7b": SEVEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured, and for how long."""

    models: tuple[str, ...] = setting(("1b", "7b"), "1b, 7b, tiny")
    context: int = setting(4096, "tokens per sequence")
    micro_batch: int = setting(2, "sequences in a pass; a step is one pass")
    steps: int = setting(6, "measured steps of a contender, after two of warming up")
    checkpointing: Literal["none", "selective", "full"] = setting("full", "activations of both contenders made again")
    compile: bool = setting(True, "our blocks compiled too, in a row of their own")
    trainer: bool = setting(True, "transformers' Trainer beside ours")
    fp8: bool = setting(False, "our model with fp8 products, and its loss curve beside bf16's")
    curve: int = setting(40, "steps of the loss curves")
    minutes: float = setting(8.0, "all of it takes about as long at most")
    device: str = setting("auto", "auto, cuda or cpu")
    peak_tflops: float = setting(0.0, "stated peak (0: the table's for a known GPU)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Medians of a contender's steps."""

    seconds: float
    memory: int


class Clock:
    """How much of the budget is left."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        return self.end - time.monotonic()


def timed(work: Callable[[], Any], device: torch.device, rounds: int = 7) -> float:
    """Median seconds of a call, the device waited for; two calls warm up."""
    seconds = []
    for number in range(rounds + 2):
        begun = time.perf_counter()
        work()
        wait(device)
        if number > 1:
            seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# Roofs


def roofs(s: Settings, c: LlamaConfig, device: torch.device) -> Iterator[tuple[str, float]]:
    """Operations per second of the products and the attention that a model of these sizes is made of."""
    tokens = s.micro_batch * s.context
    shapes = {
        f"matmul {n} x {n} x {n}, bf16": (n, n, n) for n in ((8192,) if device.type == "cuda" else (512,))
    } | {
        f"matmul {tokens} x {c.hidden_size} x {c.intermediate_size}, bf16": (tokens, c.hidden_size, c.intermediate_size)
    }  # fmt: skip
    for name, (m, k, n) in shapes.items():
        a, b = (torch.randn(size, device=device, dtype=torch.bfloat16) for size in ((m, k), (k, n)))
        yield name, 2 * m * k * n / timed(lambda a=a, b=b: a @ b, device)
    m, k, n = list(shapes.values())[-1]
    a8, a_scale = quantised(torch.randn(m, k, device=device), torch.float8_e4m3fn)
    b8, b_scale = quantised(torch.randn(n, k, device=device), torch.float8_e4m3fn)
    if can_fp8(device):
        product = lambda: torch._scaled_mm(a8, b8.t(), scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16)  # noqa: E731
        yield f"matmul {m} x {k} x {n}, fp8", 2 * m * k * n / timed(product, device)
    heads, width = c.num_attention_heads, c.head_dim
    shape = (s.micro_batch, heads, s.context, width)
    q, key, v = (torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    grad = torch.randn(shape, device=device, dtype=torch.bfloat16)
    square = 2 * s.micro_batch * heads * s.context**2 * width  # one product of scores, masked half included
    both = timed(lambda: causal(q, key, v).backward(grad), device)
    yield f"causal attention {shape}, forward + backward, its half square counted", 7 * square / 2 / both


def can_fp8(device: torch.device) -> bool:
    return device.type == "cpu" or torch.cuda.get_device_capability(device) >= (8, 9)


# Contenders


def fitting(s: Settings, config: LlamaConfig, device: torch.device) -> LlamaConfig:
    """The model with as many blocks as its training state leaves room for."""
    if device.type == "cpu":
        return config
    room = 0.92 * torch.cuda.get_device_properties(device).total_memory
    settings = ParallelConfig(checkpointing=s.checkpointing)
    for layers in range(config.num_hidden_layers, 0, -1):
        fewer = replace(config, num_hidden_layers=layers)
        with torch.device("meta"):
            needed = per_gpu(Llama(fewer), settings, 1, s.micro_batch * s.context)["total_bytes"][s.checkpointing]
        # without a mesh, autocast keeps a bf16 copy of all weights; the Trainer's loss keeps its logits, fp32 twice
        needed += 2 * sum(p.numel() for p in meta(fewer).parameters())
        needed += 3 * 4 * s.micro_batch * s.context * config.vocab_size
        if needed <= room:
            return fewer
    raise SystemExit(f"{device_name(device)}: not even one block of this width fits")


def meta(config: LlamaConfig) -> Llama:
    with torch.device("meta"):
        return Llama(config)


def rows(s: Settings, config: LlamaConfig, device: torch.device, step: int) -> Tensor:
    """Ids with something to learn: each row counts up in its own stride. (micro_batch, context + 1) int64."""
    start_, stride = torch.randint(1, config.vocab_size, (2, s.micro_batch, 1), generator=seeded(step))
    return ((start_ + (stride % 7 + 1) * torch.arange(s.context + 1)) % config.vocab_size).to(device)


def seeded(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step)


def ours(
    s: Settings, config: LlamaConfig, mesh: Mesh, steps: int, *, compile: bool = False, fp8: bool = False
) -> tuple[Speed, list[float]]:
    """Speed of our step, as the loop makes it under torchrun with one process, and its losses."""
    begin(mesh.device)
    with torch.device(mesh.device):
        model = Llama(config)
    if mesh.device.type == "cpu":
        initialise(model, 0)
    else:  # speed needs no exact weights, and drawing 7B of them on the CPU would take half a minute
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=0.02, generator=torch.Generator(mesh.device).manual_seed(0))
    settings = ParallelConfig(checkpointing=s.checkpointing, compile=compile)
    distribute(model, mesh, settings, bf16=True, fp8=fp8)
    optimizer = adamw(model, OptimConfig(lr=3e-4))
    seconds, losses = [], []
    for step in range(steps):
        ids = rows(s, config, mesh.device, step)
        begun = time.perf_counter()
        total, targets = model.loss_sum(ids)
        loss = total / targets
        loss.backward()  # type: ignore[no-untyped-call]
        norm = gradient_norm(mesh, model.parameters()).item()
        clip(model.parameters(), norm, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begun)
    return Speed(seconds=statistics.median(seconds[2:]), memory=peak_memory(str(mesh.device))), losses


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The same ids for the Trainer."""

    def __init__(self, s: Settings, config: LlamaConfig, steps: int) -> None:
        cpu = torch.device("cpu")
        self.ids = torch.cat([rows(s, config, cpu, step)[:, :-1] for step in range(steps)])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[index], "labels": self.ids[index]}


class Stopwatch(transformers.TrainerCallback):
    """Seconds of each of the Trainer's steps."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, list[float]()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        wait(self.device)
        self.begun = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        wait(self.device)
        self.seconds.append(time.perf_counter() - self.begun)


def theirs(s: Settings, config: LlamaConfig, device: torch.device, steps: int) -> Speed:
    """Speed of ``transformers``' Trainer on its own Llama of the same sizes, as its documentation sets it up."""
    begin(device)
    table = hf_config(config, end_id=0)
    with torch.device(device):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**table))
    watch = Stopwatch(device)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=s.micro_batch, bf16=True,
            gradient_checkpointing=s.checkpointing != "none", optim="adamw_torch_fused", learning_rate=3e-4,
            max_grad_norm=1.0, logging_strategy="no", save_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=device.type == "cpu",
        )  # fmt: skip
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=Rows(s, config, steps), callbacks=[watch]
        )
        done: TrainOutput = trainer.train()
    assert done.global_step == steps
    return Speed(seconds=statistics.median(watch.seconds[2:]), memory=peak_memory(str(device)))


def begin(device: torch.device) -> None:
    """Let go of the contender before."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def measured(work: Callable[[], Speed]) -> Speed | None:
    """A contender's speed, or None when the memory does not suffice."""
    try:
        return work()
    except torch.OutOfMemoryError:
        return None


def main() -> None:
    s = resolve(Settings, words=sys.argv[1:])
    transformers.logging.set_verbosity_error()
    clock = Clock(s.minutes)
    with tempfile.TemporaryDirectory() as folder:
        kind = "cuda" if s.device == "cuda" or (s.device == "auto" and torch.cuda.is_available()) else "cpu"
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
            init_method=f"file://{Path(folder)}/meeting", rank=0, world_size=1,
        )  # fmt: skip
        try:
            with start(ParallelConfig(), s.device) as mesh:
                report(s, mesh, clock)
        finally:
            dist.destroy_process_group()


def report(s: Settings, mesh: Mesh, clock: Clock) -> None:
    """Measure and print, most telling first, until the time is up."""
    device, name = mesh.device, device_name(mesh.device)
    peak = stated_peak(TrackConfig(peak_tflops=s.peak_tflops), name)
    stated = f"stated bf16 peak {peak / 1e12:,.0f} TFLOP/s" if peak else "no stated peak: no MFU"
    print(f"{datetime.date.today()}; {name}; {stated}; llemma {llemma.__version__}, torch {torch.__version__}, "
          f"transformers {transformers.__version__}")  # fmt: skip
    print("a measurement\n" if device.type == "cuda" else "on the CPU: whether it runs, not a measurement\n")
    print("| roof | TFLOP/s | of the stated peak |")
    print("| --- | --- | --- |")
    for what, rate in roofs(s, MODELS[s.models[-1]], device):
        print(f"| {what} | {rate / 1e12:,.1f} | {f'{rate / peak:.0%}' if peak else '-'} |", flush=True)
    print(f"\n| model | contender | tokens/s | TFLOP/s | MFU | memory, GiB |  (context {s.context}, {s.micro_batch} "
          f"sequences a step, activations: {s.checkpointing})")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- |")
    for model in s.models:
        config = replace(fitting(s, MODELS[model], device), max_position_embeddings=s.context)
        count = meta(config).parameter_count()
        label = f"{model}, {config.num_hidden_layers} blocks, {count / 1e9:.2f}B"
        for contender, work in contenders(s, config, mesh).items():
            if clock.left() < 20:
                print(f"| {label} | {contender} | left out: the time is up | | | |")
                continue
            found = measured(work)
            if found is None:
                print(f"| {label} | {contender} | out of memory | | | |", flush=True)
                continue
            tokens = s.micro_batch * s.context / found.seconds
            rate = tokens * meta(config).flops_per_token(s.context)
            mfu = f"{rate / peak:.1%}" if peak else "-"
            print(f"| {label} | {contender} | {tokens:,.0f} | {rate / 1e12:,.1f} | {mfu} | "
                  f"{found.memory / 2**30:,.1f} |", flush=True)  # fmt: skip
    if s.fp8:
        curves(s, mesh, clock)


def contenders(s: Settings, config: LlamaConfig, mesh: Mesh) -> dict[str, Callable[[], Speed]]:
    """What is measured on one model, by name."""
    steps = s.steps + 2
    found: dict[str, Callable[[], Speed]] = {"llemma": lambda: ours(s, config, mesh, steps)[0]}
    if s.compile:
        found["llemma, compiled"] = lambda: ours(s, config, mesh, steps, compile=True)[0]
    if s.trainer:
        found["transformers' Trainer"] = lambda: theirs(s, config, mesh.device, steps)
    if s.fp8 and can_fp8(mesh.device):
        found["llemma, fp8"] = lambda: ours(s, config, mesh, steps, compile=s.compile, fp8=True)[0]
    return found


def curves(s: Settings, mesh: Mesh, clock: Clock) -> None:
    """The losses of the smallest model in bf16 and fp8, from the same weights on the same rows."""
    if clock.left() < 60 or not can_fp8(mesh.device):
        print("\nloss curves left out: the time is up, or no fp8 on this device")
        return
    config = replace(fitting(s, MODELS[s.models[0]], mesh.device), max_position_embeddings=s.context)
    found = {name: ours(s, config, mesh, s.curve, fp8=name == "fp8")[1] for name in ("bf16", "fp8")}
    print(f"\nloss by step ({s.models[0]})\n\n| step | bf16 | fp8 |\n| --- | --- | --- |")
    for step in range(0, s.curve, max(1, s.curve // 10)):
        print(f"| {step + 1} | {found['bf16'][step]:.4f} | {found['fp8'][step]:.4f} |")


if __name__ == "__main__":
    main()

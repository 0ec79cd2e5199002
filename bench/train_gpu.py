"""Training speed on one GPU: its roofs first, then 7B and 1B models, ours beside ``transformers``' Trainer.

bf16 over fp32 masters, AdamW, random weights and ids, context 4096: speed does not depend on what is learnt. A model
whose state does not fit has fewer blocks of the same width, and the table says how many: operations per second and MFU
stay comparable, tokens per second are those of the shorter model. ``peak`` is what the maker states (dense bf16).

Ours and the Trainer are compared with all activations made again (``full``); then ours alone with fewer of them made
again, where the memory is counted to suffice, and with fp8 products, whose loss curve is printed beside bf16's.
Each line is printed when it is known. After ``minutes`` the contender at work is stopped and what is left is named;
one that runs out of memory or cannot be compiled is named, and the next goes on.

    python bench/train_gpu.py [minutes=8] [models=7b,1b] [micro_batch=2] [accumulate=4] [trainer=true] [fp8=true]
    python bench/train_gpu.py device=cpu models=tiny context=32 compile=false minutes=1      (only whether it runs)
"""

from __future__ import annotations

import contextlib
import datetime
import gc
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # the Trainer would spread over all GPUs it sees
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # as `llemma train` sets it

import torch
import torch.distributed as dist
import transformers
from torch import Tensor

import llemma
from llemma.config import resolve, setting
from llemma.errors import Caught, boundary
from llemma.models.attention import causal
from llemma.models.fp8 import FORWARD, multiply, quantised
from llemma.models.llama import Llama, LlamaConfig, hf_config, initialise
from llemma.train.config import OptimConfig, ParallelConfig
from llemma.train.device import device_name
from llemma.train.memory import per_gpu
from llemma.train.optim import adamw
from llemma.train.parallel import Mesh, clip, distribute, gradient_norm, last_of_step, start
from llemma.train.tracking import TrackConfig, peak_memory, stated_peak

SEVEN = LlamaConfig(
    vocab_size=32016, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=32, max_position_embeddings=4096, tie_word_embeddings=False,
)  # fmt: skip
# TinyLlama 1.1B's sizes, with Llemma's vocabulary
ONE = replace(SEVEN, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_key_value_heads=4)
TINY = replace(ONE, vocab_size=512, hidden_size=64, intermediate_size=176, num_hidden_layers=2, num_attention_heads=4)
MODELS = {"tiny": TINY, "1b": ONE, "7b": SEVEN}


WARM = 2  # steps before those that are measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured, and for how long."""

    models: tuple[str, ...] = setting(("7b", "1b"), "7b, 1b, tiny, in the order they are measured")
    context: int = setting(4096, "tokens per sequence")
    micro_batch: int = setting(2, "sequences in a pass")
    accumulate: int = setting(4, "passes in a step")
    steps: int = setting(4, f"measured steps of a contender, after {WARM} of warming up")
    compile: bool = setting(True, "our blocks compiled too, in rows of their own")
    trainer: bool = setting(True, "transformers' Trainer beside ours")
    fp8: bool = setting(True, "our model with fp8 products, and its loss curve beside bf16's")
    curve: int = setting(40, "steps of the loss curves")
    minutes: float = setting(8.0, "after which it ends")
    device: str = setting("auto", "auto, cuda or cpu")
    peak_tflops: float = setting(0.0, "stated peak (0: the table's for a known GPU)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a contender trains."""

    name: str
    checkpointing: str = "full"
    rows: int  # sequences in a pass
    compile: bool = False
    fp8: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Median seconds of a contender's steps, the most memory in bytes, and its losses where they are told."""

    seconds: float
    memory: int
    losses: tuple[float, ...] = ()


class TimeUp(BaseException):
    """The budget is spent. No Exception: compilers and trainers would wrap it."""


class Clock:
    """How much of the budget is left."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        return self.end - time.monotonic()

    @contextlib.contextmanager
    def bound(self) -> Iterator[None]:
        """Raises TimeUp within the block when the time is up."""

        def ring(*_: object) -> None:
            raise TimeUp

        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(0.01, self.left()))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


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
    if can_fp8(device):
        a8, a_scale = quantised(torch.randn(m, k, device=device), FORWARD)
        b8, b_scale = quantised(torch.randn(n, k, device=device), FORWARD)
        product = timed(lambda: multiply(a8, b8.t(), a_scale, b_scale, fast=True), device)
        yield f"matmul {m} x {k} x {n}, fp8", 2 * m * k * n / product
    heads, width = c.num_attention_heads, c.head_dim
    shape = (s.micro_batch, heads, s.context, width)
    q, key, v = (torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    grad = torch.randn(shape, device=device, dtype=torch.bfloat16)
    square = 2 * s.micro_batch * heads * s.context**2 * width  # one product of scores, masked half included
    both = timed(lambda: torch.autograd.grad(causal(q, key, v), (q, key, v), grad), device)
    yield f"causal attention {shape}, forward + backward, its half square counted", 7 * square / 2 / both


def can_fp8(device: torch.device) -> bool:
    return device.type == "cpu" or torch.cuda.get_device_capability(device) >= (8, 9)


# Contenders


def fitting(s: Settings, config: LlamaConfig, device: torch.device) -> LlamaConfig:
    """The model with as many blocks as leave room for every contender that makes all activations again."""
    config = replace(config, max_position_embeddings=s.context)
    if device.type == "cpu":
        return config
    for layers in range(config.num_hidden_layers, 0, -1):
        fewer = replace(config, num_hidden_layers=layers)
        # the Trainer's autocast keeps a bf16 copy of all weights, its loss the logits of a pass, in fp32 and twice
        more = 2 * meta(fewer).parameter_count() + 3 * 4 * s.micro_batch * s.context * config.vocab_size
        if needed(s, fewer, "full", s.micro_batch) + more <= room(device):
            return fewer
    raise SystemExit(f"{device_name(device)}: not even one block of this width fits")


def needed(s: Settings, config: LlamaConfig, checkpointing: str, rows: int) -> float:
    """Bytes that a step of ours is counted to take."""
    told = per_gpu(meta(config), ParallelConfig(), 1, rows * s.context)
    return float(told["total_bytes"][checkpointing])


def room(device: torch.device) -> float:
    """Bytes that may be planned for: the rest is CUDA's own and fragments."""
    return (
        0.94 * float(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else float("inf")
    )


def meta(config: LlamaConfig) -> Llama:
    with torch.device("meta"):
        return Llama(config)


def ids_of(s: Settings, config: LlamaConfig, device: torch.device, number: int, rows: int) -> Tensor:
    """Ids with something to learn: each row counts up in its own stride. (rows, context + 1) int64."""
    seeded = torch.Generator().manual_seed(number)
    first, stride = torch.randint(1, config.vocab_size, (2, rows, 1), generator=seeded)
    return ((first + (stride % 7 + 1) * torch.arange(s.context + 1)) % config.vocab_size).to(device)


def drawn(config: LlamaConfig, device: torch.device) -> Llama:
    """A model with random weights on the device: drawing 7B of them on the CPU would take a minute."""
    with torch.device(device):
        model = Llama(config)
    if device.type == "cpu":
        initialise(model, 0)
        return model
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.02, generator=generator)
    return model


def ours(s: Settings, config: LlamaConfig, way: Way, mesh: Mesh, clock: Clock, steps: int, passes: int) -> Speed:
    """Our step, as the loop makes it under torchrun with one process."""
    begin(mesh.device)
    model = drawn(config, mesh.device)
    settings = ParallelConfig(checkpointing=way.checkpointing, compile=way.compile)  # type: ignore[arg-type]
    distribute(model, mesh, settings, bf16=True, fp8=way.fp8)
    optimizer = adamw(model, OptimConfig(lr=3e-4))
    seconds, losses = list[float](), list[float]()
    for step in range(steps):
        batch = [ids_of(s, config, mesh.device, step * passes + number, way.rows) for number in range(passes)]
        wait(mesh.device)
        begun = time.perf_counter()
        total = torch.zeros((), device=mesh.device)
        for number, ids in enumerate(batch):
            last_of_step(model, number == passes - 1)
            summed, targets = model.loss_sum(ids)
            loss = summed / (targets * passes)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        told, norm = torch.stack((total, gradient_norm(mesh, model.parameters()))).tolist()
        clip(model.parameters(), norm, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        wait(mesh.device)
        seconds.append(time.perf_counter() - begun)
        losses.append(told)
        if len(seconds) > WARM and clock.left() < 2 * seconds[-1]:
            break  # what was measured counts
    return Speed(seconds=statistics.median(seconds[WARM:]), memory=peak_memory(str(mesh.device)), losses=tuple(losses))


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """The same ids for the Trainer."""

    def __init__(self, s: Settings, config: LlamaConfig, passes: int) -> None:
        cpu = torch.device("cpu")
        self.ids = torch.cat([ids_of(s, config, cpu, number, s.micro_batch)[:, :-1] for number in range(passes)])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.ids[index], "labels": self.ids[index]}


class Stopwatch(transformers.TrainerCallback):
    """Seconds of each of the Trainer's steps."""

    def __init__(self, device: torch.device, clock: Clock) -> None:
        self.device, self.clock, self.seconds = device, clock, list[float]()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        wait(self.device)
        self.begun = time.perf_counter()

    def on_step_end(self, _: Any, __: Any, control: transformers.TrainerControl, **___: Any) -> None:
        wait(self.device)
        self.seconds.append(time.perf_counter() - self.begun)
        control.should_training_stop |= len(self.seconds) > WARM and self.clock.left() < 2 * self.seconds[-1]


def theirs(s: Settings, config: LlamaConfig, device: torch.device, clock: Clock) -> Speed:
    """``transformers``' Trainer on its own Llama of the same sizes, as its documentation sets it up."""
    begin(device)
    table, steps = hf_config(config, end_id=0), s.steps + WARM
    with torch.device(device):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**table))
    watch = Stopwatch(device, clock)
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=s.micro_batch,
            gradient_accumulation_steps=s.accumulate, bf16=True, gradient_checkpointing=True,
            optim="adamw_torch_fused", learning_rate=3e-4, max_grad_norm=1.0, logging_strategy="no",
            save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=device.type == "cpu",
        )  # fmt: skip
        rows = Rows(s, config, steps * s.accumulate)
        trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[watch])
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return Speed(seconds=statistics.median(watch.seconds[WARM:]), memory=peak_memory(str(device)))


def begin(device: torch.device) -> None:
    """Let go of the contender before, and of what was compiled for it: other sizes would compile for any size."""
    torch._dynamo.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def measured(work: Callable[[], Speed], clock: Clock) -> Speed | str:
    """A contender's speed, or why there is none."""
    if clock.left() < 5:
        return "left out: the time is up"
    try:
        found = boundary(work)
    except TimeUp:
        return "stopped: the time is up"
    if not isinstance(found, Caught):
        return found
    lines = found.message.strip().splitlines() or [""]
    return "out of memory" if "out of memory" in found.message else f"failed: {lines[0][:160]}"


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
            with start(ParallelConfig(), s.device) as mesh, clock.bound():
                report(s, mesh, clock)
        except TimeUp:
            print("\nthe time is up")
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
    print(f"\n| model | contender | activations | sequences | tokens/s | TFLOP/s | MFU | memory, GiB |  (context "
          f"{s.context}, {s.accumulate} passes a step)")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for model in s.models:
        config = fitting(s, MODELS[model], device)
        count, flops = meta(config).parameter_count(), meta(config).flops_per_token(s.context)
        label = f"{model}, {config.num_hidden_layers} blocks, {count / 1e9:.2f}B"
        for way in contenders(s, device):
            row = f"| {label} | {way.name} | {way.checkpointing} | {way.rows} |"
            found = contended(s, config, way, mesh, clock)
            if isinstance(found, str):
                print(f"{row} {found} | | | |", flush=True)
                continue
            tokens = way.rows * passes_of(s, way) * s.context / found.seconds
            mfu = f"{tokens * flops / peak:.1%}" if peak else "-"
            print(f"{row} {tokens:,.0f} | {tokens * flops / 1e12:,.1f} | {mfu} | {found.memory / 2**30:,.1f} |",
                  flush=True)  # fmt: skip
    if s.fp8:
        curves(s, mesh, clock)


def contenders(s: Settings, device: torch.device) -> Iterator[Way]:
    """What is measured on one model, most telling first."""
    yield Way(name="llemma", rows=s.micro_batch)
    if s.trainer:
        yield Way(name="transformers' Trainer", rows=s.micro_batch)
    if s.compile:
        yield Way(name="llemma, compiled", rows=s.micro_batch, compile=True)
        yield Way(name="llemma, compiled", rows=s.micro_batch, compile=True, checkpointing="selective")
        yield Way(name="llemma, compiled", rows=1, compile=True, checkpointing="none")
    if s.fp8 and can_fp8(device):
        yield Way(name="llemma, fp8", rows=s.micro_batch, compile=s.compile, fp8=True)


def passes_of(s: Settings, way: Way) -> int:
    """Passes in a step: as many tokens as the others' steps have."""
    return max(1, s.accumulate * s.micro_batch // way.rows)


def contended(s: Settings, config: LlamaConfig, way: Way, mesh: Mesh, clock: Clock) -> Speed | str:
    """A contender measured, or why it was not."""
    if way.name == "transformers' Trainer":
        return measured(lambda: theirs(s, config, mesh.device, clock), clock)
    counted = needed(s, config, way.checkpointing, way.rows)
    if counted > room(mesh.device):
        return f"left out: it is counted to need {counted / 2**30:,.1f} GiB"
    return measured(lambda: ours(s, config, way, mesh, clock, s.steps + WARM, passes_of(s, way)), clock)


def curves(s: Settings, mesh: Mesh, clock: Clock) -> None:
    """The losses of the smallest model in bf16 and fp8, from the same weights on the same rows."""
    if clock.left() < 20 or not can_fp8(mesh.device):
        print("\nloss curves left out: the time is up, or no fp8 on this device")
        return
    config = min((fitting(s, MODELS[name], mesh.device) for name in s.models), key=lambda c: c.hidden_size)
    found: dict[str, tuple[float, ...]] = {}
    for name in ("bf16", "fp8"):
        way = Way(name=name, rows=s.micro_batch, compile=s.compile, fp8=name == "fp8")
        told = measured(lambda way=way: ours(s, config, way, mesh, clock, s.curve, 1), clock)  # type: ignore[misc]
        if isinstance(told, str):
            print(f"\nno loss curves: {name}: {told}")
            return
        found[name] = told.losses
    print(f"\nloss by step, width {config.hidden_size}\n\n| step | bf16 | fp8 |\n| --- | --- | --- |")
    for step in range(0, min(map(len, found.values())), max(1, s.curve // 10)):
        print(f"| {step + 1} | {found['bf16'][step]:.4f} | {found['fp8'][step]:.4f} |", flush=True)


if __name__ == "__main__":
    main()

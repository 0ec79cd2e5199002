"""What a checkpoint costs a training run: how long training waits for a save, in the background and not.

The same model and batches three times in turn: no checkpoints, written in the background, written while training waits.
``stall`` is what the saves kept the loop from going on; ``slower`` is all that the run took longer, so with the
work that the writing thread takes from the cores.

    python bench/checkpoint.py [hidden_size=512] [batch_size=16] [steps=8] [every=4] [folder=/tmp] ...
"""

from __future__ import annotations

import datetime
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

import llemma
from llemma.config import resolve, setting
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.train.checkpoint import Kept, Saver, load_checkpoint
from llemma.train.config import OptimConfig, ParallelConfig
from llemma.train.device import autocast, set_threads
from llemma.train.optim import adamw
from llemma.train.parallel import Mesh, start


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A model, and how often it is saved."""

    vocab_size: int = setting(8192, "entries of the vocabulary")
    hidden_size: int = setting(384, "width of the residual stream")
    intermediate_size: int = setting(1024, "width inside the feed-forward block")
    num_hidden_layers: int = setting(8, "number of blocks")
    num_attention_heads: int = setting(6, "heads")
    context: int = setting(256, "tokens per sequence")
    batch_size: int = setting(16, "sequences per step")
    steps: int = setting(8, "steps of a turn")
    every: int = setting(4, "steps between checkpoints")
    rounds: int = setting(3, "turns of each kind")
    threads: int = setting(0, "CPU threads (0: one per core, at most 8)")
    device: str = setting("auto", "auto, cpu or cuda")
    folder: Path = setting(Path(tempfile.gettempdir()), "where the checkpoints are written")


KINDS = ("none", "background", "waiting")


def turn(s: Settings, kind: str, model: Llama, optimizer: torch.optim.AdamW, mesh: Mesh) -> tuple[float, float, float]:
    """Seconds of the steps, seconds stalled by saves in them, seconds until the last save was complete."""
    batches = torch.randint(s.vocab_size, (s.steps, s.batch_size, s.context + 1), device=mesh.device)
    with (
        tempfile.TemporaryDirectory(dir=s.folder) as folder,
        Saver(Path(folder), mesh, Kept(newest=1), background=kind == "background") as saver,
    ):
        begun = time.perf_counter()
        for step, ids in enumerate(batches, 1):
            with autocast("auto", mesh.device.type):
                loss = model.loss(ids)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()
            if kind != "none" and step % s.every == 0:
                saver.save(step, model, optimizer, end_id=0, state={})
        trained = time.perf_counter() - begun
        saver.wait()
        return trained, saver.stalled, time.perf_counter() - begun


def loading(s: Settings, model: Llama, optimizer: torch.optim.AdamW, mesh: Mesh) -> tuple[float, int]:
    """Seconds to load a checkpoint, hashes checked, and its bytes."""
    with tempfile.TemporaryDirectory(dir=s.folder) as folder:
        with Saver(Path(folder), mesh, Kept(newest=1), background=False) as saver:
            saver.save(1, model, optimizer, end_id=0, state={})
        path = Path(folder) / "step-000001"
        size = sum(file.stat().st_size for file in path.iterdir())
        begun = time.perf_counter()
        load_checkpoint(path, model, optimizer, mesh)
        return time.perf_counter() - begun, size


def main() -> None:
    s = resolve(Settings, words=sys.argv[1:])
    set_threads(s.threads)
    torch.manual_seed(0)
    sizes = LlamaConfig(
        vocab_size=s.vocab_size,
        hidden_size=s.hidden_size,
        intermediate_size=s.intermediate_size,
        num_hidden_layers=s.num_hidden_layers,
        num_attention_heads=s.num_attention_heads,
        num_key_value_heads=s.num_attention_heads,
        max_position_embeddings=s.context,
    )
    with start(ParallelConfig(), s.device) as mesh:
        model = Llama(sizes)
        initialise(model, 0)
        model.to(mesh.device)
        optimizer = adamw(model, OptimConfig(lr=1e-4))
        found: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
        for number in range(s.rounds + 1):
            for kind in KINDS:
                figures = turn(s, kind, model, optimizer, mesh)
                if number:  # the first round warms up
                    found[kind].append(figures)
        took, size = loading(s, model, optimizer, mesh)
        where = torch.cuda.get_device_name(mesh.device) if mesh.device.type == "cuda" else platform.machine()
    step = statistics.median(t for t, _, _ in found["none"]) / s.steps
    saves = s.steps // s.every
    print(f"{datetime.date.today()}; {where}, {torch.get_num_threads()} threads; llemma {llemma.__version__}, "
          f"torch {torch.__version__}")  # fmt: skip
    print(f"{model.parameter_count():,} parameters, {size / 1e6:,.0f} MB a checkpoint, a step {step * 1000:,.0f} ms; "
          f"loaded and checked in {took * 1000:,.0f} ms\n")  # fmt: skip
    print(f"| written | stall of a save, ms | of a step | of {s.every} steps | run slower by |")
    print("| --- | --- | --- | --- | --- |")
    for kind in KINDS[1:]:
        stall = statistics.median(stalled for _, stalled, _ in found[kind]) / saves
        base = statistics.median(t for t, _, _ in found["none"])
        slower = statistics.median(t for t, _, _ in found[kind]) / base - 1
        name = "in the background" if kind == "background" else "while training waits"
        print(f"| {name} | {stall * 1000:,.0f} | {stall / step:.1%} | {stall / step / s.every:.2%} | {slower:.1%} |")


if __name__ == "__main__":
    main()

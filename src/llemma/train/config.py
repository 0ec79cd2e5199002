"""Settings of a training run; free of torch, so that ``--help`` starts at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llemma.config import check_seed, setting
from llemma.errors import ConfigError
from llemma.models.lora_config import LoraSettings
from llemma.train.guard import GuardConfig
from llemma.train.numeric_config import NumericConfig
from llemma.train.sft_config import SftConfig
from llemma.train.tracking import TrackConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """AdamW and its schedule; the defaults other than ``lr`` are the Llemma recipe's (Azerbayev et al. 2023, §2.2)."""

    lr: float = setting(3e-3, "peak learning rate")
    warmup: int = setting(50, "steps of linear warm-up")
    final_ratio: float = setting(1 / 30, "the cosine ends at this share of the peak")
    horizon: int = setting(0, "step at which the cosine ends (0: the last step)")
    beta1: float = setting(0.9, "AdamW beta 1")
    beta2: float = setting(0.95, "AdamW beta 2")
    eps: float = setting(1e-8, "AdamW epsilon")
    weight_decay: float = setting(0.1, "decoupled weight decay, on matrices only")
    clip: float = setting(1.0, "gradient norm is clipped to this (0: never)")

    def __post_init__(self) -> None:
        for name in ("lr", "final_ratio", "eps", "weight_decay", "clip", "warmup", "horizon"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"optim.{name}={value} must be a number of at least 0")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"optim.{name}={getattr(self, name)} must lie in 0..1, 1 excluded")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizes:
    """Sizes of a model that starts from random weights; see ``models.llama.LlamaConfig`` for the meanings."""

    hidden_size: int = setting(128, "width of the residual stream")
    intermediate_size: int = setting(384, "width inside the feed-forward block")
    num_hidden_layers: int = setting(4, "number of blocks")
    num_attention_heads: int = setting(4, "query heads")
    num_key_value_heads: int = setting(4, "key and value heads")
    rope_theta: float = setting(10000.0, "base of the rotary frequencies")
    tie_word_embeddings: bool = setting(True, "share input embedding and output layer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    """How the work is laid out over processes and memory; changes no number by more than rounding."""

    replicate: int = setting(1, "copies of the sharded model (HSDP); the other processes share its weights (FSDP2)")
    tensor: int = setting(1, "processes that share each matrix product (tensor parallel)")
    reshard: bool = setting(True, "give gathered weights back after the forward pass (false: faster, more memory)")
    checkpointing: Literal["none", "selective", "full"] = setting(
        "none", "activations made again backward: none, all but matrix products and attention, or every block"
    )
    compile: bool = setting(False, "compile each block (half a minute at the start; pays on long runs)")

    def __post_init__(self) -> None:
        for name in ("replicate", "tensor"):
            if getattr(self, name) < 1:
                raise ValueError(f"parallel.{name}={getattr(self, name)} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Pretraining (``init=random``) or continued pretraining (``init=FOLDER``) on a corpus folder."""

    corpus: Path = setting(Path(), "corpus folder made by `llemma corpus`; needed when data=corpus")
    data: Literal["corpus", "sft", "numbers"] = setting(
        "corpus", "what is learnt: the text of a corpus, answers to questions, or numbers behind an encoding"
    )
    sft: SftConfig = setting(factory=SftConfig, help="examples when data=sft")
    numbers: NumericConfig = setting(factory=NumericConfig, help="examples and encoding when data=numbers")
    run: Path = setting(Path("runs/train"), "run folder; an interrupted run in it goes on")
    init: str = setting("random", "random, or a Hugging Face model folder or hub name to start from")
    rope_theta: float = setting(0.0, "another base of the rotary frequencies than init's (0: keep it)")
    lora: LoraSettings = setting(factory=LoraSettings, help="adapters beside frozen weights")
    mixture: Mapping[str, float] = setting(factory=dict, help="weights of the sources (default: the corpus manifest's)")
    model: ModelSizes = setting(factory=ModelSizes, help="sizes when init=random")
    context: int = setting(256, "tokens per sequence")
    documents: bool = setting(False, "attention stays within a document (false: rows are one stream, as in Llemma)")
    batch_size: int = setting(16, "sequences per step, over all processes")
    micro_batch: int = setting(0, "sequences a process works on at once; more are accumulated (0: all of its share)")
    steps: int = setting(1000, "optimiser steps")
    epochs: float = setting(0.0, "data=sft: passes over the examples, in place of steps (0: steps)")
    optim: OptimConfig = setting(factory=OptimConfig, help="optimiser")
    precision: Literal["auto", "fp32", "bf16", "fp8"] = setting(
        "auto", "arithmetic of matrix products; auto: bf16 where fast; fp8: within blocks, the rest in bf16"
    )
    z_loss: float = setting(0.0, "weight of the squared log of the softmax's denominator (PaLM: 1e-4)")
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "where to train; auto: a GPU if there is one")
    parallel: ParallelConfig = setting(factory=ParallelConfig, help="layout over processes and memory")
    threads: int = setting(0, "CPU threads (0: one per core, at most 8)")
    seed: int = setting(0, "seed of the initial weights and of the data order")
    checkpoint_every: int = setting(100, "steps between checkpoints")
    keep: int = setting(2, "newest checkpoints kept")
    keep_every: int = setting(0, "checkpoints at multiples of this step are kept too (0: none)")
    save_async: bool = setting(True, "write checkpoints while training goes on")
    log_every: int = setting(10, "steps between logged rows")
    guard: GuardConfig = setting(factory=GuardConfig, help="what to do with steps that go wrong")
    track: TrackConfig = setting(factory=TrackConfig, help="copies of the figures")
    valid_every: int = setting(0, "steps between validation losses (0: only at the end)")
    valid_batches: int = setting(4, "batches per source in a validation")
    export: Path | None = setting(None, "write the newest checkpoint as a Hugging Face folder of this name, and stop")
    trace: str = setting("", "STEP:ROW:COLUMN: show the document behind a token of a batch, and stop")
    dry_run: bool = setting(False, "print parameters, tokens and memory, and stop")
    gpus: int = setting(1, "GPUs that dry_run and launch plan for")
    gpus_per_node: int = setting(8, "GPUs of one machine, for launch")
    launch: Literal["", "torchrun", "slurm", "skypilot"] = setting("", "print a script that starts this run, and stop")

    def __post_init__(self) -> None:
        for name in (
            "context",
            "batch_size",
            "steps",
            "checkpoint_every",
            "keep",
            "log_every",
            "valid_batches",
            "gpus",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.data == "corpus" and self.corpus == Path():
            raise ValueError("missing key corpus (corpus folder made by `llemma corpus`)")
        if self.data == "sft" and self.init == "random":
            raise ValueError("data=sft needs init=FOLDER, a model to fine-tune")
        if self.data == "numbers" and (self.lora.rank or self.precision == "fp8"):
            raise ValueError("data=numbers trains whole models, in fp32 or bf16; leave lora.rank and precision=fp8")
        if self.lora.rank and self.init == "random":
            raise ValueError("lora.rank needs init=FOLDER, a model to put adapters beside")
        if self.epochs and self.data != "sft":
            raise ValueError(f"epochs={self.epochs}: a corpus is read for steps=; epochs belong to data=sft")
        for name in ("epochs", "rope_theta", "micro_batch", "keep_every", "valid_every", "z_loss"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0")
        check_seed(self.seed)
        for name, weight in self.mixture.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"mixture.{name}={weight} must be a number of at least 0")
        if self.mixture and not sum(self.mixture.values()) > 0:
            raise ValueError("the weights of the mixture must sum to something positive")


# Settings that may change when a run goes on: they do not touch the numbers, or (parallel, micro_batch, device) only
# by the order of additions. What lies in the folders corpus and
# init is held by sha256, so that a whole tree of runs may be moved.
FREE = (
    *(
        "run",
        "corpus",
        "init",
        "keep",
        "keep_every",
        "save_async",
        "trace",
        "dry_run",
        "gpus",
        "gpus_per_node",
        "launch",
    ),
    *("parallel", "micro_batch", "device", "track"),
)


def learning_rate(optim: OptimConfig, step: int, steps: int) -> float:
    """The rate of update number ``step`` (from 0): linear warm-up, then cosine to ``final_ratio``, then flat."""
    if step < optim.warmup:
        return optim.lr * (step + 1) / optim.warmup
    horizon = optim.horizon or steps
    progress = min(1.0, (step - optim.warmup) / max(1, horizon - optim.warmup))
    return optim.lr * (optim.final_ratio + (1 - optim.final_ratio) * 0.5 * (1 + math.cos(math.pi * progress)))


def sizes(settings: ParallelConfig, world: int) -> tuple[int, int, int]:
    """How ``world`` processes are laid out: (replicas, shards, tensor-parallel). Raises ConfigError."""
    inner = settings.replicate * settings.tensor
    if world % inner:
        raise ConfigError(
            f"parallel.replicate={settings.replicate} times parallel.tensor={settings.tensor} does not divide {world} "
            f"process{'es' * (world > 1)}; start a multiple of {inner} with torchrun --nproc-per-node"
        )
    return settings.replicate, world // inner, settings.tensor

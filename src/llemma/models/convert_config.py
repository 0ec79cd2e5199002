"""Settings of ``llemma convert``; free of torch, so that ``--help`` starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llemma.config import check_seed, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertConfig:
    """A model folder, run, checkpoint or hub name in; a Hugging Face folder or a GGUF file out."""

    paths: tuple[str, ...] = setting(help="IN OUT: a model, run or checkpoint folder or a hub name; what to write")
    vocab_size: int = setting(0, "entries of the vocabulary (0: as they are)")
    multiple: int = setting(1, "the vocabulary is padded to a multiple of this (64 or 128 suits a GPU)")
    fill: Literal["mean", "normal", "zero"] = setting("mean", "new rows: mean of the old ones, N(0, 0.02²), or zero")
    rope_theta: float = setting(0.0, "base of the rotary frequencies (0: as it is)")
    context: int = setting(0, "max_position_embeddings (0: as they are)")
    dtype: Literal["keep", "fp32", "bf16", "fp16"] = setting("keep", "precision of the weights")
    adapter: Path | None = setting(None, "a folder of peft's: this LoRA adapter is added to the weights")
    shard_gb: float = setting(5.0, "largest weight file in 10^9 bytes; more are written with an index")
    check: bool = setting(True, "compare logits before and after (each model once in memory, in fp32)")
    gguf: str = setting("auto", "type of a GGUF file (OUT ends in .gguf): auto, f32, f16, bf16, q8_0")
    llama_cpp: Path | None = setting(None, "llama.cpp's folder or its convert_hf_to_gguf.py, which writes GGUF files")
    seed: int = setting(0, "seed of fill=normal")

    def __post_init__(self) -> None:
        if len(self.paths) != 2:
            raise ValueError(f"expected IN and OUT, got {' '.join(self.paths) or 'nothing'}")
        for name in ("vocab_size", "rope_theta", "context"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0")
        if self.multiple < 1 or not self.shard_gb > 0:
            raise ValueError("multiple must be at least 1, shard_gb positive")
        check_seed(self.seed)

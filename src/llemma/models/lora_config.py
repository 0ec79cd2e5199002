"""Settings of LoRA; free of torch and peft, so that ``--help`` starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llemma.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """Adapters beside frozen weights (Hu et al. 2021)."""

    rank: int = setting(0, "rank of the adapters (0: no LoRA, every weight learns)")
    alpha: float = setting(16.0, "an adapter's product is scaled by alpha / rank")
    targets: tuple[str, ...] = setting((), "last names of the linear layers (default: all of the blocks)")
    frozen: Literal["whole", "nf4"] = setting("whole", "frozen weights as they are, or in 4 bits (QLoRA: needs a GPU)")

    def __post_init__(self) -> None:
        if self.rank < 0 or not self.alpha > 0:
            raise ValueError(f"lora.rank={self.rank} must be at least 0, lora.alpha={self.alpha} positive")

"""Settings of supervised fine-tuning; free of numpy and torch, so that ``--help`` starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llemma.config import setting

Template = Literal["auto", "alpaca", "metamath", "chat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SftConfig:
    """Where the examples lie, how they become text, what counts in the loss. See docs/sft.md."""

    files: tuple[Path, ...] = setting(
        (), "files of examples, .jsonl or one array in .json; a file's name is its source's"
    )
    template: Template = setting(
        "auto",
        "how questions become prompts: alpaca; metamath (Alpaca, further lines of a question as input); chat (the "
        "model's template); auto: chat for messages, alpaca for questions; rows with prompt and response are verbatim",
    )
    chat_template: Path | None = setting(None, "file with a Jinja chat template; none: the one in the model's folder")
    turns: Literal["all", "last"] = setting("all", "which answers of a chat count in the loss")
    length: int = setting(0, "longest example in tokens (0: as many as a row holds, context + 1)")
    too_long: Literal["drop", "cut"] = setting("drop", "longer examples are dropped, or lose the end of their answer")
    packing: bool = setting(True, "several examples in a row, each seeing only itself")
    valid_share: float = setting(0.0, "share of the examples held out for validation, by hash of their tokens")

    def __post_init__(self) -> None:
        if self.length < 0 or self.length == 1:
            raise ValueError(f"sft.length={self.length} must be 0 or at least 2")
        if not 0 <= self.valid_share < 1:
            raise ValueError(f"sft.valid_share={self.valid_share} must lie in 0..1, 1 excluded")

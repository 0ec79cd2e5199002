"""Settings of the verbs about tokens; free of numpy, so that ``--help`` starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llemma.config import check_seed, setting
from llemma.errors import nearest

ENCODING_NAMES = (
    "bpe", "digits", "digits-reversed", "abacus", "chunk3-l2r", "chunk3-r2l", "p10", "p1000", "b1999", "fp15", "place",
    "xval", "xval-log", "fone", "bits", "hybrid",
)  # fmt: skip
AUDITED = ("cl100k", "o200k", "p50k", "bpe", "digits", "chunk3-r2l")
PROBE_TASKS = ("orbits", "product3", "product5")


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbersConfig:
    """Which encodings are compared, on what, how often."""

    action: Literal["compare", "cards", "audit"] = setting(
        "compare", "compare: the probe's table; cards: what each can hold; audit: how tokenisers cut numbers"
    )
    encodings: tuple[str, ...] = setting(ENCODING_NAMES, "encodings to compare")
    tasks: tuple[str, ...] = setting(
        PROBE_TASKS, "orbits, product3, product5 (products of two numbers of so many digits)"
    )
    tokenizers: tuple[str, ...] = setting(
        AUDITED,
        "to audit: encodings, cl100k, o200k, p50k, r50k, deepseek, claude, hub names, folders, tokenizer.json, .model",
    )
    samples: int = setting(3000, "problems to learn from")
    seeds: int = setting(3, "repetitions")
    seed: int = setting(0, "the first seed")
    run: Path = setting(Path("runs/numbers"), "run folder; an interrupted run in it goes on")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.samples < 200:
            raise ValueError(f"samples={self.samples}: must be at least 200")
        if self.seeds < 1:
            raise ValueError(f"seeds={self.seeds}: must be at least 1")
        if not (self.encodings and self.tasks):
            raise ValueError("encodings and tasks: name at least one of each")
        if not self.tokenizers:
            raise ValueError("tokenizers: name at least one")
        for given, known in ((self.encodings, ENCODING_NAMES), (self.tasks, PROBE_TASKS)):
            for name in given:
                if name not in known and not (known is ENCODING_NAMES and name.startswith("bpe:")):
                    raise ValueError(f"{name!r} is unknown{nearest(name, known)}")

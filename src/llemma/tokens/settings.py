"""Settings of the verbs about tokens; free of numpy, so that ``--help`` starts at once."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llemma.config import check_seed, setting
from llemma.errors import nearest

ENCODING_NAMES = (
    "bpe", "digits", "digits-reversed", "abacus", "chunk3-l2r", "chunk3-r2l", "p10", "p1000", "b1999", "fp15", "place",
    "xval", "xval-log", "fone", "bits", "hybrid",
)  # fmt: skip
GPT_NAMES = ("cl100k", "o200k", "p50k", "r50k")
AUDITED = ("cl100k", "o200k", "p50k", "bpe", "digits", "chunk3-r2l")
PROBE_TASKS = ("orbits", "product3", "product5")
TRAINED_TASKS = ("addition3", "product3", "product5", "trees", "orbits", "text")
_TRAINED = re.compile(r"(addition|product)[1-9]|trees|orbits|text")
_PROBED = 3000  # samples
_LEARNT = {"addition": 60_000, "product": 20_000, "trees": 20_000, "orbits": 20_000, "text": 10_000}  # samples


def check_encoding(name: str, *, pinned: bool = False) -> None:
    """ValueError for what is no number encoding, nor ``bpe:TOKENISER``.

    ``pinned``: a model is to be kept, so that a tokeniser must be one of GPT's, which are known by their sha256.
    """
    tokeniser = name.removeprefix("bpe:")
    if name not in ENCODING_NAMES and tokeniser == name:
        raise ValueError(f"encoding {name!r} is unknown{nearest(name, ENCODING_NAMES)}")
    if pinned and tokeniser != name and tokeniser not in GPT_NAMES:
        raise ValueError(
            f"encoding {name!r}: a model is trained behind bpe:{', bpe:'.join(GPT_NAMES)} only; the cuts of a file may "
            f"change under it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedConfig:
    """The models of ``llemma numbers compare`` and how long they learn."""

    width: int = setting(64, "width of the residual stream; the feed-forward block is three times as wide")
    layers: int = setting(3, "number of blocks")
    heads: int = setting(4, "attention heads")
    reference: str = setting("digits", "encoding whose tokens and FLOPs for `samples` samples are the other budgets")
    tokens: int = setting(0, "tokens of the view of equal tokens (0: the reference's)")
    flops: float = setting(0.0, "operations of the view of equal FLOPs (0: the reference's)")
    batch: int = setting(64, "samples per step")
    lr: float = setting(3e-3, "learning rate, constant after the warm-up; averages of weights stand for its decay")
    warmup: int = setting(20, "steps of linear warm-up")
    points: int = setting(3, "measurements beside those of the views, each at half the samples of the next")
    tests: int = setting(200, "problems of each test")
    losses: tuple[Literal["usual", "was", "mse"], ...] = setting(
        ("usual",),
        "usual; was, mse: also a run with this number token loss for each encoding whose tokens are whole numbers",
    )
    offset: int = setting(
        0, "abacus: places are shifted by up to this in training (0: as far as a test has longer numbers)"
    )
    average: float = setting(
        0.3, "a model is measured with the mean of its weights over this share of its steps, the last; 0: as they are"
    )
    threads: int = setting(1, "CPU threads")
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "where to train; auto: a GPU if there is one")

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "batch", "points", "tests", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name}={getattr(self, name)} must be at least 1")
        for name in ("tokens", "flops", "lr", "warmup"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"train.{name}={getattr(self, name)} must be a number of at least 0")
        if not 0 <= self.average < 1:
            raise ValueError(f"train.average={self.average} must lie in 0..1, 1 excluded")
        if self.width % (2 * self.heads):
            raise ValueError(f"train.width={self.width} must be a multiple of twice train.heads={self.heads}")
        if not 0 <= self.offset <= 1000:
            raise ValueError(f"train.offset={self.offset} must lie in 0..1000")
        if not self.losses:
            raise ValueError("train.losses: name at least one of usual, was, mse")
        if self.reference not in ENCODING_NAMES:
            raise ValueError(
                f"train.reference={self.reference!r} is no encoding{nearest(self.reference, ENCODING_NAMES)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbersConfig:
    """Which encodings are compared, on what, how often."""

    action: Literal["compare", "probe", "cards", "audit"] = setting(
        "compare",
        "compare: models trained behind each encoding; probe: a closed form in place of models; cards: what each "
        "holds; audit: how tokenisers cut numbers",
    )
    encodings: tuple[str, ...] = setting(ENCODING_NAMES, "encodings to compare")
    tasks: tuple[str, ...] = setting(
        (),
        "probe: orbits, product3, product5; compare: also addition3, trees, text, and other numbers of digits; "
        "none: the usual ones",
    )
    tokenizers: tuple[str, ...] = setting(
        AUDITED,
        "audit: encodings, cl100k, o200k, p50k, r50k, deepseek, claude, hub names, folders, tokenizer.json, .model",
    )
    samples: int = setting(0, "problems to learn from (0: probe 3,000; compare: by task, see docs/numbers.md)")
    seeds: int = setting(3, "repetitions")
    seed: int = setting(0, "the first seed")
    train: TrainedConfig = setting(factory=TrainedConfig, help="compare: models and budgets")
    run: Path | None = setting(None, "run folder, an interrupted run in it goes on; none: runs/numbers-ACTION")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.samples and self.samples < 200:
            raise ValueError(f"samples={self.samples}: must be at least 200")
        if self.seeds < 1:
            raise ValueError(f"seeds={self.seeds}: must be at least 1")
        if not self.encodings:
            raise ValueError("encodings: name at least one")
        if not self.tokenizers:
            raise ValueError("tokenizers: name at least one")
        for name in self.encodings:
            check_encoding(name, pinned=self.action == "compare")
        for name in self.tasks:
            known = name in PROBE_TASKS if self.action == "probe" else _TRAINED.fullmatch(name)
            if not known:
                others = PROBE_TASKS if self.action == "probe" else TRAINED_TASKS
                raise ValueError(f"task {name!r} is unknown{nearest(name, others)}")

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run if self.run is not None else Path(f"runs/numbers-{self.action}")

    @property
    def chosen_tasks(self) -> tuple[str, ...]:
        """The tasks, the usual ones of the action where none is named."""
        return self.tasks or (PROBE_TASKS if self.action == "probe" else TRAINED_TASKS)

    def samples_of(self, task: str) -> int:
        """The samples to learn from, the usual number of action and task where none is given."""
        return self.samples or (_PROBED if self.action == "probe" else _LEARNT[task.rstrip("0123456789")])

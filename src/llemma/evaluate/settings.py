"""Settings of the verbs around an evaluation; free of numpy and the grader, so that ``--help`` starts at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llemma.config import check_seed, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveConfig:
    """Settings of ``llemma solve``."""

    question: str = setting(help="the question, in quotation marks")
    model: str = setting(help="KIND:TARGET, e.g. hf:NAME_OR_FOLDER or openai:MODEL@URL")
    samples: int = setting(8, "answers that vote; 1 is greedy")
    temperature: float | None = setting(None, "none: 0 for one sample, 0.6 for more")
    max_tokens: int = setting(512, "tokens per answer")
    shots: int = setting(4, "worked examples before the question, 0 to 4")
    seed: int = setting(0, "another seed draws other samples")
    tools: Literal["none", "python"] = setting(
        "none", "python: blocks of Python in a text are run, their output put in"
    )
    sandbox: str = setting("auto", "where blocks run: auto, T1 or T2; see llemma doctor")
    engine: Mapping[str, Any] = setting(factory=dict, help="options of the back end, e.g. engine.chat=true")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not self.question.strip():
            raise ValueError("question is empty")
        if self.samples < 1 or self.max_tokens < 1:
            raise ValueError(f"samples={self.samples} max_tokens={self.max_tokens}: must be at least 1")
        if not 0 <= self.shots <= 4:
            raise ValueError(f"shots={self.shots}: there are examples for 0 to 4")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """Settings of ``llemma check-task``."""

    tasks: tuple[str, ...] = setting(help="tasks: NAME, NAME:VARIANT or FILE.py[:VARIANT]")
    options: Mapping[str, Any] = setting(factory=dict, help="options of the tasks, e.g. options.prompt=own")

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("no task given; `llemma list tasks` shows them")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegradeConfig:
    """Settings of ``llemma regrade``."""

    run: Path = setting(help="run folder of `llemma eval`; its grades are replaced, the texts stay")
    scorer: Literal["", "both", "strict", "paper"] = setting("", "who grades; empty: as the run was graded")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeConfig:
    """Settings of ``llemma merge``."""

    runs: tuple[Path, ...] = setting(help="the run folders of the shards, all of them")
    run: Path = setting(help="the run folder to write")

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("runs is empty: name the folders of all shards")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig:
    """Settings of ``llemma compare``."""

    runs: tuple[Path, ...] = setting(help="two run folders of `llemma eval`, the older first")
    k: int | None = setting(None, "compare votes of k samples; none: the share of correct samples")
    scorer: str = setting("", "whose verdicts; empty: those of the scorer in front")
    seed: int = setting(0, "seed of the bootstrap")

    def __post_init__(self) -> None:
        if len(self.runs) != 2:
            raise ValueError(f"{len(self.runs)} runs: name two, as in `llemma compare runs/before runs/after`")
        if self.k is not None and self.k < 1:
            raise ValueError(f"k={self.k}: must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Settings of ``llemma export``."""

    run: Path = setting(help="run folder of `llemma eval`")
    format: Literal["lm-eval", "inspect"] = setting("lm-eval", "samples of lm-eval, or a log of inspect, per task")
    out: Path = setting(help="folder to write into; it is made when it does not exist")

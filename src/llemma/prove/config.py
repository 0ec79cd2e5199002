"""Settings of ``llemma prove`` and ``llemma check``; runs nothing, so that ``--help`` starts at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llemma.config import check_seed, setting
from llemma.provers import CHECK, TACTIC, Limits

SearchName = Literal["ladder", "best_first", "greedy", "whole", "mcts", "sketch"]
PromptName = Literal["auto", "paper", "own", "zero"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one search for one theorem may use. Without ``seconds`` the result does not depend on the clock."""

    expansions: int | None = setting(100, "proof states that may be expanded (the paper: 100)")
    tactic_calls: int | None = setting(None, "tactics and whole proofs that the prover may try")
    tokens: int | None = setting(None, "tokens that the model may write")
    seconds: float | None = setting(None, "wall-clock seconds; makes the result depend on the machine")

    def __post_init__(self) -> None:
        for name in ("expansions", "tactic_calls", "tokens", "seconds"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"budget.{name}={value}: must be above 0, or none for no limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProveConfig:
    """Settings of ``llemma prove``. Checked on construction; ValueError says which one is wrong."""

    source: str = setting(help="a file of statements, a task (NAME, NAME:VARIANT, FILE.py), or replay:FOLDER")
    prover: str = setting("", "coq, lean, toy, … ; none: by the ending of the file")
    search: tuple[SearchName, ...] = setting(
        ("ladder",), "one search, or several to be compared, e.g. greedy,best_first"
    )
    model: str = setting("", "KIND:TARGET as for eval; fixed: a list of tactics instead of a model")
    ladder: bool = setting(True, "also climb the ladder of automatic tactics, to be reported beside the model")
    names: tuple[str, ...] = setting((), "only the theorems with these names")
    limit: int | None = setting(None, "only the first theorems")
    candidates: int = setting(32, "tactics that the model proposes for a state (the paper: 32)")
    sampling: Literal["auto", "beam", "sample"] = setting(
        "auto", "how it proposes them: beam search as in the paper, or samples; auto: beam where the back end has it"
    )
    temperature: float = setting(1.0, "of samples")
    top_p: float = setting(1.0, "nucleus of samples")
    max_tokens: int | None = setting(None, "none: 256 for a tactic (the paper), 1024 for a whole proof")
    prompt: PromptName = setting(
        "auto", "paper: its three examples; own: ours; zero: none, the form tactic models are trained on; auto: paper's"
    )
    score: Literal["tactic", "sum", "path"] = setting(
        "tactic", "of a path: sum of log-probabilities per token (the paper), sum, or sum / length^alpha (BFS-Prover)"
    )
    alpha: float = setting(0.5, "exponent of score=path")
    dedup: Literal["state", "paper"] = setting(
        "state", "state: no state is expanded twice; paper: the paper's rule, which may expand one again"
    )
    samples: int = setting(8, "search=whole: proofs per theorem; search=sketch: sketches")
    rounds: int = setting(0, "search=whole: times a refused proof goes back to the model with the error")
    explore: float = setting(1.25, "search=mcts: weight of the prior against the value")
    depth: int = setting(64, "longest path of tactics")
    budget: Budget = setting(Budget(), "limits of a search")
    limits: Limits = setting(TACTIC, "limits of one tactic")
    check: Limits = setting(CHECK, "limits of the check of a finished proof")
    seed: int = setting(0, "seed of the samples")
    workers: int | None = setting(None, "theorems worked on at a time; none: one per core")
    cache: str = setting("auto", "file that keeps tactic results; auto: in the run folder; none: keep nothing")
    cache_timeouts: bool = setting(False, "take a stored time-out or crash as final")
    run: Path | None = setting(None, "folder for rows, traces and metrics, resumed when it exists; none: keep nothing")
    engine: Literal["local", "ray"] = setting("local", "ray: provers as actors on the machines of a Ray cluster")
    address: str = setting("", "engine=ray: address of the cluster; none: one of its own on this machine")
    options: Mapping[str, Any] = setting(factory=dict, help="options of the task, e.g. options.split=test")
    prover_options: Mapping[str, Any] = setting(factory=dict, help="options of the prover")
    backend: Mapping[str, Any] = setting(factory=dict, help="options of the back end, e.g. backend.concurrency=64")

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError("nothing to prove: name a file of statements or a task")
        if not self.search:
            raise ValueError("search is empty; ladder, best_first, greedy, whole, mcts and sketch are there")
        if len(set(self.search)) < len(self.search):
            raise ValueError(f"search={','.join(self.search)}: a search is named twice")
        for name in ("candidates", "samples", "depth", "max_tokens", "limit", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: must be at least 1")
        if self.rounds < 0 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError("rounds and temperature must not be negative, top_p must be above 0 and at most 1")
        check_seed(self.seed)

    @property
    def searches(self) -> tuple[SearchName, ...]:
        """All that is run: what was asked for, and the ladder beside it."""
        extra: tuple[SearchName, ...] = ("ladder",) if self.ladder and "ladder" not in self.search else ()
        return (*self.search, *extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """Settings of ``llemma check``."""

    file: Path = setting(help="the text nobody trusts: a whole file, or a proof alone")
    statement: Path = setting(help="the trusted file with the statement; a proof in it is not looked at")
    prover: str = setting("", "coq, lean, toy, … ; none: by the ending of the statement's file")
    name: str = setting("", "which theorem of the statement's file; none: the only one there")
    check: Limits = setting(CHECK, "limits of the check")
    prover_options: Mapping[str, Any] = setting(factory=dict, help="options of the prover")

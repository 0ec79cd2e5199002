"""Plug-ins that check proofs: what stands behind ``prover=`` is a file here.

A prover is a file (or folder) here with

- ``Options``: a frozen dataclass of its settings,
- ``open(options) -> Prover``: raises ProverError with the remedy when the program is not on this machine,
- ``read(text, source) -> list[Theorem]``: the statements of a file in the prover's language, without running it,
- ``script(tactics) -> str``: the proof text that ``check`` takes, out of the tactics of a path.

Search believes ``apply``; a score is printed only after ``check``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, cast

from llemma import plugins
from llemma.config import build, setting
from llemma.errors import ConfigError
from llemma.records import Failure, ProofState, Theorem, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one tactic, or one check of a finished proof, may use."""

    seconds: float = setting(10.0, "wall-clock seconds")
    memory: int = setting(2048, "megabytes")

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= 86_400:
            raise ValueError(f"seconds={self.seconds}: must lie above 0 and at most at 86400")
        if not 64 <= self.memory <= 1_000_000:
            raise ValueError(f"memory={self.memory}: must be at least 64 and at most 1000000 megabytes")


TACTIC = Limits()
CHECK = Limits(seconds=300.0, memory=4096)


class Prover(Protocol):
    """One prover with its worker processes. All methods may be called from several threads at once."""

    @property
    def name(self) -> str:
        """``coq``, ``lean``, ..."""
        ...

    @property
    def version(self) -> str:
        """Of the program and of what decides the meaning of statements; part of every cache key."""
        ...

    @property
    def info(self) -> Mapping[str, str]:
        """Stored with every run: version, libraries, walls around the processes, known bugs of the kernel."""
        ...

    def start(self, theorem: Theorem) -> ProofState | Failure:
        """The state before the first tactic; a Failure when prelude or statement is refused."""
        ...

    def apply(self, state: ProofState, tactic: str, limits: Limits = TACTIC) -> ProofState | Failure:
        """The state after one tactic (one sentence, one line of a block). Any state ever returned may be given.

        ``forbidden`` is text that is no tactic or gives the goal up (``admit``, ``sorry``); ``crash`` a worker that
        died of it. After any Failure the state given is as good as before.
        """
        ...

    def check(self, theorem: Theorem, proof: str, limits: Limits = CHECK) -> Verdict:
        """Whether ``proof``, tactics only, proves the theorem; ``proof`` is hostile text."""
        ...

    def check_file(self, theorem: Theorem, text: str, limits: Limits = CHECK) -> Verdict:
        """The same for a whole file that states the theorem anew under its name, perhaps after lemmas of its own."""
        ...

    def close(self) -> None:
        """End all processes."""
        ...


def module(name: str) -> ModuleType:
    """The plug-in ``name``, or the file ``name`` when it ends in ``.py``; ConfigError for one that is no prover."""
    found = plugins.load("provers", name)
    missing = [part for part in ("Options", "open", "read", "script") if not hasattr(found, part)]
    if missing:
        raise ConfigError(f"{name} is not a prover: the file lacks {', '.join(missing)}")
    return found


def open_prover(name: str, options: Mapping[str, Any] | None = None) -> Prover:
    """Start the prover ``name``; ConfigError for a bad name or option, ProverError when it is not installed."""
    found = module(name)
    return cast(Prover, found.open(build(found.Options, options or {}, prefix=f"{name}.")))


def theorem_hash(theorem: Theorem) -> str:
    """Names the statement, its prelude and its name together: 16 hexadecimal digits that stand beside every score."""
    return _digest((theorem.prelude, theorem.statement, theorem.name))


def state_key(state: ProofState) -> str:
    """Equal for states of one theorem with the same goals in the same order, however they were reached."""
    return _digest([(goal.hypotheses, goal.conclusion) for goal in state.goals])


def _digest(value: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()[:16]

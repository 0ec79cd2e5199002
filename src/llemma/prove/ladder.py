"""Proving without a model: the ladder of automatic tactics, what closes the gaps of a sketch, and a fixed policy.

The tactics are data (``tactics.toml``). What a model proves is worth something beside what the ladder proves.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from llemma.errors import ConfigError
from llemma.prove.policy import Candidate, Proposal
from llemma.records import ProofState, Theorem

Kind = Literal["ladder", "gaps", "moves"]

_NAME = re.compile(r"[^\s:,]+")
HYPOTHESES = 12  # the last ones are put into the moves: they are the newest


@functools.cache
def table() -> Mapping[str, Mapping[str, Any]]:
    """The tables of ``tactics.toml``."""
    text = resources.files("llemma.prove").joinpath("tactics.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def tactics(kind: Kind, prover: str, prelude: str) -> list[Any]:
    """The entries of a table that fit a prelude, in order. Raises ConfigError when the prover has none."""
    groups = table()[kind].get(prover)
    if groups is None:
        raise ConfigError(f"there is no {kind} for the prover {prover}; known: {', '.join(table()[kind])}")
    found = []
    for group in groups:
        if group.get("needs", "") in prelude and not ("unless" in group and group["unless"] in prelude):
            found += group["tactics"]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """Proposes the tactics of the ladder, whatever the state."""

    prover: str
    kind: Kind = "ladder"

    @property
    def info(self) -> Mapping[str, str]:
        """Nothing but the name."""
        return {"engine": self.kind}

    def propose(self, theorem: Theorem, state: ProofState) -> Proposal:
        """Every rung, in order."""
        found = tactics(self.kind, self.prover, theorem.prelude)
        return Proposal(candidates=tuple(Candidate(tactic=tactic) for tactic in found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """Proposes a fixed list of tactics with fixed log-probabilities, filled in with the names of hypotheses."""

    prover: str
    candidates: int

    @property
    def info(self) -> Mapping[str, str]:
        """Nothing but the name."""
        return {"engine": "fixed"}

    def propose(self, theorem: Theorem, state: ProofState) -> Proposal:
        """The likeliest moves, the best first."""
        names = hypotheses(state)
        found: dict[str, Candidate] = {}
        for pattern, logprob in tactics("moves", self.prover, theorem.prelude):
            for name in names if "{hypothesis}" in pattern else [""]:
                tactic = pattern.replace("{hypothesis}", name)
                found.setdefault(tactic, Candidate(tactic=tactic, logprob=logprob))
        ordered = sorted(found.values(), key=lambda c: -c.logprob)
        return Proposal(candidates=tuple(ordered[: self.candidates]))


def hypotheses(state: ProofState) -> list[str]:
    """The names of the first goal's hypotheses, the newest first."""
    if not state.goals:
        return []
    names = []
    for line in state.goals[0].hypotheses:
        before = line.partition(":")[0]
        names += [name for name in _NAME.findall(before) if not name.endswith(("✝", "="))]
    return names[::-1][:HYPOTHESES]

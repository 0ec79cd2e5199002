"""What a search did, expansion by expansion, as JSON lines; equal for equal runs, bit by bit.

No times stand in a trace: they are kept in a file beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llemma.prove.policy import Candidate
from llemma.run import atomic_write

LONGEST = 2_000  # characters of a message
DIGITS = 10  # significant digits of a number: the last bits of a log-probability are noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A candidate and its end: ``open`` (a new state, ``node``), ``proof``, ``rejected`` by the check, ``seen`` before,
    ``deep``, or a kind of failure."""

    candidate: Candidate
    result: str
    message: str = ""
    node: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """One expanded state: where it stands in the tree, what was proposed for it and what came of that."""

    node: int
    parent: int | None
    tactic: str
    cost: float
    key: str
    state: str
    prompt: str
    tokens: int
    candidates: tuple[Tried, ...]
    calls: int


@dataclass(slots=True)
class Trace:
    """The expansions of one search and when each was done, in seconds from its beginning."""

    lines: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    begin: float = field(default_factory=time.monotonic)

    def add(self, expansion: Expansion) -> None:
        """Write down an expansion."""
        self.seconds.append(round(time.monotonic() - self.begin, 4))
        row: dict[str, Any] = {
            "n": len(self.lines),
            "node": expansion.node,
            "parent": expansion.parent,
            "tactic": expansion.tactic,
            "cost": _number(expansion.cost),
            "key": expansion.key,
            "state": expansion.state,
            "prompt": expansion.prompt,
            "tokens": expansion.tokens,
            "calls": expansion.calls,
            "candidates": [_tried(each) for each in expansion.candidates],
        }
        self.lines.append(json.dumps(row, ensure_ascii=True))


def _tried(each: Tried) -> dict[str, Any]:
    row: dict[str, Any] = {
        "tactic": each.candidate.tactic,
        "logprob": _number(each.candidate.logprob),
        "tokens": each.candidate.tokens,
        "result": each.result,
    }
    if each.node is not None:
        row["node"] = each.node
    if each.message:
        row["message"] = each.message[:LONGEST]
    return row


def _number(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def file_name(theorem: str, search: str) -> str:
    """The name of the trace of a search; readable, and different for different theorems."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", theorem)[:80].lstrip(".")
    if plain != theorem:
        plain += "-" + hashlib.sha256(theorem.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain}.{search}.jsonl"


def write_trace(folder: Path, name: str, lines: Sequence[str], seconds: Sequence[float]) -> None:
    """Write a trace into ``folder/trace`` and its times beside."""
    place = folder / "trace"
    place.mkdir(exist_ok=True)
    atomic_write(place / name, "".join(line + "\n" for line in lines))
    atomic_write(place / name.replace(".jsonl", ".seconds.json"), json.dumps(list(seconds)) + "\n")

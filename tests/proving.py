"""What tests of proof search share: theorems of the toy prover, models that answer by rule, provers with faults."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llemma.backends import Request
from llemma.provers import open_prover
from llemma.records import Completion, Failure, ProofState, Sampling, Theorem, Verdict

EASY = {
    "and_swap": "p & q -> q & p",
    "or_swap": "p | q -> q | p",
    "chain": "(p -> q) -> (q -> r) -> p -> r",
    "linear": "x <= y & y < 3 * z -> 2 * x < 6 * z",
    "spread": "p & (q | r) -> (p & q) | (p & r)",
    "gather": "(p & q) | (p & r) -> p & (q | r)",
    "curry": "(p & q -> r) -> p -> q -> r",
    "contra": "(p -> q) -> ~q -> ~p",
    "either": "(p -> r) -> (q -> r) -> p | q -> r",
    "bounds": "x + y = 4 -> x - y = 2 -> x = 3 & y = 1",
}
FALSE = {"wrong": "p -> q", "classical": "p | ~p"}  # the second is true, but no move of model=fixed proves it


def toy_file(path: Path, statements: Mapping[str, str]) -> Path:
    """A file of statements for the toy prover."""
    path.write_text("".join(f"theorem {name} : {text}\n\n" for name, text in statements.items()))
    return path


def many(count: int) -> dict[str, str]:
    """Theorems and falsehoods of growing size, all different."""
    found: dict[str, str] = {}
    for i in range(count):
        names = [f"a{j}" for j in range(2 + i % 4)]
        kinds = [
            (" & ".join(names), " & ".join(reversed(names))),
            (" | ".join(names), " | ".join(names[::-1])),
            (names[0], f"(({names[0]} -> {names[1]}) -> {names[1]}) & ({names[0]} | b{i})"),
            (f"{names[0]} & b{i}", f"{names[-1]} | b{i + 1}"),
            (f"x <= {i} & y <= 2 * x", f"y <= {2 * i} & (b{i} | y < {2 * i + 1})"),
        ]
        left, right = kinds[i % len(kinds)]
        found[f"t{i:02d}"] = f"{left} -> {right}"
    return found


def theorem(statement: str, name: str = "t") -> Theorem:
    """A theorem for the toy prover."""
    return Theorem(name=name, statement=f"theorem {name} : {statement}")


def lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


MOVES = [
    "intro",
    "trivial",
    "split",
    "left",
    "right",
    "cases h",
    "cases h1",
    "apply h",
    "linarith",
    "exfalso",
    "intro h9",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByRule:
    """A back end whose samples are moves drawn by the seed, with log-probabilities drawn by prompt and move."""

    moves: Sequence[str] = tuple(MOVES)
    batch: int = 64
    info: Mapping[str, str] = field(default_factory=lambda: {"engine": "by rule"})

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Completion:
        text = "\n" + self.moves[request.seed % len(self.moves)] + " " * (request.seed // 64 % 2)
        digest = hashlib.sha256((request.prompt + text.strip()).encode()).digest()
        return Completion(text=text, finish="stop", logprob=-digest[0] / 32, tokens=1 + digest[1] % 5)


@dataclass(slots=True, kw_only=True)
class Scripted:
    """A back end that gives what a function of the request says, without log-probabilities; keeps what it was asked."""

    answer: Callable[[Request], str]
    batch: int = 8
    info: Mapping[str, str] = field(default_factory=lambda: {"engine": "scripted"})
    asked: list[Request] = field(default_factory=list)

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        self.asked += requests
        return [Completion(text=self.answer(request), finish="stop", tokens=7) for request in requests]


class Faulty:
    """The toy prover with a fault: what ``fault`` returns for a state and tactic takes the place of the result."""

    def __init__(self, fault: Callable[[ProofState, str, int], ProofState | Failure | Exception | None]) -> None:
        self._toy, self._fault, self._lock = open_prover("toy"), fault, threading.Lock()
        self._seen: dict[tuple[tuple[str, ...], str], int] = {}
        self.name, self.version, self.info = "toy", "faulty toy", self._toy.info

    def start(self, theorem: Theorem) -> ProofState | Failure:
        return self._toy.start(theorem)

    def apply(self, state: ProofState, tactic: str, limits: Any = None) -> ProofState | Failure:
        with self._lock:
            times = self._seen[(state.tactics, tactic)] = self._seen.get((state.tactics, tactic), 0) + 1
        found = self._fault(state, tactic, times)
        if isinstance(found, Exception):
            raise found
        return self._toy.apply(state, tactic) if found is None else found

    def check(self, theorem: Theorem, proof: str, limits: Any = None) -> Verdict:
        return self._toy.check(theorem, proof)

    def check_file(self, theorem: Theorem, text: str, limits: Any = None) -> Verdict:
        return self._toy.check_file(theorem, text)

    def close(self) -> None:
        pass


COQ_KINDS = [
    "forall n : nat, n + {i} = {i} + n",
    "forall P Q : Prop, P /\\ Q -> Q /\\ P /\\ {i} = {i}",
    "forall n m : nat, n <= m -> n + {i} <= m + {i}",
    "forall P Q : Prop, (P -> Q) -> P -> Q \\/ {i} = S {i}",
    "forall n : nat, n * {i} = {i} * S n",
    "forall P Q R : Prop, P \\/ Q -> (P -> R) -> (Q -> R) -> R /\\ {i} < S {i}",
]


def coq_task(path: Path, count: int) -> Path:
    """A task of ``count`` statements for Coq with one prelude; one in six is false."""
    stated = {f"c{i:02d}": f"{COQ_KINDS[i % len(COQ_KINDS)].format(i=i)}." for i in range(count)}
    path.write_text(COQ_TASK.format(stated=stated))
    return path


COQ_TASK = '''"""Statements for Coq."""
from dataclasses import dataclass
from llemma import Theorem

@dataclass(frozen=True)
class Options:
    """No settings."""

def theorems(options):
    """All statements."""
    return tuple(
        Theorem(name=name, statement=f"Theorem {{name}} : {{text}}", prelude="Require Import Arith Lia.")
        for name, text in {stated!r}.items()
    )
'''

"""One search for one theorem: applies tactics within a budget, through the cache, and counts. Chooses nothing.

A call counts whether its result comes from the cache or from the prover, so that results depend on neither.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from llemma.errors import ProverError, SandboxError
from llemma.prove.cache import Cache
from llemma.prove.config import Budget
from llemma.provers import Limits, Prover
from llemma.records import Failure, ProofState, Theorem, Verdict, VerdictLayer

T = TypeVar("T")

_DEATH = re.compile(r"\b(killed|died|crashed|ended (?:with|when|before)|could not be decided)\b")

PAUSES = (0.1, 0.3, 1.0, 3.0, 3.0, 3.0)  # seconds before each further try of a call that the prover could not make
REFUSALS = 3  # equal ones after which the check's refusal of a believed path is taken for final
DEATHS = 12  # refusals that speak of a dead process after which the proof itself is taken to kill it
TRIES = 3  # of a call whose worker died: one that is killed from outside says nothing about the tactic


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A proof that the prover's check accepted: its text, the tactics of its path when a path was searched."""

    text: str
    tactics: tuple[str, ...]
    verdict: Verdict


@dataclass(slots=True, kw_only=True)
class Session:
    """Where a search stands: what it has used, and whether it may go on."""

    prover: Prover
    theorem: Theorem
    script: Callable[[tuple[str, ...]], str]
    budget: Budget
    limits: Limits
    check_limits: Limits
    cache: Cache | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    begin: float = field(default_factory=time.monotonic)
    expansions: int = 0
    calls: int = 0
    tokens: int = 0
    hits: int = 0
    crashes: int = 0
    rejected: int = 0

    def spent(self) -> str:
        """Which part of the budget is used up, empty while none is."""
        if self.stop.is_set():
            return "stopped"
        used = {
            "expansions": self.expansions,
            "tactic_calls": self.calls,
            "tokens": self.tokens,
            "seconds": time.monotonic() - self.begin if self.budget.seconds is not None else 0,
        }
        for name, value in used.items():
            limit = getattr(self.budget, name)
            if limit is not None and value >= limit:
                return name
        return ""

    def start(self) -> ProofState | Failure:
        """The state before the first tactic."""
        return self._tried(lambda: self.prover.start(self.theorem))

    def apply(self, state: ProofState, tactic: str) -> ProofState | Failure:
        """The state after a tactic, from the cache where it is known."""
        self.calls += 1
        key = "" if self.cache is None else self.cache.key(self.prover.version, state, tactic, self.limits)
        found = None if self.cache is None else self.cache.get(key, state, tactic)
        if found is not None:
            self.hits += 1
            return found
        result = self._tried(lambda: self.prover.apply(state, tactic, self.limits))
        if self.cache is not None:
            self.cache.put(key, result)
        return result

    def confirm(self, tactics: tuple[str, ...]) -> Proof | Verdict:
        """The proof that these tactics are, or the verdict that refuses it.

        A path that the prover believed is seldom refused, so a refusal is asked for again until it has come the same
        way several times, and more often when it speaks of a dead process: one may have been killed from outside.
        """
        return self._judge(self.script(tactics), tactics, REFUSALS)

    def judge(self, text: str) -> Proof | Verdict:
        """The same for the text of a proof; asked once."""
        return self._judge(text, (), 1)

    def _judge(self, text: str, tactics: tuple[str, ...], equal: int) -> Proof | Verdict:
        """The verdict; a refusal counts when it came ``equal`` times, or the text alone was to blame."""
        refusals: Counter[tuple[VerdictLayer, ...]] = Counter()
        for _ in range(1 if equal == 1 else DEATHS):
            verdict = self._steady(lambda: self.prover.check(self.theorem, text, self.check_limits))
            if verdict.proved:
                return Proof(text=text, tactics=tactics, verdict=verdict)
            refusals[verdict.layers] += not _by_a_death(verdict)
            if refusals[verdict.layers] >= equal or _by_the_gate(verdict):
                break
        self.rejected += 1
        return verdict

    def _tried(self, call: Callable[[], ProofState | Failure]) -> ProofState | Failure:
        """The result of a call, made again when the worker died of it: only what kills every time is a crash."""
        result = self._steady(call)
        for _ in range(TRIES - 1):
            if not (isinstance(result, Failure) and result.kind == "crash"):
                break
            self.crashes += 1
            result = self._steady(call)
        return result

    def _steady(self, call: Callable[[], T]) -> T:
        """The result of a call, made again while the prover or its walls say that the failure may pass."""
        for pause in PAUSES:
            try:
                return call()
            except (ProverError, SandboxError) as error:
                if not error.retryable or self.stop.wait(pause):
                    raise
                self.crashes += 1
        return call()


def _by_the_gate(verdict: Verdict) -> bool:
    """Whether the text itself is refused, before anything ran."""
    return bool(verdict.layers) and verdict.layers[0].name == "gate" and not verdict.layers[0].ok


def _by_a_death(verdict: Verdict) -> bool:
    """Whether a layer says that a process ended before it could answer."""
    return any(not layer.ok and _DEATH.search(layer.detail) for layer in verdict.layers)


def why_not(verdict: Verdict) -> str:
    """What is wrong with a proof, in a line: the first layer that does not hold."""
    return next((f"{layer.name}: {layer.detail}" for layer in verdict.layers if not layer.ok), "not proved")

"""Policies: what proposes tactics for a state. A model through any back end, or a fixed list.

A policy knows nothing of the search; what it proposes depends on theorem, state and seed alone.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llemma.backends import Backend, Beam, Request, Streaming
from llemma.errors import BackendError, Caught
from llemma.evaluate.config import request_seed
from llemma.prove.prompts import Asker
from llemma.records import Completion, ProofState, Sampling, Theorem


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A proposed tactic, its log-probability and the number of its tokens."""

    tactic: str
    logprob: float = 0.0
    tokens: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The candidates for a state, the best first; the prompt and how many tokens were written for them."""

    candidates: tuple[Candidate, ...]
    prompt: str = ""
    tokens: int = 0


class Policy(Protocol):
    """Something that proposes tactics; may be asked from several threads at once."""

    @property
    def info(self) -> Mapping[str, str]:
        """Stored with the run."""
        ...

    def propose(self, theorem: Theorem, state: ProofState) -> Proposal:
        """Candidates, the best first, no text twice. Raises BackendError when the model cannot be asked."""
        ...


@dataclass(slots=True, kw_only=True)
class Model:
    """A back end that several threads share: one call at a time unless it takes requests as they come."""

    backend: Backend
    lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion per request, in order. Raises BackendError."""
        if isinstance(self.backend, Streaming):
            found: dict[int, Completion] = {}
            for number, made in self.backend.stream(enumerate(requests), sampling):
                if isinstance(made, Caught):
                    raise BackendError(made.message, retryable=made.retryable)
                found[number] = made
            return [found[number] for number in range(len(requests))]
        with self.lock:
            size = max(self.backend.batch, 1)
            parts = [requests[at : at + size] for at in range(0, len(requests), size)]
            return [completion for part in parts for completion in self.backend.complete(part, sampling)]

    def beam(self, prompt: str, width: int, sampling: Sampling) -> list[Completion]:
        """The ``width`` best completions of beam search."""
        assert isinstance(self.backend, Beam)
        with self.lock:
            return self.backend.beam(prompt, width, sampling)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPolicy:
    """Asks a model for ``sampling.n`` tactics, by beam search or by samples with seeds."""

    model: Model
    asker: Asker
    sampling: Sampling
    beam: bool

    @property
    def info(self) -> Mapping[str, str]:
        """The back end and how candidates come from it."""
        return {**self.model.backend.info, "candidates": "beam" if self.beam else "samples"}

    def propose(self, theorem: Theorem, state: ProofState) -> Proposal:
        """Candidates by log-probability per token, as in the paper; each text once."""
        prompt = self.asker.ask(state)
        if self.beam:
            made = self.model.beam(prompt, self.sampling.n, self.sampling)
        else:
            name = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()
            seeds = [request_seed(self.sampling.seed, theorem.name, name, k) for k in range(self.sampling.n)]
            requests = [Request(prompt=prompt, seed=seed, question=prompt, k=k) for k, seed in enumerate(seeds)]
            made = self.model.complete(requests, self.sampling)
        return Proposal(candidates=ranked(made), prompt=prompt, tokens=sum(each.tokens for each in made))


def ranked(made: Sequence[Completion]) -> tuple[Candidate, ...]:
    """Distinct completions, the highest log-probability per token first.

    A back end that tells no log-probabilities is taken at its samples: the log of a text's share of them, as if the
    text were one token.
    """
    counts = Counter(each.text for each in made)
    found: dict[str, Candidate] = {}
    for each in made:
        if each.logprob is None:
            share = Candidate(tactic=each.text, logprob=math.log(counts[each.text] / len(made)))
            found.setdefault(each.text, share)
        else:
            new = Candidate(tactic=each.text, logprob=each.logprob, tokens=max(each.tokens, 1))
            old = found.get(each.text)
            if old is None or _per_token(new) > _per_token(old):
                found[each.text] = new
    return tuple(sorted(found.values(), key=lambda c: -_per_token(c)))  # stable: equal ones stay as they came


def _per_token(candidate: Candidate) -> float:
    return candidate.logprob / candidate.tokens

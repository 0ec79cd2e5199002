"""Tasks answered by a whole proof: how a list of theorems becomes problems for ``llemma eval``."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llemma.prove.prompts import PROOF_TOKENS, language, proof_in, whole_prompt
from llemma.prove.session import why_not
from llemma.provers import Prover, open_prover
from llemma.records import Grade, Problem, Sampling, Task, Theorem


def proof_task(
    name: str,
    theorems: Sequence[Theorem],
    *,
    prover: str,
    prover_options: Mapping[str, Any],
    shots: bool,
    meta: Mapping[str, Any],
) -> Task:
    """The theorems as problems of which a model writes the whole proof; votes do not exist, pass@k does.

    ``shots``: two proved theorems stand before the one to be proved. The ``subject`` of a problem is its theorem's
    ``category``.
    """
    by_name = {theorem.name: theorem for theorem in theorems}
    judge = _Judge(prover=prover, options=prover_options)
    choice: Literal["own", "zero"] = "own" if shots else "zero"
    return Task(
        name=name,
        problems=tuple(_problem(theorem) for theorem in theorems),
        prompt=lambda problem: whole_prompt(prover, by_name[problem.id], choice),
        grade=lambda problem, text: judge.grade(by_name[problem.id], text),
        key=lambda grade: None,
        sampling=Sampling(max_tokens=PROOF_TOKENS, stop=language(prover).stop),
        vote=Sampling(n=8, temperature=1.0),
        meta={**meta, "prover": prover},
    )


@dataclass(slots=True, kw_only=True)
class _Judge:
    """Grades whole proofs; starts the prover with the first of them and keeps it."""

    prover: str
    options: Mapping[str, Any]
    running: Prover | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def grade(self, theorem: Theorem, text: str) -> Grade:
        """``correct`` when the check accepts the proof; ``answer`` is the proof as it was read."""
        proof = proof_in(text, self.prover)
        if not proof.strip():
            return Grade(verdict="unparsable", answer=None, reason="no proof in the text")
        with self.lock:
            if self.running is None:
                self.running = open_prover(self.prover, self.options)
        verdict = self.running.check(theorem, proof)
        reason = "every layer of the check holds" if verdict.proved else why_not(verdict)
        return Grade(verdict="correct" if verdict.proved else "wrong", answer=proof, reason=reason[:2_000])


def _problem(theorem: Theorem) -> Problem:
    meta = {"subject": theorem.meta.get("category", ""), "prelude": theorem.prelude}
    return Problem(id=theorem.name, prompt=theorem.statement, answer="", meta=meta)

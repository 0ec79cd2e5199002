"""Whole proofs: samples of a model, each judged by the prover's check; refused ones may go back with the error."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llemma.backends import Request
from llemma.evaluate.config import request_seed
from llemma.prove.config import PromptName
from llemma.prove.outcome import Outcome
from llemma.prove.policy import Model
from llemma.prove.prompts import proof_in, repair_prompt, whole_prompt
from llemma.prove.session import Proof, Session, why_not
from llemma.records import Completion, Sampling, Theorem, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A model that writes whole proofs for a prover."""

    model: Model
    prover: str
    prompt: PromptName
    sampling: Sampling
    rounds: int

    def write(self, theorem: Theorem, prompts: Sequence[str], ks: Sequence[int], round: int) -> list[Completion]:
        """One completion for each prompt; ``ks`` are the numbers of their samples."""
        seeds = [request_seed(self.sampling.seed, theorem.name, f"round {round}", k) for k in ks]
        requests = [
            Request(prompt=prompt, seed=seed, question=theorem.statement, k=k)
            for prompt, seed, k in zip(prompts, seeds, ks, strict=True)
        ]
        return self.model.complete(requests, self.sampling)


def whole(session: Session, writer: Writer) -> Outcome:
    """Write and judge ``sampling.n`` proofs, all of them: pass@k needs to know how many are right.

    Equal texts are judged once. Every judged text is a tactic call of the budget.
    """
    theorem, rounds = session.theorem, writer.rounds
    attempts: list[dict[str, Any]] = []
    known: dict[str, Proof | Verdict] = {}
    first: Proof | None = None
    todo = list(range(writer.sampling.n))
    prompts = {k: whole_prompt(writer.prover, theorem, writer.prompt) for k in todo}
    for round in range(rounds + 1):
        if not todo or session.spent() not in ("", "expansions"):
            break
        made = writer.write(theorem, [prompts[k] for k in todo], todo, round)
        session.tokens += sum(each.tokens for each in made)
        refused = []
        for k, completion in zip(todo, made, strict=True):
            text = proof_in(completion.text, writer.prover)
            if text not in known:
                if session.spent() not in ("", "expansions"):
                    break
                session.calls += 1
                known[text] = session.judge(text)
            judged = known[text]
            proved = isinstance(judged, Proof)
            detail = "" if isinstance(judged, Proof) else why_not(judged)
            attempts.append(_told(k, round, prompts[k], completion, text, proved, detail))
            if isinstance(judged, Proof):
                first = first or judged
            else:
                refused.append(k)
                prompts[k] = repair_prompt(writer.prover, theorem, writer.prompt, text, detail)
        todo = refused
    reason = "proved" if first else session.spent() or "exhausted"
    return Outcome(proof=first, reason=reason, attempts=attempts)


def _told(
    k: int, round: int, prompt: str, completion: Completion, text: str, proved: bool, detail: str
) -> dict[str, Any]:
    digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return {
        "k": k, "round": round, "prompt": digest, "proof": text, "tokens": completion.tokens,
        "finish": completion.finish, "proved": proved, "why_not": detail[:2_000],
    }  # fmt: skip

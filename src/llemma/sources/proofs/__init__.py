"""Theorems with proofs that this project generates, as text for small models of tactics.

Families (``logic``, ``booleans``, ``equations``, ``induction``) draw statements in Coq together with tactics that
prove them by construction. A real Coq then takes every step; what it shows is the state that stands beside each
tactic in the text. Recording needs Coq once: its result is kept in a file, from which the text is read without a
prover. The theorems of the task ``library`` are left out, whatever their bound names are; ``shape`` tells which
variants of them are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from llemma.config import check_seed, setting
from llemma.provers.coq import install
from llemma.records import Document, Goal
from llemma.sources.proofs.base import Draft, normal, shape
from llemma.sources.proofs.draw import drafts, held_out
from llemma.sources.proofs.record import Recorded, place, recorded

__all__ = ["Draft", "Options", "documents", "drafts", "held_out", "normal", "proof_text", "shape", "tactic_text"]

# Names of theorems in whole proofs say nothing about them.
_WORDS = [
    "sum",
    "even",
    "odd",
    "power",
    "size",
    "order",
    "swap",
    "chain",
    "split",
    "join",
    "left",
    "right",
    "double",
    "square",
    "next",
    "first",
    "last",
    "both",
    "part",
    "same",
    "small",
    "large",
    "step",
    "twice",
    "over",
    "under",
    "mirror",
    "list",
    "number",
    "value",
    "rule",
    "fact",
    "pair",
    "one",
    "all",
    "some",
    "none",
    "equal",
    "less",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the source."""

    count: int = setting(10_000, "theorems to draw")
    seed: int = setting(0, "another seed draws other theorems")
    forms: tuple[Literal["tactic", "whole"], ...] = setting(
        ("tactic",), "tactic: a text for each step, the state and its tactic; whole: a text for each proof"
    )
    record: str = setting("", "file of the recorded states; none: one in the cache folder, by what it is made of")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.count < 1:
            raise ValueError(f"count={self.count}: must be at least 1")
        if not self.forms:
            raise ValueError("forms is empty: name tactic, whole or both")


def documents(options: Options) -> Iterator[Document]:
    """Training texts in an order drawn by the seed; records with Coq first where no record is found.

    Shuffled, because a model is asked about a state alone: next to the step before it, it would learn to lean on that.
    Raises ProverError without Coq, DataError for a damaged record.
    """
    proofs = recorded(options.count, options.seed, Path(options.record) if options.record else None)
    texts = [document for proof in proofs for document in _written(proof, options.forms)]
    Random(f"proofs:order:{options.seed}").shuffle(texts)
    return iter(texts)


def parts(options: Options) -> list[Options]:
    """One part. Raises ProverError where neither Coq nor the record is: before anything else is done."""
    if not place(options.count, options.seed, Path(options.record) if options.record else None).exists():
        install.find()
    return [options]


def _written(proof: Recorded, forms: Sequence[str]) -> Iterator[Document]:
    meta = {"family": proof.draft.family, "statement": proof.draft.statement}
    if "tactic" in forms:
        for number, (goal, tactic) in enumerate(zip(proof.goals, proof.draft.tactics, strict=True)):
            yield Document(id=f"{proof.name}/{number}", text=tactic_text(goal, tactic), source="proofs", meta=meta)
    if "whole" in forms:
        yield Document(id=f"{proof.name}/proof", text=proof_text(proof), source="proofs", meta=meta)


def tactic_text(goal: Goal, tactic: str) -> str:
    """A goal and the tactic that was right for it, in the form a model is asked in (``prompt=zero``)."""
    state = "\n".join((*goal.hypotheses, f"⊢ {goal.conclusion}"))
    return f"Tactic state:\n---\n{state}\n---\nNext tactic:\n---\n{tactic}\n---\n"


def proof_text(proof: Recorded) -> str:
    """A theorem with its whole proof as a file has it, under a name that gives nothing away."""
    name = "_".join(Random(f"name:{proof.draft.statement}").sample(_WORDS, 2))
    lines = "".join(f"  {tactic}\n" for tactic in proof.draft.tactics)
    return f"Theorem {name} : {proof.draft.statement}.\nProof.\n{lines}Qed.\n"

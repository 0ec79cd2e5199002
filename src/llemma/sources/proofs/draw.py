"""Draws theorems from all families: the same for the same seed, none twice, none of the library's."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib import resources
from random import Random

from llemma.sources.proofs import booleans, equations, induction, logic
from llemma.sources.proofs.base import Draft, Family, normal

FAMILIES: tuple[Family, ...] = (*logic.FAMILIES, *booleans.FAMILIES, *equations.FAMILIES, *induction.FAMILIES)
_TRIES = 400  # draws in a row without a new statement before a family counts as used up


def drafts(seed: int) -> Iterator[Draft]:
    """Theorems until no family has a new one; a shorter draw is the head of a longer."""
    rng = Random(f"proofs:{seed}")
    seen: set[str] = set()
    weights = {family: family.weight for family in FAMILIES}
    while weights:
        family = rng.choices(list(weights), weights=list(weights.values()))[0]
        draft = _new(family, rng, seen)
        if draft is None:
            del weights[family]
        else:
            seen.add(draft.statement)
            yield draft


def _new(family: Family, rng: Random, seen: set[str]) -> Draft | None:
    for _ in range(_TRIES):
        draft = family.sample(rng)
        if draft is not None and draft.statement not in seen and normal(draft.statement) not in held_out():
            return draft
    return None


@functools.cache
def held_out() -> frozenset[str]:
    """The normal forms of the theorems that training text must not hold: those of the task ``library``."""
    text = resources.files("llemma").joinpath("tasks", "theorems", "library.v").read_text(encoding="utf-8")
    return frozenset(normal(term) for term in statements(text))


def statements(text: str) -> list[str]:
    """The terms that the theorems of a Coq file state, without ``Theorem name :``."""
    return [" ".join(term.split()) for term in re.findall(r"^Theorem \w+ :(.*?)\.\s*^Proof\.", text, re.S | re.M)]


@functools.cache
def prelude() -> str:
    """What stands before the generated theorems: imports and functions, other ones than the library's."""
    return resources.files("llemma.sources.proofs").joinpath("prelude.v").read_text(encoding="utf-8")

"""How a search ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llemma.prove.session import Proof
from llemma.records import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A confirmed proof, or why there is none: ``exhausted``, a part of the budget, ``refused: …`` for a statement the
    prover does not take. ``attempts`` are the whole proofs that were judged, where there were any."""

    proof: Proof | None
    reason: str
    attempts: Sequence[Mapping[str, Any]] = ()


def refused(failure: Failure) -> Outcome:
    """The outcome for a statement that the prover does not take."""
    return Outcome(proof=None, reason=f"refused: {failure.kind}: {failure.message[:500]}")

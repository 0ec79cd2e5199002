"""The mixture of sources: shares of the training tokens, and how often each source is read for a budget of tokens.

Sources are not mixed in the shards: a trainer reads them by these weights. Some sources may have a fixed share of the
whole (the paper's 2 % of general text); the others divide the rest in proportion to their weights (its 2:4:1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """One source of a mixture: its share of the training tokens, and what that means for a budget.

    ``epochs`` is how often its ``tokens`` are read; None without a budget or where its size is not known.
    """

    share: float
    budget: float | None
    tokens: int | None
    epochs: float | None


def shares(weights: Mapping[str, float], fixed: Mapping[str, float]) -> dict[str, float]:
    """Each source's share, summing to 1: those in ``fixed`` have it by name, the rest is divided by weight.

    Raises ValueError when the fixed shares leave nothing for the others, or too much.
    """
    rest = 1 - sum(fixed.values())
    others = {name: weight for name, weight in weights.items() if name not in fixed}
    total = sum(others.values())
    if any(not 0 <= share <= 1 for share in fixed.values()) or rest < -1e-9:
        raise ValueError(f"the shares of sources must lie in 0..1 and sum to at most 1, not {sum(fixed.values()):g}")
    if total <= 0 and abs(rest) > 1e-9:
        raise ValueError("the weights of the sources must sum to something positive")
    if total > 0 and rest <= 1e-9:
        raise ValueError("the shares of sources leave nothing for those with weights")
    return {
        name: fixed[name] if name in fixed else rest * weight / total if total else 0.0
        for name, weight in weights.items()
    }


def mixture(
    weights: Mapping[str, float], fixed: Mapping[str, float], tokens: Mapping[str, int], budget: int
) -> dict[str, Portion]:
    """Shares and, for ``budget`` tokens of training (0: not known), epochs over the ``tokens`` of each source."""
    found = {}
    for name, share in shares(weights, fixed).items():
        wanted, there = share * budget if budget else None, tokens.get(name)
        epochs = wanted / there if wanted is not None and there else None
        found[name] = Portion(share=share, budget=wanted, tokens=there, epochs=epochs)
    return found

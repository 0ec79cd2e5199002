"""Best-first search: the cheapest open state is expanded next. With ``dedup=paper`` it is the paper's rule exactly.

The paper's rule (``llemma_formal2formal``, proofsearch.py): a heap of (cost, tactics, state); a state is visited when
it is popped, and a child is dropped only when its state was visited, so a state can be in the heap many times and be
expanded again. The rule beside it never expands a state twice, and keeps the cheapest way to it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Literal

from llemma.prove.outcome import Outcome, refused
from llemma.prove.policy import Candidate
from llemma.prove.tree import Cost, Node, Tree
from llemma.records import Failure

Score = Literal["tactic", "sum", "path"]


def costs(score: Score, alpha: float) -> Cost:
    """The cost of a child. ``tactic``: the sum along the path of minus the log-probability per token of each tactic,
    which is the paper's; ``sum``: minus the log-probability of the path; ``path``: that over length^alpha (Xin et al.
    2025, BFS-Prover)."""

    def cost(node: Node, candidate: Candidate) -> float:
        if score == "tactic":
            return node.cost - candidate.logprob / max(candidate.tokens, 1)
        total = -(node.logprob + candidate.logprob)
        return total if score == "sum" else total / (node.depth + 1) ** alpha

    return cost


def best_first(tree: Tree, dedup: Literal["state", "paper"]) -> Outcome:
    """Search until a proof is confirmed, the budget is used up or no state is left."""
    root = tree.root()
    if isinstance(root, Failure):
        return refused(root)
    closed: set[str] = set()
    best: dict[str, float] = {root.key: 0.0}

    def cheaper(key: str, cost: float) -> bool:
        if key in closed or cost >= best.get(key, float("inf")):
            return False
        best[key] = cost
        return True

    wanted: Callable[[str, float], bool] = cheaper if dedup == "state" else lambda key, cost: key not in closed
    heap = [_entry(root)]
    while heap:
        if spent := tree.session.spent():
            return Outcome(proof=None, reason=spent)
        node = heapq.heappop(heap)[-1]
        if dedup == "state" and node.key in closed:
            continue
        closed.add(node.key)
        expanded = tree.expand(node, wanted)
        if expanded.proof is not None:
            return Outcome(proof=expanded.proof, reason="proved")
        for child in expanded.children:
            heapq.heappush(heap, _entry(child))
    return Outcome(proof=None, reason="exhausted")


def _entry(node: Node) -> tuple[float, tuple[str, ...], str, int, Node]:
    """The heap's order: cost, then tactics, then state, as in the paper; the number makes it total."""
    return node.cost, node.path, node.key, node.id, node

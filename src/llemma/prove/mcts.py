"""Monte-Carlo tree search: PUCT over the policy's candidates, without a critic; nothing in it is random.

Down from the root each step takes the child of the largest ``value + explore * prior * sqrt(visits) / (1 + own)``
(Silver et al. 2017). A leaf is expanded by the policy; its value is the policy's confidence there, 0 for a dead end. A
state that is in the tree is not put there again, and a node whose children are all dead is dead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llemma.prove.outcome import Outcome, refused
from llemma.prove.tree import Node, Tree
from llemma.records import Failure


def mcts(tree: Tree, explore: float) -> Outcome:
    """Search until a proof is confirmed, the budget is used up or the root is dead."""
    root = tree.root()
    if isinstance(root, Failure):
        return refused(root)
    seen = {root.key}

    def fresh(key: str, cost: float) -> bool:
        if key in seen:
            return False
        seen.add(key)
        return True

    while not root.dead:
        if spent := tree.session.spent():
            return Outcome(proof=None, reason=spent)
        leaf = _select(root, explore)
        expanded = tree.expand(leaf, fresh)
        if expanded.proof is not None:
            return Outcome(proof=expanded.proof, reason="proved")
        _set_priors(expanded.children)
        leaf.dead = not expanded.children
        _back_up(leaf, expanded.confidence if expanded.children else 0.0)
    return Outcome(proof=None, reason="exhausted")


def _select(root: Node, explore: float) -> Node:
    node = root
    while node.children:
        alive = [child for child in node.children if not child.dead]
        scale = explore * math.sqrt(max(node.visits, 1))

        def worth(child: Node, scale: float = scale) -> float:
            value = child.value / child.visits if child.visits else 0.0
            return value + scale * child.prior / (1 + child.visits)

        node = max(alive, key=worth)  # the first among equals: the policy's better candidate
    return node


def _set_priors(children: Sequence[Node]) -> None:
    """The softmax of the last tactic's own cost, which is minus its log-probability per token under score=tactic."""
    weights = [math.exp(-(child.cost - (child.parent.cost if child.parent else 0.0))) for child in children]
    for child, weight in zip(children, weights, strict=True):
        child.prior = weight / sum(weights)


def _back_up(leaf: Node, value: float) -> None:
    node: Node | None = leaf
    while node is not None:
        node.visits += 1
        node.value += value
        node.dead = node.dead or (bool(node.children) and all(child.dead for child in node.children))
        node = node.parent

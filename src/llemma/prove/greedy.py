"""Searches without a queue: greedy takes the model's one answer at each state; the ladder tries each rung once."""

from __future__ import annotations

from llemma.prove.outcome import Outcome, refused
from llemma.prove.tree import Tree
from llemma.records import Failure


def greedy(tree: Tree) -> Outcome:
    """Follow the first candidate that leads to a state not yet on the path; never turn back."""
    node = tree.root()
    if isinstance(node, Failure):
        return refused(node)
    seen = {node.key}
    while not (spent := tree.session.spent()):
        expanded = tree.expand(node, lambda key, cost: key not in seen)
        if expanded.proof is not None:
            return Outcome(proof=expanded.proof, reason="proved")
        if not expanded.children:
            return Outcome(proof=None, reason="exhausted")
        node = expanded.children[0]
        seen.add(node.key)
    return Outcome(proof=None, reason=spent)


def ladder(tree: Tree) -> Outcome:
    """Try every rung at the statement, the first that ends the proof counts."""
    root = tree.root()
    if isinstance(root, Failure):
        return refused(root)
    expanded = tree.expand(root, lambda key, cost: False)
    return Outcome(proof=expanded.proof, reason="proved" if expanded.proof else tree.session.spent() or "exhausted")

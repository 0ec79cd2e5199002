"""The tree of a search and its expansion, which every search shares: propose, apply, confirm, write down.

Decides nothing about order; ``best_first``, ``greedy`` and ``mcts`` do.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llemma.prove.policy import Candidate, Policy
from llemma.prove.prompts import show_state
from llemma.prove.session import Proof, Session, why_not
from llemma.prove.trace import Expansion, Trace, Tried
from llemma.provers import state_key
from llemma.records import Failure, ProofState


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """A state in the tree. ``cost`` orders it, lower first; ``logprob`` is the sum along the path."""

    id: int
    state: ProofState
    key: str
    parent: Node | None = None
    depth: int = 0
    cost: float = 0.0
    logprob: float = 0.0
    prior: float = 1.0
    visits: int = 0
    value: float = 0.0  # sum over the visits
    dead: bool = False
    children: list[Node] = field(default_factory=list)

    @property
    def path(self) -> tuple[str, ...]:
        """The tactics from the root."""
        return self.state.tactics


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """What an expansion found: a proof, or the children that were wanted, in the order of their candidates."""

    proof: Proof | None
    children: Sequence[Node]
    confidence: float  # exp of the best candidate's log-probability per token, 0 when there was none


# Given the node, a candidate: the cost of the child. Given the key and cost of a child: whether it is wanted.
Cost = Callable[[Node, Candidate], float]
Wanted = Callable[[str, float], bool]


@dataclass(slots=True, kw_only=True)
class Tree:
    """A search tree with its session, its policy and its trace."""

    session: Session
    policy: Policy
    trace: Trace
    cost: Cost
    depth: int = 64
    distinct: bool = True  # candidates that differ in blanks alone are one
    nodes: list[Node] = field(default_factory=list)

    def root(self) -> Node | Failure:
        """The node of the statement; a Failure when the prover refuses it."""
        state = self.session.start()
        if isinstance(state, Failure):
            return state
        return self._node(state, None, 0.0, 0.0)

    def expand(self, node: Node, wanted: Wanted) -> Expanded:
        """Propose tactics for a node and apply them until one of them ends a proof or the budget is used up."""
        session = self.session
        proposal = self.policy.propose(session.theorem, node.state)
        session.expansions += 1
        session.tokens += proposal.tokens
        tried: list[Tried] = []
        children: list[Node] = []
        proof: Proof | None = None
        seen: set[str] = set()
        for candidate in proposal.candidates:
            tactic = candidate.tactic.strip()
            if (self.distinct and tactic in seen) or session.spent() not in ("", "expansions"):
                continue
            seen.add(tactic)
            result, message, child, proof = self._try(node, candidate, tactic, wanted)
            if child is not None:
                children.append(child)
            tried.append(Tried(candidate=candidate, result=result, message=message, node=child.id if child else None))
            if proof is not None:
                break
        self.trace.add(self._told(node, proposal.prompt, proposal.tokens, tried))
        best = max((c.logprob / max(c.tokens, 1) for c in proposal.candidates), default=-math.inf)
        return Expanded(proof=proof, children=children, confidence=math.exp(min(best, 0.0)))

    def _try(
        self, node: Node, candidate: Candidate, tactic: str, wanted: Wanted
    ) -> tuple[str, str, Node | None, Proof | None]:
        """One candidate: how it ended, why, the child when there is one, the proof when it ends one."""
        result = self.session.apply(node.state, tactic)
        if isinstance(result, Failure):
            # what a time-out or crash says holds process numbers and times: two equal runs would differ
            return result.kind, result.message if result.kind in ("error", "forbidden") else "", None, None
        if not result.goals:
            confirmed = self.session.confirm(result.tactics)
            if isinstance(confirmed, Proof):
                return "proof", "", None, confirmed
            return "rejected", why_not(confirmed), None, None
        if node.depth + 1 >= self.depth:
            return "deep", "", None, None
        cost, key = self.cost(node, candidate), state_key(result)
        if not wanted(key, cost):
            return "seen", "", None, None
        child = self._node(result, node, cost, node.logprob + candidate.logprob)
        return "open", "", child, None

    def _node(self, state: ProofState, parent: Node | None, cost: float, logprob: float) -> Node:
        depth = 0 if parent is None else parent.depth + 1
        node = Node(
            id=len(self.nodes), state=state, key=state_key(state), parent=parent, depth=depth, cost=cost,
            logprob=logprob,
        )  # fmt: skip
        self.nodes.append(node)
        if parent is not None:
            parent.children.append(node)
        return node

    def _told(self, node: Node, prompt: str, tokens: int, tried: Sequence[Tried]) -> Expansion:
        return Expansion(
            node=node.id,
            parent=None if node.parent is None else node.parent.id,
            tactic=node.path[-1] if node.path and node.parent is not None else "",
            cost=node.cost,
            key=node.key,
            state=show_state(node.state),
            prompt=hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16] if prompt else "",
            tokens=tokens,
            candidates=tuple(tried),
            calls=self.session.calls,
        )

"""Parses LaTeX to the tree that sympy's ANTLR parser finds, or fails where it fails; no antlr4 needed.

The grammar is ambiguous, and what follows a complete formula is silently left unread, so the tree depends on how the
parser looks ahead. This is adaptive LL(*) as in Parr, Harwell and Fisher (OOPSLA 2014) and in the runtime 4.11: at a
decision all alternatives run in lockstep over the coming tokens, first with the callers unknown ("local", results
kept in automata), and once more with the callers known when that ends in a conflict; a conflict that remains goes to
the first alternative. Looking ahead reads tokens, and a token that cannot be read fails the whole text.

Kept with it is how the original merges what it has learned while looking ahead: it takes two states of an automaton
for one when they differ only in which alternatives have left their rule, and keeps the first of the two. That is why
``132.`` reads as 1·3 and not as 132 or 13. The original remembers such states from text to text; here each text finds
the automata as a fresh process would, so that a verdict never depends on what was graded before.

One ``Parser`` belongs to one thread. Where the original runs into Python's recursion limit, on formulas nested some
sixty deep, this one stops at ``MAX_DEPTH`` rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llemma.grade.paper.grammar import GRAMMAR, Decision, Grammar
from llemma.grade.paper.lexer import EOF, Token, Tokens, Unreadable

MAX_DEPTH = 500  # calls of rules inside each other; a pair of parentheses takes eight
_MAX_KEPT = 20_000  # automaton states and stacks kept between texts
_OUTSIDE = 1 << 30  # the return state of a stack's bottom


@dataclass(frozen=True, slots=True)
class Node:
    """A rule that was recognised, with its parts in the order of the text."""

    rule: str
    parts: tuple[Node | Token, ...]
    first: Token
    last: Token

    def node(self, *rules: str) -> Node | None:
        """The first part that is one of these rules."""
        return next((part for part in self.parts if isinstance(part, Node) and part.rule in rules), None)

    def nodes(self, *rules: str) -> list[Node]:
        """All parts that are one of these rules."""
        return [part for part in self.parts if isinstance(part, Node) and part.rule in rules]

    def token(self, *kinds: str) -> Token | None:
        """The first part that is a token of one of these kinds."""
        return next((part for part in self.parts if isinstance(part, Token) and part.kind in kinds), None)


class _Stack:
    """Where recognised rules return to: several possible stacks that share their tails; equal ones are one object."""

    __slots__ = ("bottomless", "links")

    def __init__(self, links: tuple[tuple[int, _Stack | None], ...]) -> None:
        self.links = links  # (return state, what is below it), by return state
        self.bottomless = links[-1][0] == _OUTSIDE


_Key = tuple[int, int, int]  # state, alternative, strength asked for by a check that is still open


@dataclass(slots=True)
class _Place:
    """Where one alternative stands: its stacks, and whether it left the rule in which the decision was taken."""

    stack: _Stack
    left: bool = False
    spared: bool = False  # came back through a call of the deciding rule at strength 0


_Places = dict[_Key, _Place]
_Item = tuple[_Key, _Place, int]  # the last: calls deep in the rule of the decision, negative once outside of it


@dataclass(slots=True)
class _Walk:
    """A walk over everything that is reached without a token."""

    places: _Places  # what is found
    checking: bool  # strength checks count: before the first token, in the rule of the decision
    local: bool
    left: set[tuple[_Key, bool]] = field(default_factory=set)  # where it came out of rules, looking ahead locally


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a state of an automaton decides, if anything."""

    alternative: int = 0
    conflict: bool = False
    checks: tuple[tuple[int, int], ...] = ()  # (alternative, strength it needs), 0 for none


@dataclass(slots=True, eq=False)
class _Ahead:
    """A state of a decision's automaton: the places in the order they were found, and what they decide.

    ``likeness`` is the same number for all states that the original takes for one.
    """

    places: _Places
    meaning: _Meaning
    likeness: int
    edges: dict[str, _Ahead | None] = field(default_factory=dict)


class Parser:
    """Turns texts into trees; remembers what it has learned about looking ahead."""

    def __init__(self, grammar: Grammar = GRAMMAR) -> None:
        self.grammar = grammar
        self._forget()

    def parse(self, text: str) -> Node:
        """The tree of the longest formula the text begins with. Raises Unreadable when there is none."""
        if max(len(self._stacks), len(self._aheads), len(self.starts)) > _MAX_KEPT:
            self._forget()
        run = _Run(self, Tokens(text))
        tree = run.rule("math", 0, self.nothing, 0)
        relation = tree.node("relation")
        assert relation is not None
        return relation

    def _forget(self) -> None:
        self._stacks: dict[tuple[tuple[int, _Stack | None], ...], _Stack] = {}
        self._merged: dict[tuple[_Stack, _Stack, bool], _Stack] = {}
        self._aheads: dict[tuple[object, ...], _Ahead] = {}
        self._likenesses: dict[tuple[object, ...], int] = {}
        self.starts: dict[tuple[int, _Stack, int], _Ahead] = {}  # by decision, callers, strength
        self.nothing = self.stack(((_OUTSIDE, None),))

    def ahead(self, decision: Decision, places: _Places, meaning: _Meaning, *, local: bool) -> _Ahead:
        """The one object for a decision's state with these places."""
        items = [(key, place.stack, place.spared) for key, place in places.items()]
        like = (decision.state, local, meaning, any(place.left for place in places.values()), *items)
        likeness = self._likenesses.setdefault(like, len(self._likenesses))
        exact = (likeness, *(place.left for place in places.values()))
        found = self._aheads.get(exact)
        if found is None:
            found = self._aheads[exact] = _Ahead(places, meaning, likeness)
        return found

    def stack(self, links: tuple[tuple[int, _Stack | None], ...]) -> _Stack:
        """The one object for these links."""
        found = self._stacks.get(links)
        if found is None:
            found = self._stacks[links] = _Stack(links)
        return found

    def push(self, below: _Stack, state: int) -> _Stack:
        """A stack with one more return state."""
        return self.stack(((state, below),))

    def merge(self, one: _Stack, other: _Stack, local: bool) -> _Stack:
        """All stacks of both; looking ahead locally, an unknown bottom stands for any stack and swallows the rest."""
        if one is other:
            return one
        if local and self.nothing in (one, other):
            return self.nothing
        found = self._merged.get((one, other, local))
        if found is None:
            links = dict(one.links)
            for state, below in other.links:
                mine = links.get(state)
                links[state] = below if mine is None or below is None else self.merge(mine, below, local)
            found = self.stack(tuple(sorted(links.items(), key=lambda link: link[0])))
            self._merged[one, other, local] = self._merged[other, one, local] = found
        return found


class _Run:
    """One text on its way through the grammar."""

    def __init__(self, parser: Parser, tokens: Tokens) -> None:
        self.parser = parser
        self.grammar = parser.grammar
        self.tokens = tokens
        self.at = 0
        self.seen: dict[int, _Ahead] = {}  # states of the automata, by likeness

    def rule(self, name: str, strength: int, stack: _Stack, depth: int) -> Node:
        """Recognise a rule at the current token."""
        if depth > MAX_DEPTH:
            raise Unreadable("nested too deep")
        grammar = self.grammar
        state, stop = grammar.start[name], grammar.stop[name]
        parts: list[Node | Token] = []
        first = self.tokens[self.at]
        while state != stop:
            edge = grammar.edges[state][self.choose(state, stack, strength)]
            state = edge.target
            if edge.kind == "token":
                parts.append(self.take(edge.tokens))
            elif edge.kind == "call":
                state = edge.follow
                parts.append(self.rule(edge.rule, edge.level, self.parser.push(stack, state), depth + 1))
            elif edge.kind == "strength":
                if edge.level < strength:
                    raise Unreadable("an operator that binds too weakly")
                parts = [self.node(name, parts, first)]
        return self.node(name, parts, first)

    def node(self, name: str, parts: list[Node | Token], first: Token) -> Node:
        last = self.tokens[self.at - 1] if self.at else first
        return Node(name, tuple(parts), first, last)

    def take(self, kinds: frozenset[str]) -> Token:
        token = self.tokens[self.at]
        if token.kind not in kinds:
            raise Unreadable(f"{token.text or 'the end'!r} at {token.start} does not fit")
        self.at += 1
        _ = self.tokens[self.at]  # as the original: the token behind must be readable
        return token

    def choose(self, state: int, stack: _Stack, strength: int) -> int:
        """Which edge to take."""
        decision = self.grammar.decisions.get(state)
        if decision is None:
            return 0
        if decision.by_token:
            alternative = decision.by_token.get(self.tokens[self.at].kind, 0)
            if not alternative and not decision.optional:
                raise Unreadable(f"{self.tokens[self.at].text or 'the end'!r} does not fit")
            return alternative - 1  # the last edge leaves
        return _Decider(self, decision, stack, strength).alternative() - 1


class _Decider:
    """One decision at one place of one text."""

    def __init__(self, run: _Run, decision: Decision, stack: _Stack, strength: int) -> None:
        self.parser = run.parser
        self.grammar = run.grammar
        self.tokens = run.tokens
        self.at = run.at
        self.decision = decision
        self.stack = stack
        self.strength = strength
        self.seen = run.seen

    def alternative(self) -> int:
        """The alternative to take, from 1. Raises Unreadable when none fits."""
        before = self.first_like(self.begin(self.parser.nothing, local=True))
        index = self.at
        while True:
            kind = self.tokens[index].kind
            ahead = self.next(before, kind, local=True)
            if ahead is None:
                return self.finished(before.places)
            ahead = self.first_like(ahead)
            found = ahead.meaning
            passed = [n for n, check in found.checks if not check or check >= self.strength]
            if found.conflict:
                return passed[0] if len(passed) == 1 else self.with_callers()
            if found.checks and not passed:
                raise Unreadable("an operator that binds too weakly")
            if found.alternative:
                return found.alternative
            before = ahead
            if kind != EOF:
                index += 1

    def first_like(self, ahead: _Ahead) -> _Ahead:
        """The first state of this text that the original takes for the same."""
        return self.seen.setdefault(ahead.likeness, ahead)

    def begin(self, stack: _Stack, *, local: bool) -> _Ahead:
        strength = self.strength if self.decision.recursive or not local else 0
        start = self.parser.starts.get((self.decision.state, stack, strength))
        if start is None:
            places = self.start(stack, local=local)
            if local and self.decision.recursive:
                places = self.allowed(places)
            start = self.parser.ahead(self.decision, places, _Meaning(), local=local)
            self.parser.starts[self.decision.state, stack, strength] = start
        return start

    def next(self, before: _Ahead, kind: str, *, local: bool) -> _Ahead | None:
        """The state one token on; ``None`` when no alternative can take that token."""
        if kind in before.edges:
            return before.edges[kind]
        places = self.step(before.places, kind, local=local)
        ahead = None
        if places:
            meaning = self.decide(places) if local else self.decide_known(places)
            ahead = self.parser.ahead(self.decision, places, meaning, local=local)
        before.edges[kind] = ahead
        return ahead

    def start(self, stack: _Stack, *, local: bool) -> _Places:
        places: _Places = {}
        for alternative, edge in enumerate(self.grammar.edges[self.decision.state], start=1):
            self.close([((edge.target, alternative, 0), _Place(stack), 0)], places, checking=True, local=local)
        return places

    def allowed(self, places: _Places) -> _Places:
        """Places of an operand loop whose operator binds strongly enough, without those that reading on covers."""
        kept: _Places = {}
        reading: dict[int, _Stack] = {}
        for (state, alternative, check), place in places.items():
            if alternative == 1 and (not check or check >= self.strength):
                reading[state] = place.stack
                self.add(kept, (state, 1, 0), place, local=True)
        for key, place in places.items():
            if key[1] != 1 and (place.spared or reading.get(key[0]) is not place.stack):
                self.add(kept, key, place, local=True)
        return kept

    def decide(self, places: _Places) -> _Meaning:
        """What a state means as long as the callers are unknown."""
        alternatives = {key[1] for key in places}
        alternative = min(alternatives) if len(alternatives) == 1 else 0
        conflict = not alternative and self.conflicting(places)
        checked = (alternative or conflict) and any(key[2] for key in places)
        return _Meaning(alternative, conflict, _checks(places, alternatives) if checked else ())

    def decide_known(self, places: _Places) -> _Meaning:
        """What a state means when the callers are known: a conflict goes to its first alternative."""
        alternatives = {key[1] for key in places}
        viable = alternatives if len(alternatives) == 1 else {min(found) for found in _by_place(places)}
        return _Meaning(min(viable) if len(viable) == 1 else 0)

    def conflicting(self, places: _Places) -> bool:
        """Whether looking further cannot tell the alternatives apart as long as the callers are unknown."""
        if all(state in self.grammar.stops for state, _, _ in places):
            return True
        by_state: dict[int, set[int]] = {}
        for state, alternative, _ in places:
            by_state.setdefault(state, set()).add(alternative)
        if any(len(alternatives) == 1 for alternatives in by_state.values()):
            return False
        return any(len(alternatives) > 1 for alternatives in _by_place(places))

    def with_callers(self) -> int:
        """The same decision once more, with the stack of callers known: slower, and never in doubt."""
        before = self.begin(self.stack, local=False)
        index = self.at
        while True:
            kind = self.tokens[index].kind
            ahead = self.next(before, kind, local=False)
            if ahead is None:
                return self.finished(before.places)
            if ahead.meaning.alternative:
                return ahead.meaning.alternative
            before = ahead
            if kind != EOF:
                index += 1

    def finished(self, places: _Places) -> int:
        """Nothing takes the next token: the first alternative that had read all of its rule before it."""
        for held in (True, False):
            done = [
                key[1]
                for key, place in places.items()
                if (not key[2] or key[2] >= self.strength) == held
                and (place.left or (key[0] in self.grammar.stops and place.stack.bottomless))
            ]
            if done:
                return min(done)
        raise Unreadable(f"{self.tokens[self.at].text or 'the end'!r} at {self.tokens[self.at].start} does not fit")

    def step(self, places: _Places, kind: str, *, local: bool) -> _Places:
        """All places behind one more token."""
        behind: _Places = {}
        ended: list[tuple[_Key, _Place]] = []
        for key, place in places.items():
            state, alternative, check = key
            if state in self.grammar.stops:
                if not local or kind == EOF:
                    ended.append((key, place))
                continue
            for edge in self.grammar.edges[state]:
                if kind in edge.tokens:
                    self.add(behind, (edge.target, alternative, check), place, local=local)
        if not ended and kind != EOF and len({key[1] for key in behind}) == 1:
            return behind
        after: _Places = {}
        self.close([(key, place, 0) for key, place in behind.items()], after, checking=False, local=local)
        if kind == EOF:
            after = {key: place for key, place in after.items() if key[0] in self.grammar.stops}
        if local or not any(key[0] in self.grammar.stops for key in after):
            for key, place in ended:
                self.add(after, key, place, local=local)
        return after

    def add(self, places: _Places, key: _Key, place: _Place, *, local: bool) -> None:
        known = places.get(key)
        if known is None:
            places[key] = _Place(place.stack, place.left, place.spared)
        else:
            known.stack = self.parser.merge(known.stack, place.stack, local)
            known.left |= place.left
            known.spared |= place.spared

    def close(self, seeds: list[_Item], places: _Places, *, checking: bool, local: bool) -> None:
        """Add all places that are reached from the seeds without a token, depth first, edges in their order."""
        walk = _Walk(places=places, checking=checking, local=local)
        for seed in seeds:
            trail = [self.beyond(seed, walk)]
            while trail:
                item = next(trail[-1], None)
                if item is None:
                    trail.pop()
                else:
                    trail.append(self.beyond(item, walk))

    def beyond(self, item: _Item, walk: _Walk) -> Iterator[_Item]:
        """Where one goes without a token; adds the item itself where a token has to come."""
        key, place, depth = item
        state, alternative, check = key
        if state in self.grammar.stops:
            yield from self.returns(item, walk)
            return
        if state in self.grammar.leaves:
            self.add(walk.places, key, place, local=walk.local)
        for number, edge in enumerate(self.grammar.edges[state]):
            if number == 0 and self.covered(state, place.stack):
                continue
            if edge.kind == "nothing":
                yield (edge.target, alternative, check), place, depth
            elif edge.kind == "call":
                inside = _Place(self.parser.push(place.stack, edge.follow), place.left, place.spared)
                yield (edge.target, alternative, check), inside, depth + 1 if depth >= 0 else depth
            elif edge.kind == "strength":
                if not (walk.checking and depth == 0):
                    yield (edge.target, alternative, check), place, depth
                elif walk.local:
                    yield (edge.target, alternative, edge.level), place, depth
                elif edge.level >= self.strength:
                    yield (edge.target, alternative, check), place, depth

    def returns(self, item: _Item, walk: _Walk) -> Iterator[_Item]:
        """Where to go from the end of a rule: back to the callers, or (looking ahead locally) to all there could be."""
        key, place, depth = item
        state, alternative, check = key
        calls = self.grammar.calls[self.grammar.rule_of[state]]
        for back, below in place.stack.links:
            if below is not None:
                yield (back, alternative, check), _Place(below, place.left), depth - 1
            elif not walk.local or not calls:
                self.add(walk.places, key, _Place(self.parser.nothing, place.left, place.spared), local=walk.local)
            else:
                for edge in calls:
                    spared = place.spared or self.spares(edge.rule, edge.level)
                    there = (edge.follow, alternative, check)
                    if (there, spared) not in walk.left:
                        walk.left.add((there, spared))
                        yield there, _Place(place.stack, True, spared), depth - 1

    def spares(self, rule: str, level: int) -> bool:
        return self.decision.recursive and level == 0 and rule == self.decision.rule

    def covered(self, state: int, stack: _Stack) -> bool:
        """Whether reading another operand here is what returning to the caller does as well."""
        decision = self.grammar.decisions.get(state)
        if decision is None or not decision.recursive or stack.bottomless:
            return False
        operand = self.grammar.operand.get(decision.rule)
        return all(back == operand for back, _ in stack.links)


def _by_place(places: _Places) -> Iterable[set[int]]:
    """The alternatives that stand at the same state with the same stacks."""
    found: dict[tuple[int, _Stack], set[int]] = {}
    for (state, alternative, _), place in places.items():
        found.setdefault((state, place.stack), set()).add(alternative)
    return found.values()


def _checks(places: _Places, alternatives: set[int]) -> tuple[tuple[int, int], ...]:
    """For each alternative the strength it needs: 0 when one of its places needs none."""
    needs: dict[int, list[int]] = {alternative: [] for alternative in sorted(alternatives)}
    for (_, alternative, check), _ in places.items():
        if alternative in needs:
            needs[alternative].append(check)
    checks = tuple((alternative, 0 if 0 in found else max(found)) for alternative, found in needs.items())
    return checks if any(check for _, check in checks) else ()

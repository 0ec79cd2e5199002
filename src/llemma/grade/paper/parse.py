"""Parses LaTeX to the tree that sympy's ANTLR parser finds, or fails where it fails; no antlr4 needed.

The grammar is ambiguous, and what follows a complete formula is silently left unread, so the tree depends on how the
parser looks ahead. This is adaptive LL(*) as in Parr, Harwell and Fisher (OOPSLA 2014) and in the runtime 4.11: at a
decision all alternatives run in lockstep over the coming tokens, first with the callers unknown ("local", results
kept in automata), and once more with the callers known when that ends in a conflict; a conflict that remains goes to
the first alternative. Looking ahead reads tokens, and a token that cannot be read fails the whole text.

One ``Parser`` belongs to one thread. It gives up nothing of the original's verdicts for speed except one: the
original runs into Python's recursion limit on formulas nested some sixty deep, this one at ``MAX_DEPTH`` rules.
"""

from __future__ import annotations

from collections.abc import Iterable
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


@dataclass(slots=True, eq=False)
class _Ahead:
    """A state of a decision's automaton: the places, and what they decide."""

    places: _Places
    alternative: int = 0
    conflict: bool = False
    checks: tuple[tuple[int, int], ...] = ()  # (alternative, strength it needs), 0 for none
    edges: dict[str, _Ahead | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Automaton:
    """What looking ahead at one decision has found so far."""

    starts: dict[int, _Ahead] = field(default_factory=dict)  # by strength
    starts_below: dict[tuple[_Stack, int], _Ahead] = field(default_factory=dict)  # the same for known callers
    states: dict[tuple[bool, frozenset[tuple[_Key, _Stack, bool, bool]]], _Ahead] = field(default_factory=dict)


class Parser:
    """Turns texts into trees; remembers what it has learned about looking ahead."""

    def __init__(self, grammar: Grammar = GRAMMAR) -> None:
        self.grammar = grammar
        self._forget()

    def parse(self, text: str) -> Node:
        """The tree of the longest formula the text begins with. Raises Unreadable when there is none."""
        if len(self._stacks) > _MAX_KEPT or self._kept > _MAX_KEPT:
            self._forget()
        run = _Run(self, Tokens(text))
        tree = run.rule("math", 0, self.nothing, 0)
        relation = tree.node("relation")
        assert relation is not None
        return relation

    def _forget(self) -> None:
        self._stacks: dict[tuple[tuple[int, _Stack | None], ...], _Stack] = {}
        self._merged: dict[tuple[_Stack, _Stack, bool], _Stack] = {}
        self._automata: dict[int, _Automaton] = {}
        self._kept = 0
        self.nothing = self.stack(((_OUTSIDE, None),))

    def automaton(self, decision: Decision) -> _Automaton:
        """The automaton of a decision."""
        return self._automata.setdefault(decision.state, _Automaton())

    def keep(self, automaton: _Automaton, ahead: _Ahead, *, local: bool) -> _Ahead:
        """The state of the automaton with these places: the one it has, or this new one."""
        places = frozenset((key, place.stack, place.left, place.spared) for key, place in ahead.places.items())
        found = automaton.states.setdefault((local, places), ahead)
        self._kept += found is ahead
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

    def alternative(self) -> int:
        """The alternative to take, from 1. Raises Unreadable when none fits."""
        automaton = self.parser.automaton(self.decision)
        before = automaton.starts.get(self.strength if self.decision.recursive else 0)
        if before is None:
            before = self.begin(automaton)
        index = self.at
        while True:
            kind = self.tokens[index].kind
            if kind in before.edges:
                ahead = before.edges[kind]
            else:
                ahead = before.edges[kind] = self.advance(automaton, before, kind)
            if ahead is None:
                return self.finished(before.places)
            if ahead.conflict:
                passed = self.passed(ahead) if ahead.checks else []
                return passed[0] if len(passed) == 1 else self.with_callers(automaton)
            if ahead.checks:
                passed = self.passed(ahead)
                if not passed:
                    raise Unreadable("an operator that binds too weakly")
                return min(passed)
            if ahead.alternative:
                return ahead.alternative
            before = ahead
            if kind != EOF:
                index += 1

    def begin(self, automaton: _Automaton) -> _Ahead:
        places = self.start(self.parser.nothing, local=True)
        if self.decision.recursive:
            places = self.allowed(places)
        start = self.parser.keep(automaton, _Ahead(places), local=True)
        automaton.starts[self.strength if self.decision.recursive else 0] = start
        return start

    def start(self, stack: _Stack, *, local: bool) -> _Places:
        places: _Places = {}
        for alternative, edge in enumerate(self.grammar.edges[self.decision.state], start=1):
            seed = [((edge.target, alternative, 0), _Place(stack))]
            self.close(seed, places, checking=True, local=local)
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

    def advance(self, automaton: _Automaton, before: _Ahead, kind: str) -> _Ahead | None:
        """The automaton's state one token on; ``None`` when no alternative can take that token."""
        places = self.step(before.places, kind, local=True)
        if not places:
            return None
        ahead = _Ahead(places)
        alternatives = {key[1] for key in places}
        if len(alternatives) == 1:
            (ahead.alternative,) = alternatives
        elif self.conflicting(places):
            ahead.conflict = True
        if (ahead.alternative or ahead.conflict) and any(key[2] for key in places):
            ahead.checks = _checks(places, alternatives)
        return self.parser.keep(automaton, ahead, local=True)

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

    def passed(self, ahead: _Ahead) -> list[int]:
        return [alternative for alternative, check in ahead.checks if not check or check >= self.strength]

    def with_callers(self, automaton: _Automaton) -> int:
        """The same decision once more, with the stack of callers known: slower, and never in doubt."""
        before = automaton.starts_below.get((self.stack, self.strength))
        if before is None:
            before = self.parser.keep(automaton, _Ahead(self.start(self.stack, local=False)), local=False)
            automaton.starts_below[self.stack, self.strength] = before
        index = self.at
        while True:
            kind = self.tokens[index].kind
            if kind in before.edges:
                ahead = before.edges[kind]
            else:
                ahead = before.edges[kind] = self.advance_known(automaton, before, kind)
            if ahead is None:
                return self.finished(before.places)
            if ahead.alternative:
                return ahead.alternative
            before = ahead
            if kind != EOF:
                index += 1

    def advance_known(self, automaton: _Automaton, before: _Ahead, kind: str) -> _Ahead | None:
        places = self.step(before.places, kind, local=False)
        if not places:
            return None
        ahead = _Ahead(places)
        alternatives = {key[1] for key in places}
        viable = alternatives if len(alternatives) == 1 else {min(found) for found in _by_place(places)}
        if len(viable) == 1:
            (ahead.alternative,) = viable
        return self.parser.keep(automaton, ahead, local=False)

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
        self.close(list(behind.items()), after, checking=False, local=local)
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

    def close(self, seeds: list[tuple[_Key, _Place]], places: _Places, *, checking: bool, local: bool) -> None:
        """Add all places that are reached from the seeds without a token."""
        grammar = self.grammar
        todo = [(key, place, 0) for key, place in seeds]
        left: set[tuple[_Key, _Stack, bool]] = set()
        while todo:
            key, place, depth = todo.pop()
            state, alternative, check = key
            if state in grammar.stops:
                todo += self.returns(key, place, depth, places, left, local=local)
                continue
            if state in grammar.leaves:
                self.add(places, key, place, local=local)
            for number, edge in enumerate(grammar.edges[state]):
                if number == 0 and self.covered(state, place.stack):
                    continue
                if edge.kind == "nothing":
                    todo.append(((edge.target, alternative, check), place, depth))
                elif edge.kind == "call":
                    stack = self.parser.push(place.stack, edge.follow)
                    inside = _Place(stack, place.left, place.spared)
                    todo.append(((edge.target, alternative, check), inside, depth + 1 if depth >= 0 else depth))
                elif edge.kind == "strength":
                    level = check
                    if checking and depth == 0:
                        if local:
                            level = edge.level
                        elif edge.level < self.strength:
                            continue
                    todo.append(((edge.target, alternative, level), place, depth))

    def returns(
        self,
        key: _Key,
        place: _Place,
        depth: int,
        places: _Places,
        left: set[tuple[_Key, _Stack, bool]],
        *,
        local: bool,
    ) -> Iterable[tuple[_Key, _Place, int]]:
        """Where to go from the end of a rule: back to the callers, or (looking ahead locally) to all there could be."""
        state, alternative, check = key
        calls = self.grammar.calls[self.grammar.rule_of[state]]
        for back, below in place.stack.links:
            if below is not None:
                yield (back, alternative, check), _Place(below, place.left), depth - 1
            elif not local or not calls:
                self.add(places, key, _Place(self.parser.nothing, place.left, place.spared), local=local)
            else:
                for edge in calls:
                    spared = place.spared or self.spares(edge.rule, edge.level)
                    there = (edge.follow, alternative, check)
                    if (there, place.stack, spared) not in left:
                        left.add((there, place.stack, spared))
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

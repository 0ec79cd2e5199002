"""The grammar of sympy's LaTeX parser as a graph of states that a parser can walk and look ahead in.

The language is that of ``sympy/parsing/latex/LaTeX.g4`` (sympy 1.14), rule for rule, because which reading of an
ambiguous formula wins depends on the order of its alternatives. Left recursion is already unrolled as ANTLR does:
``additive: mp ({2} [ADD SUB] additive:3)*`` reads "continue while the binding strength asked for is at most 2, and
ask the right operand for 3". This module knows no tokens but their names and takes no decision.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from llemma.grade.paper.lexer import FUNCTION_KINDS

# [A B] is one token of a set; name:3 calls a rule asking for strength 3; {2} lets through strengths up to 2.
_RULES = {
    "math": "relation",
    "relation": "expr ({2} [EQUAL LT LTE GT GTE NEQ] relation:3)*",
    "equality": "expr EQUAL expr",
    "expr": "additive",
    "additive": "mp ({2} [ADD SUB] additive:3)*",
    "mp": "unary ({2} [MUL DIV] mp:3)*",
    "mp_nofunc": "unary_nofunc ({2} [MUL DIV] mp_nofunc:3)*",
    "unary": "[ADD SUB] unary | postfix+",
    "unary_nofunc": "[ADD SUB] unary_nofunc | postfix postfix_nofunc*",
    "postfix": "exp postfix_op*",
    "postfix_nofunc": "exp_nofunc postfix_op*",
    "postfix_op": "BANG | eval_at",
    "eval_at": "BAR (eval_at_sup | eval_at_sub | eval_at_sup eval_at_sub)",
    "eval_at_sub": "UNDERSCORE L_BRACE (expr | equality) R_BRACE",
    "eval_at_sup": "CARET L_BRACE (expr | equality) R_BRACE",
    "exp": "comp ({2} CARET (atom | L_BRACE expr R_BRACE) subexpr?)*",
    "exp_nofunc": "comp_nofunc ({2} CARET (atom | L_BRACE expr R_BRACE) subexpr?)*",
    "comp": "group | abs_group | func | atom | floor | ceil",
    "comp_nofunc": "group | abs_group | atom | floor | ceil",
    "group": "L_PAREN expr R_PAREN | L_BRACKET expr R_BRACKET | L_BRACE expr R_BRACE | L_LITERAL expr R_LITERAL",
    "abs_group": "BAR expr BAR",
    "number": "DIGIT+ (COMMA DIGIT DIGIT DIGIT)* (POINT DIGIT+)?",
    "atom": "[LETTER SYMBOL] (subexpr? QUOTES? | QUOTES? subexpr?) | number | DIFFERENTIAL | mathit | frac | binom"
    " | bra | ket",
    "bra": "L_ANGLE expr [R_BAR BAR]",
    "ket": "[L_BAR BAR] expr R_ANGLE",
    "mathit": "MATHIT L_BRACE mathit_text R_BRACE",
    "mathit_text": "LETTER*",
    "frac": "FRAC (DIGIT | L_BRACE expr R_BRACE) (DIGIT | L_BRACE expr R_BRACE)",
    "binom": "BINOM L_BRACE expr R_BRACE L_BRACE expr R_BRACE",
    "floor": "L_FLOOR expr R_FLOOR",
    "ceil": "L_CEIL expr R_CEIL",
    "func_normal": f"[{' '.join(FUNCTION_KINDS)}]",
    "func": "func_normal (subexpr? supexpr? | supexpr? subexpr?) (L_PAREN func_arg R_PAREN | func_arg_noparens)"
    " | [LETTER SYMBOL] (subexpr? QUOTES? | QUOTES? subexpr?) L_PAREN args R_PAREN"
    " | FUNC_INT (subexpr supexpr | supexpr subexpr)? (additive? DIFFERENTIAL | frac | additive)"
    " | FUNC_SQRT (L_BRACKET expr R_BRACKET)? L_BRACE expr R_BRACE"
    " | FUNC_OVERLINE L_BRACE expr R_BRACE"
    " | [FUNC_SUM FUNC_PROD] (subeq supexpr | supexpr subeq) mp"
    " | FUNC_LIM limit_sub mp",
    "args": "expr COMMA args | expr",
    "limit_sub": "UNDERSCORE L_BRACE [LETTER SYMBOL] TO expr (CARET (L_BRACE [ADD SUB] R_BRACE | ADD | SUB))? R_BRACE",
    "func_arg": "expr | expr COMMA func_arg",
    "func_arg_noparens": "mp_nofunc",
    "subexpr": "UNDERSCORE (atom | L_BRACE expr R_BRACE)",
    "supexpr": "CARET (atom | L_BRACE expr R_BRACE)",
    "subeq": "UNDERSCORE L_BRACE equality R_BRACE",
}
_WORD = re.compile(r"\{\d\}|\[[A-Z_ ]+\]|[A-Z_]+|[a-z_]+(?::\d)?|[()|?*+]")


@dataclass(slots=True)
class Edge:
    """A step to ``target``: over nothing, over a token, into a rule (then on to ``follow``), past a strength check."""

    kind: str  # nothing, token, call, strength
    target: int
    tokens: frozenset[str] = frozenset()
    rule: str = ""
    follow: int = -1
    level: int = 0


@dataclass(slots=True)
class Decision:
    """A state with several edges; ``by_token`` decides alone when one token is always enough, else it is empty."""

    state: int
    rule: str
    recursive: bool  # whether to read another operand of an unrolled left recursion
    optional: bool  # nothing fits: leave by the last edge
    by_token: dict[str, int] = field(default_factory=dict)


class Grammar:
    """All states; ``start`` and ``stop`` of each rule; where each rule is called from."""

    def __init__(self) -> None:
        self.edges: list[list[Edge]] = []
        self.rule_of: list[str] = []
        self.decisions: dict[int, Decision] = {}
        self.start = {rule: self._state(rule) for rule in _RULES}
        self.stop = {rule: self._state(rule) for rule in _RULES}
        self.stops = frozenset(self.stop.values())
        self.operand: dict[str, int] = {}  # where an unrolled left recursion goes on behind its right operand
        self.calls: dict[str, list[Edge]] = {rule: [] for rule in _RULES}
        for rule, body in _RULES.items():
            _Builder(self, rule, _WORD.findall(body)).build()
        for edge in (edge for edges in self.edges for edge in edges if edge.kind == "call"):
            self.calls[edge.rule].append(edge)
        # States a look-ahead can rest in: before a token.
        self.leaves = frozenset(s for s, edges in enumerate(self.edges) if any(e.kind == "token" for e in edges))
        _Lookahead(self).fill()

    def _state(self, rule: str) -> int:
        self.edges.append([])
        self.rule_of.append(rule)
        return len(self.edges) - 1


class _Builder:
    """Reads the notation of one rule and adds its states."""

    def __init__(self, grammar: Grammar, rule: str, words: list[str]) -> None:
        self.grammar = grammar
        self.rule = rule
        self.words = words
        self.at = 0

    def build(self) -> None:
        left, right = self.block("")
        self.join(self.grammar.start[self.rule], left)
        self.join(right, self.grammar.stop[self.rule])

    def new(self) -> int:
        return self.grammar._state(self.rule)

    def join(self, left: int, right: int) -> None:
        self.grammar.edges[left].append(Edge("nothing", right))

    def decide(self, state: int, *, recursive: bool = False, optional: bool = False) -> None:
        self.grammar.decisions[state] = Decision(state, self.rule, recursive, optional)

    def block(self, closing: str) -> tuple[int, int]:
        """Alternatives up to the closing word."""
        left, right = self.new(), self.new()
        while True:
            first, last = self.sequence()
            self.join(left, first)
            self.join(last, right)
            if self.word() != "|":
                break
            self.at += 1
        assert self.word() == closing, (self.rule, self.words[self.at :])
        self.at += 1
        if len(self.grammar.edges[left]) > 1:
            self.decide(left)
        return left, right

    def word(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def sequence(self) -> tuple[int, int]:
        left = right = self.new()
        while self.word() not in ("", "|", ")"):
            first, last = self.element()
            self.join(right, first)
            right = last
        return left, right

    def element(self) -> tuple[int, int]:
        word = self.word()
        self.at += 1
        left, right = self.block(")") if word == "(" else self.step(word)
        repeat = {"?": self.maybe, "*": self.many, "+": self.some}.get(self.word())
        if repeat is None:
            return left, right
        self.at += 1
        return repeat(left, right)

    def step(self, word: str) -> tuple[int, int]:
        left, right = self.new(), self.new()
        if word[0] == "{":
            edge = Edge("strength", right, level=int(word[1]))
        elif word[0] == "[" or word.isupper():
            edge = Edge("token", right, tokens=frozenset(word.strip("[]").split()))
        else:
            name, _, level = word.partition(":")
            edge = Edge("call", self.grammar.start[name], rule=name, follow=right, level=int(level or 0))
            if level:
                self.grammar.operand[self.rule] = right
        self.grammar.edges[left].append(edge)
        return left, right

    def maybe(self, left: int, right: int) -> tuple[int, int]:
        if left not in self.grammar.decisions:
            first = self.new()
            self.join(first, left)
            left = first
        self.join(left, right)
        self.decide(left, optional=True)
        return left, right

    def many(self, left: int, right: int) -> tuple[int, int]:
        entry, leave = self.new(), self.new()
        self.join(entry, left)
        self.join(entry, leave)
        self.join(right, entry)
        recursive = any(edge.kind == "strength" for state in self.ahead(left) for edge in self.grammar.edges[state])
        self.decide(entry, recursive=recursive, optional=True)
        return entry, leave

    def some(self, left: int, right: int) -> tuple[int, int]:
        again, leave = self.new(), self.new()
        self.join(right, again)
        self.join(again, left)
        self.join(again, leave)
        self.decide(again, optional=True)
        return left, leave

    def ahead(self, state: int) -> Iterator[int]:
        """The states reached over nothing."""
        yield state
        for edge in self.grammar.edges[state]:
            if edge.kind == "nothing":
                yield from self.ahead(edge.target)


class _Lookahead:
    """Finds the decisions that one token settles, with the tokens that may follow a rule wherever it is called."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar

    def fill(self) -> None:
        for decision in self.grammar.decisions.values():
            table: dict[str, int] = {}
            for alternative, edge in enumerate(self.grammar.edges[decision.state], start=1):
                tokens = self.tokens(edge.target)
                if tokens is None or not tokens or tokens & table.keys():
                    table = {}
                    break
                table |= dict.fromkeys(tokens, alternative)
            decision.by_token = table

    def tokens(self, state: int) -> frozenset[str] | None:
        """What may come next at a state; ``None`` when a strength check stands in between."""
        found: set[str] = set()
        seen: set[tuple[int, tuple[int, ...]]] = set()
        todo: list[tuple[int, tuple[int, ...]]] = [(state, ())]
        while todo:
            item = todo.pop()
            if item in seen:
                continue
            seen.add(item)
            at, stack = item
            if at in self.grammar.stops:
                if stack:
                    todo.append((stack[-1], stack[:-1]))
                else:
                    todo += [(edge.follow, ()) for edge in self.grammar.calls[self.grammar.rule_of[at]]]
            for edge in self.grammar.edges[at]:
                if edge.kind == "token":
                    found |= edge.tokens
                elif edge.kind == "call":
                    todo.append((edge.target, (*stack, edge.follow)))
                elif edge.kind == "strength":
                    return None
                else:
                    todo.append((edge.target, stack))
        return frozenset(found)


GRAMMAR = Grammar()

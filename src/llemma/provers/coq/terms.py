"""Reads terms as Coq prints them under ``Printing All``: a small language without notations, implicit parts or scopes.

Variables get numbers as they are bound, so that equal names are never confused; all other names are constants.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s+|(?P<token>[^\W\d][\w']*(?:\.[^\W\d][\w']*)*(?:@\{[^}]*\})?|\d[\d_.a-fx]*|"(?:[^"]|"")*"
    |=>|:=|->|<<:|<:|\.\(|\[\||\|\]|.)""",
    re.VERBOSE | re.DOTALL,
)
_CASTS = frozenset({":", "<:", "<<:"})
_KEYWORDS = frozenset(
    ["fun", "forall", "let", "in", "match", "with", "end", "return", "as", "fix", "cofix", "for", "struct"]
)
_STOP = frozenset({")", "}", "|", ",", ";", "=>", ":=", "->", "|]", "", *_CASTS}) | _KEYWORDS - {
    "fun", "forall", "let", "match", "fix", "cofix",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Var:
    """A bound variable."""

    number: int


@dataclass(frozen=True, slots=True)
class Const:
    """Any other name, a sort, a literal."""

    name: str


@dataclass(frozen=True, slots=True)
class App:
    """A function with its arguments."""

    head: Term
    args: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Binder:
    """``fun``, ``forall`` or ``let`` (then ``value`` is there) over one variable; ``type`` None where not printed."""

    kind: str
    number: int
    type: Term | None
    value: Term | None
    body: Term


@dataclass(frozen=True, slots=True)
class Branch:
    """The variables a pattern binds, and what stands behind it."""

    numbers: tuple[int, ...]
    body: Term


@dataclass(frozen=True, slots=True)
class Match:
    """A case analysis; ``parts`` are return clause and the like, with their own binders inside."""

    scrutinee: Term
    parts: tuple[Term, ...]
    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Def:
    """One function of a ``fix``: its variable, parameters with types, the index of the structural one, type, body."""

    number: int
    params: tuple[tuple[int, Term | None], ...]
    index: int
    type: Term | None
    body: Term


@dataclass(frozen=True, slots=True)
class Fix:
    """``fix`` or ``cofix``: functions that call each other, and which of them this is."""

    kind: str
    defs: tuple[Def, ...]
    chosen: int


@dataclass(frozen=True, slots=True)
class Cast:
    """A term with the type it was given."""

    term: Term
    type: Term


Term = Var | Const | App | Binder | Match | Fix | Cast
fresh = itertools.count(1)


class Unreadable(ValueError):
    """Not a term of this language."""


def printed(text: str) -> Term | None:
    """The body in what ``Print`` says of a constant; None for axioms and types. Raises Unreadable."""
    found = re.match(r"\s*\S+\s+=\s", text)
    if found is None:
        return None
    body = text[found.end() :].split("\n\n", 1)[0]
    parser = _Parser([match["token"] for match in _TOKEN.finditer(body) if match["token"] is not None])
    term = parser.term({})
    if parser.peek():
        raise Unreadable(f"unexpected {parser.peek()!r}")
    return term


@dataclass(slots=True)
class _Parser:
    tokens: list[str]
    at: int = field(default=0)

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.peek()
        if wanted and token not in wanted:
            raise Unreadable(f"expected {' or '.join(wanted)}, got {token!r}")
        self.at += 1
        return token

    def term(self, scope: Mapping[str, int]) -> Term:
        found = self.open_term(scope)
        while self.peek() in _CASTS:
            self.take()
            found = Cast(found, self.open_term(scope))
        if self.peek() == "->":
            self.take()
            return Binder("forall", next(fresh), found, None, self.term(scope))
        return found

    def open_term(self, scope: Mapping[str, int]) -> Term:
        token = self.peek()
        if token in ("fun", "forall"):
            self.take()
            binders, inner = self.binders(scope)
            self.take("=>" if token == "fun" else ",")
            body = self.term(inner)
            for number, kind in reversed(binders):
                body = Binder(token, number, kind, None, body)
            return body
        if token == "let":
            return self.let(scope)
        return self.application(scope)

    def let(self, scope: Mapping[str, int]) -> Term:
        self.take("let")
        name = self.take()
        kind = None
        if self.peek() == ":":
            self.take()
            kind = self.open_term(scope)
        self.take(":=")
        value = self.term(scope)
        self.take("in")
        number = next(fresh)
        return Binder("let", number, kind, value, self.term({**scope, name: number}))

    def binders(self, scope: Mapping[str, int]) -> tuple[list[tuple[int, Term | None]], dict[str, int]]:
        """``x : T`` or a row of ``(x y : T)``; with ``(x : T := v)`` the value is dropped into the type's place."""
        inner = dict(scope)
        found: list[tuple[int, Term | None]] = []
        if self.peek() != "(":
            self.group(inner, found)
        while self.peek() == "(":
            self.take()
            self.group(inner, found)
            self.take(")")
        return found, inner

    def group(self, scope: dict[str, int], found: list[tuple[int, Term | None]]) -> None:
        names = []
        while self.peek() != ":":
            names.append(self.take())
            if not self.peek() or len(names) > 10_000:
                raise Unreadable("a binder without a type")
        self.take(":")
        outer = dict(scope)
        kind = self.term(outer)
        for name in names:
            number = next(fresh)
            scope[name] = number
            found.append((number, kind))

    def application(self, scope: Mapping[str, int]) -> Term:
        successors = 0
        while self.peek() == "S" and self.peek(1) == "(" and "S" not in scope:  # numerals nest hundreds deep
            self.at += 2
            successors += 1
        if successors:
            found = self.term(scope)
            for _ in range(successors):
                self.take(")")
                found = App(Const("S"), (found,))
        else:
            found = self.atom(scope)
        args = []
        while self.peek() not in _STOP:
            args.append(self.atom(scope))
        return App(found, tuple(args)) if args else found

    def atom(self, scope: Mapping[str, int]) -> Term:
        token = self.peek()
        if token == "(":
            self.take()
            found = self.term(scope)
            self.take(")")
        elif token == "match":
            found = self.match(scope)
        elif token in ("fix", "cofix"):
            found = self.fix(scope)
        elif token == "@":
            self.take()
            found = self.name(scope)
        elif token in ("fun", "forall", "let"):
            found = self.open_term(scope)
        else:
            found = self.name(scope)
        while self.peek() == "%":
            self.at += 2
        while self.peek() == ".(":
            self.take()
            projection = self.term(scope)
            self.take(")")
            found = App(projection, (found,))
        return found

    def name(self, scope: Mapping[str, int]) -> Term:
        token = self.take()
        if token in _STOP or not (token[0].isalnum() or token[0] in '_"?'):
            raise Unreadable(f"unexpected {token!r}")
        return Var(scope[token]) if token in scope else Const(token)

    def match(self, scope: Mapping[str, int]) -> Term:
        self.take("match")
        scrutinee = self.term(scope)
        inner = dict(scope)
        if self.peek() == "as":
            self.take()
            inner[self.take()] = next(fresh)
        if self.peek() == "in":
            self.take()
            for token in self.until("return", "with"):
                if token[:1].isalpha() or token[:1] == "_":
                    inner[token] = next(fresh)
        parts = []
        if self.peek() == "return":
            self.take()
            parts.append(self.term(inner))
        self.take("with")
        branches = []
        while self.peek() == "|":
            self.take()
            pattern = self.until("=>")
            self.take("=>")
            own = dict(scope)
            names = [t for t in pattern[1:] if t not in ("(", ")", "@", "_")] if pattern[:1] != ["@"] else pattern[2:]
            for name in names:
                own[name] = next(fresh)
            branches.append(Branch(tuple(own[name] for name in names), self.term(own)))
        self.take("end")
        return Match(scrutinee, tuple(parts), tuple(branches))

    def until(self, *ends: str) -> list[str]:
        found = []
        while self.peek() not in ends:
            if not self.peek():
                raise Unreadable(f"no {' or '.join(ends)}")
            found.append(self.take())
        return found

    def fix(self, scope: Mapping[str, int]) -> Term:
        kind = self.take("fix", "cofix")
        names = self.functions()
        numbers = {name: next(fresh) for name in names}
        inner = {**scope, **numbers}
        defs = [self.definition(inner, numbers)]
        while self.peek() == "with":
            self.take()
            defs.append(self.definition(inner, numbers))
        chosen = 0
        if self.peek() == "for":
            self.take()
            chosen = names.index(self.take())
        return Fix(kind, tuple(defs), chosen)

    def functions(self) -> list[str]:
        """The names of the functions of this ``fix``, which bind in all its bodies: looked up ahead."""
        names, depth, at = [self.peek()], 0, self.at
        while at < len(self.tokens):
            token = self.tokens[at]
            if token in ("(", "match", "fix", "cofix", "{"):
                depth += 1
            elif token in (")", "end", "}"):
                depth -= 1
            if depth < 0 or (depth == 0 and token == "for"):
                break
            if depth == 0 and token == "with":
                names.append(self.tokens[at + 1])
            at += 1
        return names

    def definition(self, scope: Mapping[str, int], numbers: Mapping[str, int]) -> Def:
        number = numbers[self.take()]
        inner: dict[str, int] = dict(scope)
        params: list[tuple[int, Term | None]] = []
        while self.peek() == "(":
            self.take()
            self.group(inner, params)
            self.take(")")
        index = 0
        if self.peek() == "{":
            self.take()
            self.take("struct")
            wanted = inner[self.take()]
            index = [param for param, _ in params].index(wanted)
            self.take("}")
        kind = None
        if self.peek() == ":":
            self.take()
            kind = self.open_term(inner)
        self.take(":=")
        return Def(number, tuple(params), index, kind, self.term(inner))

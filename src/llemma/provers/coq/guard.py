"""A second guard: whether every fixpoint of a term descends, decided without the parts Coq has got wrong.

Coq's guard reduces terms while it checks them, and all its known faults (see ``bugs``) lie there. This one is simpler
and refuses more; a fixpoint must pass both. The rule: a function of a ``fix`` occurs only applied, its structural
argument is a strict part of the parameter (a variable of a pattern, such a variable applied, or a match or call of a
constant all of whose results are), and its arguments obey the rule themselves. To decide it, constants are unfolded and
redexes contracted where the term as written does not pass; a match is never reduced, nothing moves across a ``fix``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from llemma.provers.coq.terms import App, Binder, Branch, Cast, Const, Def, Fix, Match, Term, Var, fresh

R = TypeVar("R")
Unfold = Callable[[str], Term | None]
_STEPS = 400_000
_DEPTH = 12  # of constants unfolded inside each other


class Unguarded(Exception):
    """A fixpoint that does not pass; the message says why."""


def check(term: Term, unfold: Unfold) -> None:
    """Raises Unguarded when a fixpoint in ``term`` does not pass. ``unfold``: the body of a constant, if it has one."""
    budget = [_STEPS]
    for part in subterms(term):
        if isinstance(part, Fix):
            if part.kind == "cofix":
                _cofix(part)
                continue
            for one in part.defs:
                if one.index >= len(one.params):
                    raise Unguarded("a fixpoint without its structural parameter")
            recursive = {one.number: one.index for one in part.defs}
            for one in part.defs:
                walk = _Walk(recursive=recursive, unfold=unfold, budget=budget)
                walk.sizes[one.params[one.index][0]] = "whole"
                walk.walk(one.body, ())


def _cofix(part: Fix) -> None:
    """Coq passes the wrong tree to mutual cofixpoints inside others (#22389)."""
    for one in part.defs:
        for inner in subterms(one.body):
            if isinstance(inner, Fix) and inner.kind == "cofix" and max(len(inner.defs), len(part.defs)) > 1:
                raise Unguarded("mutual cofixpoints inside a cofixpoint (#22389)")


def constants(term: Term) -> Iterator[str]:
    """The names of a term that are not bound in it."""
    for part in subterms(term):
        if isinstance(part, Const):
            yield part.name


def subterms(term: Term) -> Iterator[Term]:
    """The term and everything in it."""
    todo: list[Term] = [term]
    while todo:
        here = todo.pop()
        yield here
        todo += _children(here)


def _children(term: Term) -> list[Term]:
    match term:
        case App(head, args):
            return [head, *args]
        case Binder(_, _, kind, value, body):
            return [part for part in (kind, value, body) if part is not None]
        case Match(scrutinee, parts, branches):
            return [scrutinee, *parts, *(branch.body for branch in branches)]
        case Fix(_, defs, _):
            found: list[Term] = []
            for one in defs:
                found += [kind for _, kind in one.params if kind is not None]
                found += [part for part in (one.type, one.body) if part is not None]
            return found
        case Cast(inner, kind):
            return [inner, kind]
        case _:
            return []


@dataclass(slots=True)
class _Walk:
    """The check of one function of a ``fix``. ``sizes``: which variables are parts of its parameter."""

    recursive: Mapping[int, int]
    unfold: Unfold
    budget: list[int]
    sizes: dict[int, str] = field(default_factory=dict)  # "part" or "whole"; others are absent
    returns: dict[int, int] = field(default_factory=dict)  # inner functions assumed to return parts
    depth: int = 0

    def spend(self) -> None:
        self.budget[0] -= 1
        if self.budget[0] < 0:
            raise Unguarded("too large to decide")

    def each(self, terms: tuple[Term, ...]) -> None:
        for term in terms:
            self.walk(term, ())

    def walk(self, term: Term, args: tuple[Term, ...]) -> None:
        """Raises Unguarded when ``term`` applied to ``args`` breaks the rule."""
        self.spend()
        match term:
            case Var(number) if number in self.recursive:
                index = self.recursive[number]
                if len(args) <= index:
                    raise Unguarded("a recursive function is used without its structural argument")
                if self.size(args[index], ()) != "part":
                    raise Unguarded("a recursive call on what is not seen to be a part of the parameter")
                self.each(args)
            case Const(name):
                self.constant(name, args)
            case App(head, more):
                self.walk(head, (*more, *args))
            case Binder("fun", number, kind, _, body) if args:
                self.each(() if kind is None else (kind,))
                self.bind(number, args[0], body, args[1:])
            case Binder("let", number, kind, value, body) if value is not None:
                self.each(() if kind is None else (kind,))
                self.bind(number, value, body, args)
            case Match(scrutinee, parts, branches):
                self.each((scrutinee, *parts))
                self.enter(scrutinee, branches)
                for branch in branches:
                    self.walk(branch.body, args)
                if not branches:
                    self.each(args)
            case Fix(_, defs, chosen):
                self.each(args)
                self.inner(defs, chosen, args)
            case Cast(inner, kind):
                self.walk(kind, ())
                self.walk(inner, args)
            case _:
                self.each((*_children(term), *args))

    def constant(self, name: str, args: tuple[Term, ...]) -> None:
        """Arguments of a constant; when one breaks the rule, what the constant does with it decides."""
        try:
            self.each(args)
        except Unguarded:
            body = self.unfold(name) if self.depth < _DEPTH else None
            if body is None:
                raise
            self.depth += 1
            try:
                self.walk(renamed(body), args)
            finally:
                self.depth -= 1

    def bind(self, number: int, value: Term, body: Term, args: tuple[Term, ...]) -> None:
        """``body`` with a variable standing for ``value``; the value is put in place when it breaks the rule alone."""
        try:
            self.walk(value, ())
        except Unguarded:
            if not any(part == Var(number) for part in subterms(body)):
                raise  # what is thrown away must obey the rule too (#20413)
            self.walk(substituted(body, number, value), args)
            return
        self.note(number, self.size(value, ()))
        try:
            self.walk(body, args)
        except Unguarded:
            if not isinstance(value, Binder):
                raise
            self.walk(substituted(body, number, value), args)  # a local function: seen with its arguments

    def enter(self, scrutinee: Term, branches: tuple[Branch, ...]) -> None:
        size = None if self.size(scrutinee, ()) is None else "part"
        for branch in branches:
            for number in branch.numbers:
                self.note(number, size)

    def note(self, number: int, size: str | None) -> None:
        """What is known of a variable, now that it is bound (again)."""
        self.sizes.pop(number, None)
        if size is not None:
            self.sizes[number] = size

    def inner(self, defs: tuple[Def, ...], chosen: int, args: tuple[Term, ...]) -> None:
        """The bodies of a ``fix`` inside; its own structural parameter is a part where its argument is."""
        one = defs[chosen]
        if len(defs) == 1 and one.index < min(len(args), len(one.params)):
            self.note(one.params[one.index][0], self.size(args[one.index], ()))
        for each in defs:
            self.each(tuple(kind for _, kind in each.params if kind is not None))
            self.each(() if each.type is None else (each.type,))
            self.walk(each.body, ())

    def size(self, term: Term, args: tuple[Term, ...]) -> str | None:
        """``part`` or ``whole`` of the structural parameter, None when neither is seen."""
        self.spend()
        match term:
            case Var(number) if number in self.returns and len(args) > self.returns[number]:
                return "part"
            case Var(number):
                known = self.sizes.get(number)
                return known if not args or known == "part" else None
            case App(head, more):
                return self.size(head, (*more, *args))
            case Cast(inner, _):
                return self.size(inner, args)
            case Binder("fun", number, _, _, body) if args:
                return self.sized(number, args[0], body, args[1:])
            case Binder("let", number, _, value, body) if value is not None:
                return self.sized(number, value, body, args)
            case Match(scrutinee, _, branches):
                self.enter(scrutinee, branches)
                return _least([self.size(branch.body, args) for branch in branches])
            case Fix("fix", (one,), _) if one.index < min(len(args), len(one.params)):
                return self.returned(one, args)
            case Const(name) if self.depth < _DEPTH:
                unfolded = self.unfold(name)
                if unfolded is None:
                    return None
                self.depth += 1
                try:
                    return self.size(renamed(unfolded), args)
                finally:
                    self.depth -= 1
            case _:
                return None

    def sized(self, number: int, value: Term, body: Term, args: tuple[Term, ...]) -> str | None:
        self.note(number, self.size(value, ()))
        return self.size(body, args)

    def returned(self, one: Def, args: tuple[Term, ...]) -> str | None:
        """What an inner function makes of a part, when its own calls are taken to return parts (as in ``n - m``)."""
        if self.size(args[one.index], ()) != "part":
            return None
        for (number, _), value in zip(one.params, args, strict=False):
            self.note(number, self.size(value, ()) if number == one.params[one.index][0] else None)
        self.returns[one.number] = one.index
        return self.size(one.body, args[len(one.params) :])


def _least(sizes: list[str | None]) -> str | None:
    """What can be said of a value that is one of several; of none (an absurd case), everything."""
    if None in sizes:
        return None
    return "whole" if "whole" in sizes else "part"


def renamed(term: Term) -> Term:
    """The term with new numbers for the variables it binds."""
    return _copy(term, {})


def substituted(term: Term, number: int, value: Term) -> Term:
    """The term with ``value`` in the place of a variable; every copy binds variables of its own."""
    return _copy(term, {number: value})


def _copy(term: Term, found: Mapping[int, Term]) -> Term:
    match term:
        case Var(number):
            value = found.get(number)
            return term if value is None else value if isinstance(value, Var | Const) else renamed(value)
        case App(head, args):
            return App(_copy(head, found), tuple(_copy(arg, found) for arg in args))
        case Binder(kind, number, of, value, body):
            new = next(fresh)
            return Binder(
                kind, new, None if of is None else _copy(of, found), None if value is None else _copy(value, found),
                _copy(body, {**found, number: Var(new)}),
            )  # fmt: skip
        case Match(scrutinee, parts, branches):
            return Match(
                _copy(scrutinee, found), tuple(_copy(part, found) for part in parts),
                tuple(_branch(branch, found) for branch in branches),
            )  # fmt: skip
        case Fix(kind, defs, chosen):
            inner = {**found, **{one.number: Var(next(fresh)) for one in defs}}
            return Fix(kind, tuple(_def(one, inner) for one in defs), chosen)
        case Cast(inner, of):
            return Cast(_copy(inner, found), _copy(of, found))
        case _:
            return term


def _branch(branch: Branch, found: Mapping[int, Term]) -> Branch:
    numbers = {number: next(fresh) for number in branch.numbers}
    inner = {**found, **{old: Var(new) for old, new in numbers.items()}}
    return Branch(tuple(numbers.values()), _copy(branch.body, inner))


def _def(one: Def, found: Mapping[int, Term]) -> Def:
    inner = dict(found)
    params = []
    for number, kind in one.params:
        new = next(fresh)
        params.append((new, None if kind is None else _copy(kind, inner)))
        inner[number] = Var(new)
    mine = found[one.number]
    assert isinstance(mine, Var)
    kind = None if one.type is None else _copy(one.type, inner)
    return Def(mine.number, tuple(params), one.index, kind, _copy(one.body, inner))


def deeply(work: Callable[[], R], frames: int = 20_000) -> R:
    """The result of ``work`` with room for ``frames`` calls inside each other; Unguarded when that is not enough."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, frames))
    try:
        return work()
    except RecursionError as error:
        raise Unguarded("nested too deeply to decide") from error
    finally:
        sys.setrecursionlimit(before)

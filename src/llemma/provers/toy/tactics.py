"""The tactics of the toy prover: each turns the first goal into others and says how their proofs make its proof.

They may be wrong without harm: only ``kernel`` decides what is proved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from llemma.provers.toy import formula as f
from llemma.provers.toy import kernel as k
from llemma.provers.toy.farkas import refute

Hypotheses = tuple[tuple[str, f.Formula], ...]


class TacticError(ValueError):
    """A tactic that does not apply, or a text that is none; ``forbidden`` tells the two apart."""

    def __init__(self, message: str, *, forbidden: bool = False) -> None:
        self.forbidden = forbidden
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Sequent:
    """A goal: named hypotheses and the formula to be proved."""

    known: Hypotheses
    goal: f.Formula

    def find(self, name: str) -> f.Formula:
        """The hypothesis with this name. Raises TacticError."""
        for known, formula in self.known:
            if known == name:
                return formula
        raise TacticError(f"there is no hypothesis {name}")

    def adding(self, name: str, formula: f.Formula) -> Sequent:
        """The goal with one more hypothesis."""
        return Sequent((*self.known, (name, formula)), self.goal)

    def fresh(self, wanted: str = "h") -> str:
        """``wanted``, or with a number when it is taken."""
        taken = {name for name, _ in self.known}
        names: Iterator[str] = (wanted if i == 0 else f"{wanted}{i}" for i in range(len(taken) + 1))
        return next(name for name in names if name not in taken)


@dataclass(frozen=True, slots=True)
class Move:
    """What a tactic did: the goals it leaves, and the proof term out of theirs."""

    goals: tuple[Sequent, ...]
    build: Callable[[Sequence[k.Term]], k.Term]


def run(sequent: Sequent, text: str) -> Move:
    """One tactic on one goal. Raises TacticError."""
    words = text.split(None, 1)
    name, rest = (words[0], words[1].strip() if len(words) > 1 else "") if words else ("", "")
    if name not in TACTICS or "\n" in text.strip():
        raise TacticError(f"{text.strip()[:60]!r} is no tactic; there are {', '.join(TACTICS)}", forbidden=True)
    return TACTICS[name](sequent, rest)


def _named(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_']*", text):
        raise TacticError(f"{text[:40]!r} is no name", forbidden=True)
    return text


def _bare(text: str) -> None:
    if text:
        raise TacticError(f"{text[:40]!r} is too much: this tactic stands alone", forbidden=True)


def _closed(term: k.Term) -> Move:
    return Move((), lambda proofs: term)


def _pair(formula: f.Formula, connective: str, what: str) -> f.Pair:
    if isinstance(formula, f.Pair) and formula.connective == connective:
        return formula
    raise TacticError(f"{what} is no formula with {connective}: {f.show(formula)}")


def _intro(s: Sequent, rest: str) -> Move:
    pair = _pair(s.goal, "->", "the goal")
    name = _named(rest) if rest else s.fresh()
    if name != s.fresh(name):
        raise TacticError(f"the name {name} is taken")
    return Move((Sequent((*s.known, (name, pair.left)), pair.right),), lambda p: k.Assume(name, p[0]))


def _intros(s: Sequent, rest: str) -> Move:
    _bare(rest)
    names, goal = [], s
    while isinstance(goal.goal, f.Pair) and goal.goal.connective == "->" and goal.goal.right != f.FALSE:
        name = goal.fresh()
        names.append(name)
        goal = Sequent((*goal.known, (name, goal.goal.left)), goal.goal.right)
    if not names:
        raise TacticError("the goal is no implication")

    def build(proofs: Sequence[k.Term]) -> k.Term:
        term = proofs[0]
        for name in reversed(names):
            term = k.Assume(name, term)
        return term

    return Move((goal,), build)


def _exact(s: Sequent, rest: str) -> Move:
    if s.find(_named(rest)) != s.goal:
        raise TacticError(f"{rest} is not the goal")
    return _closed(k.Use(rest))


def _assumption(s: Sequent, rest: str) -> Move:
    _bare(rest)
    for name, formula in s.known:
        if formula == s.goal:
            return _closed(k.Use(name))
    raise TacticError("no hypothesis is the goal")


def _apply(s: Sequent, rest: str) -> Move:
    formula, premises = s.find(_named(rest)), []
    while formula != s.goal:
        pair = _pair(formula, "->", f"what is left of {rest}, which does not end in the goal,")
        premises.append(pair.left)
        formula = pair.right

    def build(proofs: Sequence[k.Term]) -> k.Term:
        term: k.Term = k.Use(rest)
        for proof in proofs:
            term = k.Apply(term, proof)
        return term

    return Move(tuple(Sequent(s.known, premise) for premise in premises), build)


def _split(s: Sequent, rest: str) -> Move:
    _bare(rest)
    pair = _pair(s.goal, "&", "the goal")
    return Move((Sequent(s.known, pair.left), Sequent(s.known, pair.right)), lambda p: k.Both(p[0], p[1]))


def _side(left: bool) -> Callable[[Sequent, str], Move]:
    def tactic(s: Sequent, rest: str) -> Move:
        _bare(rest)
        pair = _pair(s.goal, "|", "the goal")
        return Move((Sequent(s.known, pair.left if left else pair.right),), lambda p: k.Side(p[0], left))

    return tactic


def _cases(s: Sequent, rest: str) -> Move:
    name = _named(rest)
    formula, used = s.find(name), k.Use(name)
    if formula == f.FALSE:
        return _closed(k.FromFalse(used))
    others = Sequent(tuple(pair for pair in s.known if pair[0] != name), s.goal)
    if isinstance(formula, f.Pair) and formula.connective == "|":
        return Move(
            (others.adding(name, formula.left), others.adding(name, formula.right)),
            lambda p: k.Cases(used, name, p[0], p[1]),
        )
    pair = _pair(formula, "&", name)
    left, right = name, s.fresh(name)

    def build(proofs: Sequence[k.Term]) -> k.Term:
        # the right part first: the left one takes the name of the pair
        inner = k.Have(left, pair.left, k.Part(used, True), proofs[0])
        return k.Have(right, pair.right, k.Part(used, False), inner)

    return Move((others.adding(left, pair.left).adding(right, pair.right),), build)


def _exfalso(s: Sequent, rest: str) -> Move:
    _bare(rest)
    return Move((Sequent(s.known, f.FALSE),), lambda p: k.FromFalse(p[0]))


def _trivial(s: Sequent, rest: str) -> Move:
    _bare(rest)
    if s.goal == f.Truth(True):
        return _closed(k.Obvious())
    known = {formula: name for name, formula in s.known}
    if s.goal in known:
        return _closed(k.Use(known[s.goal]))
    if f.FALSE in known:
        return _closed(k.FromFalse(k.Use(known[f.FALSE])))
    for name, formula in s.known:
        if isinstance(formula, f.Pair) and formula.connective == "->" and formula.right == f.FALSE:
            premise = known.get(formula.left)
            if premise is not None:
                return _closed(k.FromFalse(k.Apply(k.Use(name), k.Use(premise))))
    raise TacticError("the goal is neither True nor a hypothesis, and no two hypotheses contradict each other")


def _have(s: Sequent, rest: str) -> Move:
    name, formula = _typed(s, rest)
    return Move((Sequent(s.known, formula), s.adding(name, formula)), lambda p: k.Have(name, formula, p[0], p[1]))


def _by_cases(s: Sequent, rest: str) -> Move:
    name, formula = _typed(s, rest)
    return Move(
        (s.adding(name, formula), s.adding(name, f.negation(formula))),
        lambda p: k.Cases(k.Middle(formula), name, p[0], p[1]),
    )


def _typed(s: Sequent, rest: str) -> tuple[str, f.Formula]:
    name, colon, text = rest.partition(":")
    if not colon:
        raise TacticError("write NAME : FORMULA", forbidden=True)
    name = _named(name.strip())
    if name != s.fresh(name):
        raise TacticError(f"the name {name} is taken")
    try:
        return name, f.parse(text)
    except f.FormulaError as error:
        raise TacticError(str(error)) from error


def _linarith(s: Sequent, rest: str) -> Move:
    _bare(rest)
    facts = [(name, formula) for name, formula in s.known if isinstance(formula, f.Linear)]
    goal = s.goal
    if isinstance(goal, f.Linear) and goal.comparison == "=":
        turned = f.Linear("<=", tuple((name, -c) for name, c in goal.terms), -goal.bound)
        below, above = _certified(facts, f.Linear("<=", goal.terms, goal.bound)), _certified(facts, turned)
        return _closed(k.Antisymmetry(below, above))
    if isinstance(goal, f.Linear):
        return _closed(_certified(facts, goal))
    proof = _certified(facts, None)
    return _closed(proof if goal == f.FALSE else k.FromFalse(proof))


def _certified(facts: list[tuple[str, f.Linear]], goal: f.Linear | None) -> k.Term:
    wanted = [fact for _, fact in facts] + ([k.negated(goal)] if goal is not None else [])
    weights = refute(wanted)
    if weights is None:
        raise TacticError("the linear hypotheses do not imply the goal")
    parts = tuple((w, k.Use(name)) for (name, _), w in zip(facts, weights, strict=False) if w)
    return k.Farkas(parts, weights[-1] if goal is not None else Fraction(0))


def _auto(s: Sequent, rest: str) -> Move:
    _bare(rest)
    term = _close(s, 60)
    if term is None:
        raise TacticError("auto does not close the goal: a choice has to be made")
    return _closed(term)


def _close(s: Sequent, depth: int) -> k.Term | None:
    """A proof by the rules that lose nothing, closed by trivial or linarith; None when that does not suffice."""
    if depth == 0:
        return None
    tried: list[tuple[str, str]] = [("trivial", "")]
    if isinstance(s.goal, f.Pair) and s.goal.connective in ("&", "->"):
        tried.append(("split" if s.goal.connective == "&" else "intro", ""))
    else:
        safe = (name for name, formula in s.known if isinstance(formula, f.Pair) and formula.connective in "&|")
        first = next(safe, None)
        tried.append(("linarith", "") if first is None else ("cases", first))
    for name, argument in tried:
        try:
            move = TACTICS[name](s, argument)
        except TacticError:
            continue
        proofs = [_close(goal, depth - 1) for goal in move.goals]
        found = [proof for proof in proofs if proof is not None]
        return move.build(found) if len(found) == len(proofs) else None
    return None


TACTICS: dict[str, Callable[[Sequent, str], Move]] = {
    "intro": _intro,
    "intros": _intros,
    "exact": _exact,
    "assumption": _assumption,
    "apply": _apply,
    "split": _split,
    "left": _side(True),
    "right": _side(False),
    "cases": _cases,
    "exfalso": _exfalso,
    "trivial": _trivial,
    "have": _have,
    "by_cases": _by_cases,
    "linarith": _linarith,
    "auto": _auto,
}

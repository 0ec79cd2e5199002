"""The kernel of the toy prover: checks a proof term against a formula. Nothing else decides what is proved.

Natural deduction with excluded middle as an axiom and one rule for linear arithmetic: a weighted sum of comparisons
that comes out as a false comparison of numbers (Farkas' lemma gives such weights whenever there is a contradiction).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from llemma.provers.toy.formula import FALSE, Formula, Linear, Pair, Truth, negation

MIDDLE = "excluded_middle"


class KernelError(ValueError):
    """A proof term that proves something else, or nothing."""


@dataclass(frozen=True, slots=True)
class Use:
    """A hypothesis."""

    name: str


@dataclass(frozen=True, slots=True)
class Assume:
    """Proves an implication: ``body`` proves the conclusion with the premise as ``name``."""

    name: str
    body: Term


@dataclass(frozen=True, slots=True)
class Apply:
    """Modus ponens."""

    implication: Term
    premise: Term


@dataclass(frozen=True, slots=True)
class Both:
    """Proves a conjunction."""

    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class Part:
    """The left or right part of a conjunction."""

    of: Term
    left: bool


@dataclass(frozen=True, slots=True)
class Side:
    """Proves a disjunction by one side."""

    of: Term
    left: bool


@dataclass(frozen=True, slots=True)
class Cases:
    """By cases over a disjunction, each side known as ``name``."""

    of: Term
    name: str
    left: Term
    right: Term


@dataclass(frozen=True, slots=True)
class FromFalse:
    """Anything, from a proof of False."""

    of: Term


@dataclass(frozen=True, slots=True)
class Obvious:
    """Proves True."""


@dataclass(frozen=True, slots=True)
class Have:
    """``body`` may use ``formula``, which ``proof`` proves, as ``name``."""

    name: str
    formula: Formula
    proof: Term
    body: Term


@dataclass(frozen=True, slots=True)
class Middle:
    """The axiom: ``formula`` or its negation."""

    formula: Formula


@dataclass(frozen=True, slots=True)
class Farkas:
    """Proves False or a comparison: weighted comparisons, with the negated goal of weight ``own``, contradict."""

    parts: tuple[tuple[Fraction, Term], ...]
    own: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Antisymmetry:
    """Proves an equation by two inequalities."""

    below: Term
    above: Term


Term = (
    Use | Assume | Apply | Both | Part | Side | Cases | FromFalse | Obvious | Have | Middle | Farkas | Antisymmetry
)  # fmt: skip
Context = Mapping[str, Formula]


def check(term: Term, formula: Formula, context: Context | None = None) -> frozenset[str]:
    """The axioms that ``term`` uses, when it proves ``formula`` from ``context``. Raises KernelError otherwise."""
    axioms: set[str] = set()
    _check(term, formula, dict(context or {}), axioms)
    return frozenset(axioms)


def _check(term: Term, goal: Formula, known: Context, axioms: set[str]) -> None:
    match term:
        case Assume(name, body):
            pair = _pair(goal, "->")
            _check(body, pair.right, {**known, name: pair.left}, axioms)
        case Both(left, right):
            pair = _pair(goal, "&")
            _check(left, pair.left, known, axioms)
            _check(right, pair.right, known, axioms)
        case Side(of, left_side):
            pair = _pair(goal, "|")
            _check(of, pair.left if left_side else pair.right, known, axioms)
        case Cases(of, name, left, right):
            pair = _pair(_infer(of, known, axioms), "|")
            _check(left, goal, {**known, name: pair.left}, axioms)
            _check(right, goal, {**known, name: pair.right}, axioms)
        case FromFalse(of):
            _check(of, FALSE, known, axioms)
        case Obvious():
            if goal != Truth(True):
                raise KernelError("only True is obvious")
        case Have(name, formula, proof, body):
            _check(proof, formula, known, axioms)
            _check(body, goal, {**known, name: formula}, axioms)
        case Farkas():
            _farkas(term, goal, known, axioms)
        case Antisymmetry(below, above):
            if not isinstance(goal, Linear) or goal.comparison != "=":
                raise KernelError("two inequalities prove an equation only")
            _check(below, Linear("<=", goal.terms, goal.bound), known, axioms)
            _check(above, _opposite(goal), known, axioms)
        case _:
            if _infer(term, known, axioms) != goal:
                raise KernelError("a term proves another formula than it should")


def _infer(term: Term, known: Context, axioms: set[str]) -> Formula:
    match term:
        case Use(name):
            if name not in known:
                raise KernelError(f"there is no hypothesis {name}")
            return known[name]
        case Apply(implication, premise):
            pair = _pair(_infer(implication, known, axioms), "->")
            _check(premise, pair.left, known, axioms)
            return pair.right
        case Part(of, left):
            pair = _pair(_infer(of, known, axioms), "&")
            return pair.left if left else pair.right
        case Middle(formula):
            axioms.add(MIDDLE)
            return Pair("|", formula, negation(formula))
        case Have(name, formula, proof, body):
            _check(proof, formula, known, axioms)
            return _infer(body, {**known, name: formula}, axioms)
    raise KernelError(f"{type(term).__name__} does not say what it proves")


def _farkas(term: Farkas, goal: Formula, known: Context, axioms: set[str]) -> None:
    facts = [(weight, _linear(_infer(part, known, axioms))) for weight, part in term.parts]
    if goal != FALSE:
        facts.append((term.own, negated(_linear(goal))))
    left: dict[str, Fraction] = {}
    bound, strict = Fraction(0), False
    for weight, fact in facts:
        if weight < 0 and fact.comparison != "=":
            raise KernelError("an inequality may not be weighted negatively")
        for name, c in fact.terms:
            left[name] = left.get(name, Fraction(0)) + weight * c
        bound += weight * fact.bound
        strict = strict or (fact.comparison == "<" and weight > 0)
    if any(left.values()) or not (bound < 0 or (bound == 0 and strict)):
        raise KernelError("the weighted comparisons do not contradict each other")


def negated(fact: Linear) -> Linear:
    """What holds when an inequality does not. Raises KernelError for an equation."""
    if fact.comparison == "=":
        raise KernelError("the negation of an equation is no comparison")
    turned = tuple((name, -c) for name, c in fact.terms)
    return Linear("<" if fact.comparison == "<=" else "<=", turned, -fact.bound)


def _opposite(goal: Linear) -> Linear:
    return Linear("<=", tuple((name, -c) for name, c in goal.terms), -goal.bound)


def _linear(formula: Formula) -> Linear:
    if not isinstance(formula, Linear):
        raise KernelError("a weighted formula is no comparison")
    return formula


def _pair(formula: Formula, connective: str) -> Pair:
    if not isinstance(formula, Pair) or formula.connective != connective:
        raise KernelError(f"a formula without {connective} where one is needed")
    return formula

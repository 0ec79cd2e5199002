"""Formulas of the toy prover: propositions and linear comparisons of rationals; reads and prints them.

Negation and equivalence are abbreviations. A comparison is kept in one normal form, so that two ways to write it are
the same formula: variables on the left in the order of their names, whole coefficients without a common factor.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 20_000  # characters of a formula
DEEPEST = 100  # nested connectives: the functions here recurse

_TOKEN = re.compile(r"\s*(<->|->|<=|>=|[A-Za-z_][A-Za-z0-9_']*|\d+|[~&|()<>=+\-*/])")
_SYMBOLS = str.maketrans({"∧": "&", "∨": "|", "¬": "~", "→": "->", "↔": "<->", "≤": "<=", "≥": ">="})
_COMPARISONS = ("<=", ">=", "<", ">", "=")


class FormulaError(ValueError):
    """A text that is no formula; says where."""


@dataclass(frozen=True, slots=True)
class Atom:
    """A propositional variable."""

    name: str


@dataclass(frozen=True, slots=True)
class Truth:
    """True, or False."""

    value: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """Two formulas joined by ``&``, ``|`` or ``->``."""

    connective: str
    left: Formula
    right: Formula


@dataclass(frozen=True, slots=True)
class Linear:
    """The sum of ``terms`` (coefficient times variable) is ``<=``, ``<`` or ``=`` ``bound``."""

    comparison: str
    terms: tuple[tuple[str, Fraction], ...]
    bound: Fraction


Formula = Atom | Truth | Pair | Linear

FALSE = Truth(False)


def implies(left: Formula, right: Formula) -> Pair:
    """``left -> right``."""
    return Pair("->", left, right)


def negation(formula: Formula) -> Pair:
    """``formula -> False``."""
    return implies(formula, FALSE)


def linear(comparison: str, terms: dict[str, Fraction], bound: Fraction) -> Linear:
    """The comparison in normal form; ``>`` and ``>=`` are turned round."""
    sign = -1 if comparison in (">", ">=") else 1
    comparison = {">": "<", ">=": "<="}.get(comparison, comparison)
    kept = {name: sign * c for name, c in sorted(terms.items()) if c}
    bound = sign * bound
    if not kept:
        return Linear(comparison, (), bound)
    scale = Fraction(
        math.lcm(*(c.denominator for c in kept.values())), math.gcd(*(c.numerator for c in kept.values()))
    )  # whole coefficients without a common factor, because the coefficients are in lowest terms
    if comparison == "=" and next(iter(kept.values())) < 0:
        scale = -scale
    return Linear(comparison, tuple((name, c * scale) for name, c in kept.items()), bound * scale)


def parse(text: str) -> Formula:
    """The formula that the whole ``text`` is. Raises FormulaError."""
    if len(text) > LONGEST:
        raise FormulaError(f"a formula of more than {LONGEST} characters")
    parser = _Parser(_tokens(text.translate(_SYMBOLS)))
    found = parser.equivalence(0)
    if parser.at < len(parser.tokens):
        raise FormulaError(f"{parser.tokens[parser.at]!r} is not expected after {show(found)}")
    return found


def show(formula: Formula, above: int = 0) -> str:
    """The formula as text that ``parse`` reads back."""
    if isinstance(formula, Atom):
        return formula.name
    if isinstance(formula, Truth):
        return str(formula.value)
    if isinstance(formula, Linear):
        return f"{_sum(formula.terms)} {formula.comparison} {formula.bound}"
    if formula.connective == "->" and formula.right == FALSE:
        return "~" + show(formula.left, 4)
    level = {"->": 1, "|": 2, "&": 3}[formula.connective]
    text = f"{show(formula.left, level + 1)} {formula.connective} {show(formula.right, level)}"
    return f"({text})" if level < above else text


def _sum(terms: tuple[tuple[str, Fraction], ...]) -> str:
    if not terms:
        return "0"
    parts = []
    for name, c in terms:
        size = "" if abs(c) == 1 else f"{abs(c)} * "
        parts.append((" - " if c < 0 else " + ") + size + name)
    text = "".join(parts)
    return text[3:] if text.startswith(" +") else "-" + text[3:]


def _tokens(text: str) -> list[str]:
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise FormulaError(f"{text[at : at + 20].strip()!r} is no part of a formula")
        found.append(match.group(1))
        at = match.end()
    return found


class _Parser:
    """Recursive descent; ``->``, ``&`` and ``|`` associate to the right."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0

    def take(self, *wanted: str) -> str | None:
        """The next token when it is one of these."""
        if self.at < len(self.tokens) and self.tokens[self.at] in wanted:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def equivalence(self, depth: int) -> Formula:
        left = self.binary(0, depth + 1)
        if self.take("<->"):
            right = self.binary(0, depth + 1)
            return Pair("&", implies(left, right), implies(right, left))
        return left

    def binary(self, level: int, depth: int) -> Formula:
        if depth > DEEPEST:
            raise FormulaError(f"a formula nested more than {DEEPEST} deep")
        if level == 3:
            return self.unary(depth)
        left, connective = self.binary(level + 1, depth), ("->", "|", "&")[level]
        return Pair(connective, left, self.binary(level, depth + 1)) if self.take(connective) else left

    def unary(self, depth: int) -> Formula:
        if depth > DEEPEST:
            raise FormulaError(f"a formula nested more than {DEEPEST} deep")
        if self.take("~"):
            return negation(self.unary(depth + 1))
        if self.take("("):
            inner = self.equivalence(depth + 1)
            if not self.take(")"):
                raise FormulaError(f"a bracket after {show(inner)} is not closed")
            return inner
        if word := self.take("True", "False"):
            return Truth(word == "True")
        return self.comparison()

    def comparison(self) -> Formula:
        start = self.at
        terms, constant = self.sum()
        comparison = self.take(*_COMPARISONS)
        if comparison is None:
            if self.at == start + 1 and not self.tokens[start].isdigit():
                return Atom(self.tokens[start])
            raise FormulaError("a sum without a comparison")
        right, bound = self.sum()
        for name, c in right.items():
            terms[name] = terms.get(name, Fraction(0)) - c
        return linear(comparison, terms, bound - constant)

    def sum(self) -> tuple[dict[str, Fraction], Fraction]:
        terms: dict[str, Fraction] = {}
        constant = Fraction(0)
        sign = -1 if self.take("-") else 1
        while True:
            c, name = self.term()
            if name is None:
                constant += sign * c
            else:
                terms[name] = terms.get(name, Fraction(0)) + sign * c
            operator = self.take("+", "-")
            if operator is None:
                return terms, constant
            sign = -1 if operator == "-" else 1

    def term(self) -> tuple[Fraction, str | None]:
        token = self.next("a formula")
        if not token.isdigit():
            return Fraction(1), self.name(token)
        number = Fraction(int(token))
        if self.take("/"):
            below = self.next("a denominator")
            if not below.isdigit() or int(below) == 0:
                raise FormulaError(f"{below!r} is no denominator")
            number /= int(below)
        return number, self.name(self.next("a variable")) if self.take("*") else None

    def next(self, what: str) -> str:
        if self.at >= len(self.tokens):
            raise FormulaError(f"the text ends where {what} is expected")
        self.at += 1
        return self.tokens[self.at - 1]

    def name(self, token: str) -> str:
        if not (token[0].isalpha() or token[0] == "_") or token in ("True", "False"):
            raise FormulaError(f"{token!r} is not expected here")
        return token

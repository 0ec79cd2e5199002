"""The kinds of final answers: plain values that say what an answer is, not whether it is right."""

from __future__ import annotations

from dataclasses import dataclass

from llemma.grade.node import INF, Node, tree


@dataclass(frozen=True, slots=True)
class Value:
    """A number or expression; ``mark`` is percent, degree, money or empty; ``unit`` what was written behind it."""

    node: Node
    unit: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Several answers in brackets: a tuple, interval, list or set; ``left`` is empty for a bare list."""

    left: str
    right: str
    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """Sets joined by ``cup``, ``cap`` or ``minus``."""

    op: str
    parts: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of expressions."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """``sides[0] ops[0] sides[1] …``: an equation, inequality or chain."""

    ops: tuple[str, ...]
    sides: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Relations joined by ``and`` or ``or``, or only listed: then all hold, or any when not all can."""

    op: str
    parts: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """``x = 5``, ``f(x) = …``, ``|AB| = 1``, ``x \\in S``: a value with what it is the value of."""

    name: str
    value: Answer
    equation: Relation | None = None


@dataclass(frozen=True, slots=True)
class Congruence:
    """``3 \\pmod{7}``: all numbers with the remainder of ``residue``."""

    residue: Node
    modulus: Node


@dataclass(frozen=True, slots=True)
class Piecewise:
    """Values with the conditions under which they count; ``None``: in all other cases."""

    parts: tuple[tuple[Answer, Answer | None], ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """``2:3:4``, or a time of day when ``clock``; ``half``: a or p, of its day."""

    parts: tuple[Node, ...]
    clock: bool = False
    half: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The letter of an option; ``rest`` is what is written behind it."""

    letter: str
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Text that is no mathematics, without case, blanks, articles and LaTeX commands. ``prose``: too long to judge."""

    text: str
    prose: bool = False


Answer = (
    Value | Group | Joined | Matrix | Relation | Conditions | Named | Congruence | Piecewise | Ratio | Choice | Words
)

REALS = Group("(", ")", (Value(tree("neg", (INF,))), Value(INF)))
EMPTY = Group("{", "}", ())

"""Sets of real numbers in normal form: disjoint intervals in ascending order, however they were written.

``(-∞, 2) ∪ (2, ∞)``, ``x ≠ 2`` and ``x < 2 or x > 2`` have the same form. Only constants can be ordered: a set with a
variable in an end has no form here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cmp_to_key, reduce

from llemma.grade.kinds import Answer, Conditions, Group, Joined, Named, Relation, Value
from llemma.grade.node import INF, ZERO, Node, tree, variables
from llemma.grade.value import real_order, solve_linear

MAX_PIECES = 200
_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}
_NEGATIVE_INF = tree("neg", (INF,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """From ``low`` to ``high``; a point when they are equal and closed."""

    low: Node
    high: Node
    low_closed: bool
    high_closed: bool


class _NoForm(Exception):
    """The answer is no set of reals that can be ordered."""


def real_set(answer: Answer) -> tuple[Interval, ...] | None:
    """The normal form of a set of reals, or ``None``. A pair in round brackets reads as an open interval."""
    try:
        return tuple(_pieces(answer))
    except _NoForm:
        return None


def variable(answer: Answer) -> str | None:
    """The one variable that the conditions are about, or ``None``."""
    relations = answer.parts if isinstance(answer, Conditions) else (answer,) if isinstance(answer, Relation) else ()
    names = {name for relation in relations for side in relation.sides for name in variables(side)}
    return names.pop() if len(names) == 1 else None


def _pieces(answer: Answer) -> list[Interval]:
    if isinstance(answer, Named):
        return _pieces(answer.value)
    if isinstance(answer, Group):
        return _group(answer)
    if isinstance(answer, Joined):
        parts = [_pieces(part) for part in answer.parts]
        found = parts[0]
        for part in parts[1:]:
            found = (
                _union(found, part)
                if answer.op == "cup"
                else _intersection(found, _complement(part) if answer.op == "minus" else part)
            )
        return found
    if isinstance(answer, Relation):
        return _relation(answer)
    if isinstance(answer, Conditions):
        if variable(answer) is None:
            raise _NoForm
        parts = [_relation(part) for part in answer.parts]
        found = reduce(_union if answer.op == "or" else _intersection, parts)
        return found or (reduce(_union, parts) if answer.op == "list" else found)  # x < 1, x > 3
    raise _NoForm


def _group(group: Group) -> list[Interval]:
    nodes = [item.node for item in group.items if isinstance(item, Value)]
    if len(nodes) != len(group.items) or group.left == "":
        raise _NoForm
    if group.left == "{":
        found: list[Interval] = []
        if len(nodes) > MAX_PIECES:
            raise _NoForm
        for node in nodes:
            found = _union(found, [_point(node)])
        return found
    if len(nodes) != 2:
        raise _NoForm
    piece = Interval(low=nodes[0], high=nodes[1], low_closed=group.left == "[", high_closed=group.right == "]")
    order = _order(piece.low, piece.high)
    if order > 0 or (order == 0 and not (piece.low_closed and piece.high_closed)):
        raise _NoForm  # (3, 2) is a point of the plane
    return [piece]


def _point(node: Node) -> Interval:
    _order(node, node)
    if real_order(node, INF) is None:
        raise _NoForm
    return Interval(low=node, high=node, low_closed=True, high_closed=True)


def _relation(relation: Relation) -> list[Interval]:
    """The solutions of a chain of linear inequalities in one unknown; in ``0 < f(x) < 1`` the unknown is f(x)."""
    found = [_ALL]
    for op, left, right in zip(relation.ops, relation.sides, relation.sides[1:], strict=False):
        found = _intersection(found, _solved(op, left, right))
    return found


_ALL = Interval(low=_NEGATIVE_INF, high=INF, low_closed=False, high_closed=False)


def _solved(op: str, left: Node, right: Node) -> list[Interval]:
    for unknown, bound, direction in ((left, right, op), (right, left, _FLIP.get(op, ""))):
        if unknown.op in ("sym", "call") and variables(unknown) and not variables(bound):
            return _half_line(direction, bound)
        if unknown.op == "fn" and unknown.name == "abs" and variables(unknown) and not variables(bound):
            return _distance(direction, unknown.args[0], bound)
    names = variables(left) | variables(right)
    if len(names) != 1 or op not in _FLIP:
        raise _NoForm
    solved = solve_linear(tree("add", (left, tree("neg", (right,)))), next(iter(names)))
    if solved is None:
        raise _NoForm
    root, slope = solved
    return _half_line(op if slope > 0 else _FLIP[op], root)


def _distance(op: str, inner: Node, bound: Node) -> list[Interval]:
    """The solutions of ``|inner| op bound``."""
    within = op in ("<", "<=", "=")
    sides = _solved(op, inner, bound), _solved(_FLIP.get(op, ""), inner, tree("neg", (bound,)))
    if op == "=" and _order(bound, ZERO) >= 0:
        return _union(*sides)
    return _intersection(*sides) if within or op == "!=" else _union(*sides)


def _half_line(op: str, bound: Node) -> list[Interval]:
    point = _point(bound) if op == "=" else None
    if point:
        return [point]
    below = Interval(low=_NEGATIVE_INF, high=bound, low_closed=False, high_closed=op == "<=")
    above = Interval(low=bound, high=INF, low_closed=op == ">=", high_closed=False)
    _order(bound, bound)
    if op == "!=":
        return [below, above]
    if op not in ("<", "<=", ">", ">="):
        raise _NoForm
    return [below] if op in ("<", "<=") else [above]


def _order(a: Node, b: Node) -> int:
    if variables(a) or variables(b):
        raise _NoForm
    order = real_order(a, b)
    if order is None:
        raise _NoForm
    return order


def _union(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    if len(one) + len(other) > MAX_PIECES:
        raise _NoForm
    found: list[Interval] = []
    for piece in sorted([*one, *other], key=cmp_to_key(_by_low)):
        if found and _touch(found[-1], piece):
            last = found[-1]
            order = _order(last.high, piece.high)
            if order < 0:
                found[-1] = replace(last, high=piece.high, high_closed=piece.high_closed)
            elif order == 0:
                found[-1] = replace(last, high_closed=last.high_closed or piece.high_closed)
        else:
            found.append(piece)
    return found


def _by_low(a: Interval, b: Interval) -> int:
    return _order(a.low, b.low) or (b.low_closed - a.low_closed)


def _touch(first: Interval, second: Interval) -> bool:
    order = _order(second.low, first.high)
    return order < 0 or (order == 0 and (second.low_closed or first.high_closed))


def _intersection(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    if len(one) * len(other) > MAX_PIECES:
        raise _NoForm
    found = []
    for a in one:
        for b in other:
            low_order, high_order = _order(a.low, b.low), _order(a.high, b.high)
            low, low_closed = (b.low, b.low_closed) if low_order < 0 else (a.low, a.low_closed)
            high, high_closed = (a.high, a.high_closed) if high_order < 0 else (b.high, b.high_closed)
            if low_order == 0:
                low_closed = a.low_closed and b.low_closed
            if high_order == 0:
                high_closed = a.high_closed and b.high_closed
            order = _order(low, high)
            if order < 0 or (order == 0 and low_closed and high_closed):
                found.append(Interval(low=low, high=high, low_closed=low_closed, high_closed=high_closed))
    return found


def _complement(pieces: Sequence[Interval]) -> list[Interval]:
    found = [_ALL]
    for piece in pieces:
        below = Interval(low=_NEGATIVE_INF, high=piece.low, low_closed=False, high_closed=not piece.low_closed)
        above = Interval(low=piece.high, high=INF, low_closed=not piece.high_closed, high_closed=False)
        outside = [p for p, end in ((below, piece.low), (above, piece.high)) if end not in (_NEGATIVE_INF, INF)]
        found = _intersection(found, outside) if outside else []
    return found


def same_sets(one: Sequence[Interval], other: Sequence[Interval]) -> bool:
    """Whether two normal forms are the same set."""
    return len(one) == len(other) and all(
        a.low_closed == b.low_closed and a.high_closed == b.high_closed
        and real_order(a.low, b.low) == 0 and real_order(a.high, b.high) == 0
        for a, b in zip(one, other, strict=True)
    )  # fmt: skip

"""Whether two typed answers are the same; ``None`` where it is not decided within the limits.

Every kind of answer has its rule; ``llemma.grade.value`` says when two expressions are equal. Where a text can be read
in two ways, both readings count: ``(1, 2)`` is a point and an interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llemma.grade.answer import read
from llemma.grade.keys import key, plain_group, stated
from llemma.grade.kinds import (
    EMPTY,
    Answer,
    Choice,
    Conditions,
    Congruence,
    Group,
    Joined,
    Matrix,
    Named,
    Piecewise,
    Ratio,
    Relation,
    Value,
    Words,
)
from llemma.grade.names import alike
from llemma.grade.node import PI, ZERO, Node, has, number, tree
from llemma.grade.sets import real_set, same_sets, variable
from llemma.grade.units import disagree, letters, quantity
from llemma.grade.value import equal, proportional, zero
from llemma.grade.vocabulary import NOTHING

Same = bool | None
_LOOSE = ("", "{")  # brackets of what has no order
_FLIP = {">": "<", ">=": "<="}


def same_answer(a: Answer, b: Answer) -> Same:
    """Whether two answers are the same; ``None``: not decided within the limits. Symmetric."""
    if a == b:
        return True
    a, b = stated(a), stated(b)
    if isinstance(a, Named) or isinstance(b, Named):
        return _named(a, b)
    assigned = _assignments(a), _assignments(b)
    if assigned[0] and assigned[0].keys() == assigned[1].keys():  # y = 3, x = 2
        return _ordered(*([by_name[name] for name in assigned[0]] for by_name in assigned))
    a, b = plain_group(a), plain_group(b)
    if type(a) is type(b):
        return _SAME_KIND[type(a)](a, b)
    for one, other in ((a, b), (b, a)):
        rule = _MIXED.get((type(one), type(other)))
        if rule is not None:
            return rule(one, other)
        if isinstance(one, Choice):
            return _choice(one, other)
    return _real_sets(a, b)


def _real_sets(a: Answer, b: Answer) -> Same:
    """Two descriptions of a set of reals; conditions must be about the same variable."""
    kinds = (Group, Joined, Relation, Conditions)
    if not (isinstance(a, kinds) and isinstance(b, kinds)):
        return False
    if isinstance(a, (Relation, Conditions)) and isinstance(b, (Relation, Conditions)) and variable(a) != variable(b):
        return False
    first, second = real_set(a), real_set(b)
    if first is not None and second is not None:
        return same_sets(first, second)
    if isinstance(a, Joined) and isinstance(b, Joined) and a.op == b.op:
        return _unordered(a.parts, b.parts) if a.op != "minus" else _ordered(a.parts, b.parts)
    if isinstance(a, Conditions) and isinstance(b, Conditions) and (a.op == b.op or "list" in (a.op, b.op)):
        return _unordered(a.parts, b.parts)
    return False


def _named(a: Answer, b: Answer) -> Same:
    if not (isinstance(a, Named) and isinstance(b, Named)):
        named, other = (a, b) if isinstance(a, Named) else (b, a)
        assert isinstance(named, Named)
        if isinstance(other, Relation) and named.equation is not None:
            return _relations(named.equation, other)
        return same_answer(named.value, other)
    if alike(a.name, b.name):
        found = same_answer(a.value, b.value)
        if found:
            return found
    if a.equation is not None and b.equation is not None:
        return _relations(a.equation, b.equation)
    return False


def _choice(one: Choice, other: Answer) -> Same:
    if isinstance(other, Value) and other.node.op in ("sym", "const"):
        return other.node.name.casefold() == one.letter.casefold()
    rest = read(one.rest) if one.rest else None  # (B) 12
    return rest is not None and not isinstance(rest, Choice) and same_answer(rest, other)


def _words(a: Words, b: Words) -> bool:
    return a.text == b.text or a.text.rstrip("s") == b.text.rstrip("s") or {a.text, b.text} <= NOTHING


def _congruences(a: Congruence, b: Congruence) -> Same:
    rests = [tree("mod", (side.residue, side.modulus)) for side in (a, b)]
    return _all([equal(a.modulus, b.modulus), equal(*rests)])


def _pieces(a: Piecewise, b: Piecewise) -> Same:
    """The same values under the same conditions, in any order."""
    pairs = [[Group("(", ")", (value, when or Words("otherwise"))) for value, when in side.parts] for side in (a, b)]
    return _unordered(*pairs)


def _values(a: Value, b: Value) -> Same:
    if has(a.node, "based") or has(b.node, "based"):
        return _based(a.node) == _based(b.node)
    if disagree(quantity(a.unit, a.mark), quantity(b.unit, b.mark)):
        return False
    same = equal(a.node, b.node)
    if same is not False:
        return same
    for one, other in ((a, b), (b, a)):
        if one.mark == "percent" and other.mark != "percent":
            return equal(tree("div", (one.node, number(100))), other.node)
        if one.mark == "degree" and other.mark != "degree":
            return equal(tree("div", (tree("mul", (one.node, PI)), number(180))), other.node)
        found = letters(other.node) if not other.unit else None
        if found and (quantity(one.unit, one.mark) == found[1] if one.unit else found[2]):  # 5m may be 5 times m
            return equal(one.node, found[0])
    return False


def _based(node: Node) -> object:
    """What a numeral with a base is compared by; base ten is the base of plain numerals."""
    if node.op == "neg":
        return "-", _based(node.args[0])
    if node.op != "based":
        return node.value if node.op == "num" else node
    return node.value if node.name.endswith("_10") else node.name


def _groups(a: Group, b: Group) -> Same:
    a, b = (_as_list(side) if other.left in _LOOSE else side for side, other in ((a, b), (b, a)))
    if a.left in _LOOSE and b.left in _LOOSE:
        if a.left == b.left == "{":
            return _unordered(*(list({key(item): item for item in side.items}.values()) for side in (a, b)))
        return _unordered(a.items, b.items)
    if "{" in (a.left, b.left):
        return _real_sets(a, b) if _is_interval(a) or _is_interval(b) else False
    if (a.left, a.right) != (b.left, b.right) and "" not in (a.left, b.left) and len(a.items) == 2:
        return False
    return _ordered(a.items, b.items)


def _as_list(group: Group) -> Group:
    """``[3, 1, 2]``, as programs print a list, without its brackets; not what is an interval."""
    if (group.left, group.right) != ("[", "]") or (len(group.items) == 2 and real_set(group) is not None):
        return group
    return Group("", "", group.items)


def _is_interval(group: Group) -> bool:
    return (group.left, group.right) in (("[", "]"), ("[", ")"), ("(", "]"), ("(", ")")) and len(group.items) == 2


def _assignments(answer: Answer) -> dict[str, Answer]:
    """Name → value of a list of assignments to distinct names; empty for anything else."""
    items = answer.items if isinstance(answer, Group) else ()
    found = {item.name: item.value for item in items if isinstance(item, Named)}
    return found if len(found) == len(items) else {}


def _ordered(a: Sequence[Answer], b: Sequence[Answer]) -> Same:
    if len(a) != len(b):
        return False
    undecided = False
    for one, other in zip(a, b, strict=True):
        same = same_answer(one, other)
        if same is False:
            return False
        undecided |= same is None
    return None if undecided else True


def _unordered(a: Sequence[Answer], b: Sequence[Answer]) -> Same:
    """Whether one is a rearrangement of the other. Equality is transitive enough for a greedy matching.

    A root may be double, so repeated values count; a tuple that is listed twice is the same solution.
    """
    a, b = _distinct_tuples(a), _distinct_tuples(b)
    if len(a) != len(b) or len(a) > 200:
        return False if len(a) != len(b) else _ordered(a, b)
    left = list(b)
    undecided = False
    for one in a:
        for i, other in enumerate(left):
            same = same_answer(one, other)
            if same:
                del left[i]
                break
            undecided |= same is None
        else:
            return None if undecided else False
    return True


def _distinct_tuples(items: Sequence[Answer]) -> Sequence[Answer]:
    if not all(isinstance(item, Group) and item.left for item in items):
        return items
    return list({key(item): item for item in items}.values())


def _matrices(a: Matrix, b: Matrix) -> Same:
    if len(a.rows) != len(b.rows) or len(a.rows[0]) != len(b.rows[0]):
        return False
    pairs = [(x, y) for row, other in zip(a.rows, b.rows, strict=True) for x, y in zip(row, other, strict=True)]
    return _all([equal(x, y) for x, y in pairs])


def _matrix_of_lists(matrix: Matrix, group: Group) -> Same:
    """A matrix and ``[[1, 2], [3, 4]]``, as programs print it."""
    rows = [item.items for item in group.items if isinstance(item, Group) and item.left == "["]
    if group.left != "[" or len(rows) != len(group.items):
        return False
    cells = [tuple(cell.node for cell in row if isinstance(cell, Value)) for row in rows]
    if [len(row) for row in cells] != [len(row) for row in rows] or len({len(row) for row in cells}) != 1:
        return False
    return _matrices(matrix, Matrix(tuple(cells)))


def _all(found: Sequence[Same]) -> Same:
    return False if False in found else None if None in found else True


def _ratios(a: Ratio, b: Ratio) -> Same:
    if len(a.parts) != len(b.parts):
        return False
    if a.clock and b.clock:
        if a.half and b.half and a.half != b.half:
            return False
        found = [equal(x, y) for x, y in zip(a.parts, b.parts, strict=True)]
    else:
        found = [
            equal(tree("mul", (x, b.parts[0])), tree("mul", (y, a.parts[0])))
            for x, y in zip(a.parts[1:], b.parts[1:], strict=True)
        ]
    return _all(found)


def _ratio_value(ratio: Ratio, value: Value) -> Same:
    if ratio.half:  # 9 a.m.
        return _all([equal(ratio.parts[0], value.node), ratio.parts[1] == ZERO])
    return len(ratio.parts) == 2 and not ratio.clock and equal(tree("div", ratio.parts), value.node)


def _only_item(group: Group, value: Value) -> Same:
    if group.left == "":  # 1/2 or 0.5
        return _all([same_answer(item, value) for item in group.items])
    return len(group.items) == 1 and group.left in ("{", "[") and same_answer(group.items[0], value)


def _relations(a: Relation, b: Relation) -> Same:
    """Equations up to a constant factor; inequalities up to a positive one, or as sets of numbers."""
    a, b = _upwards(a), _upwards(b)
    if len(a.ops) == len(b.ops) == 1:
        (f, op), (g, other) = _one_sided(a), _one_sided(b)
        if op == other:
            if zero(f) and zero(g):  # identities: 0 = 0
                return True
            same, sign = proportional(f, g)
            if same and (op in ("=", "!=") or sign > 0):
                return True
            if op in ("=",) and same is False:
                return False
    elif a.ops == b.ops and all(equal(x, y) for x, y in zip(a.sides, b.sides, strict=True)):
        return True
    if set(a.ops) <= {"="} and set(b.ops) <= {"="}:
        return False
    if variable(a) is None or variable(a) != variable(b):
        return False
    first, second = real_set(a), real_set(b)
    return first is not None and second is not None and same_sets(first, second)


def _upwards(relation: Relation) -> Relation:
    """``c > b > a`` as ``a < b < c``."""
    if len(relation.ops) > 1 and set(relation.ops) <= {">", ">="}:
        return Relation(tuple(_FLIP[op] for op in reversed(relation.ops)), relation.sides[::-1])
    return relation


def _one_sided(relation: Relation) -> tuple[Node, str]:
    """``left - right op 0`` with op one of =, !=, <, <=."""
    left, right = relation.sides
    op = relation.ops[0]
    if op in _FLIP:
        left, right, op = right, left, _FLIP[op]
    return tree("add", (left, tree("neg", (right,)))), op


_SAME_KIND: dict[type, Callable[[Any, Any], Same]] = {
    Value: _values,
    Group: _groups,
    Joined: _real_sets,
    Matrix: _matrices,
    Relation: _relations,
    Conditions: _real_sets,
    Congruence: _congruences,
    Piecewise: _pieces,
    Ratio: _ratios,
    Choice: lambda a, b: a.letter.casefold() == b.letter.casefold(),
    Words: _words,
}
_MIXED: dict[tuple[type, type], Callable[[Any, Any], Same]] = {
    (Ratio, Value): _ratio_value,
    (Group, Value): _only_item,
    (Words, Group): lambda words, group: words.text in NOTHING and group == EMPTY,
    (Matrix, Group): _matrix_of_lists,
    (Congruence, Value): lambda congruence, value: equal(congruence.residue, value.node),
}

"""Names of classes of answers: equal names, equal answers; the votes of one class are counted together."""

from __future__ import annotations

import re
from itertools import pairwise

from llemma.grade.kinds import (
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
from llemma.grade.names import is_plain
from llemma.grade.node import Node, has, structure, tree, variables
from llemma.grade.sets import real_set
from llemma.grade.units import suffix
from llemma.grade.value import equal, fingerprint, near


def key(answer: Answer) -> str:
    """The name of an answer's class, see ``vote_class``."""
    answer = plain_group(stated(answer))
    if isinstance(answer, Named):
        return key(answer.value) if is_plain(answer.name) else f"{answer.name} = {key(answer.value)}"
    if isinstance(answer, Value):
        return _value_name(answer.node) + suffix(answer.unit, answer.mark)
    if isinstance(answer, Group):
        return _group_key(answer)
    if isinstance(answer, Matrix):
        return "matrix[" + "; ".join(", ".join(fingerprint(cell) for cell in row) for row in answer.rows) + "]"
    if isinstance(answer, Ratio):
        return ":".join(fingerprint(part) for part in answer.parts) + (f" {answer.half}m" if answer.half else "")
    if isinstance(answer, Congruence):
        return f"{fingerprint(tree('mod', (answer.residue, answer.modulus)))} mod {fingerprint(answer.modulus)}"
    if isinstance(answer, Piecewise):
        return "; ".join(sorted(f"{key(value)} if {key(when) if when else 'else'}" for value, when in answer.parts))
    if isinstance(answer, Choice):
        return f"({answer.letter.upper()})"
    if isinstance(answer, Words):
        return f"'{answer.text}'"  # no number is called so
    return _set_key(answer) or _form(answer)


def _value_name(node: Node) -> str:
    if node.op == "based":
        return node.name
    return structure(node) if has(node, "based") else fingerprint(node)


def _group_key(group: Group) -> str:
    nested = [isinstance(item, Group) and item.left == "{" for item in group.items]
    keys = [f"{{{key(item)}}}" if inner else key(item) for item, inner in zip(group.items, nested, strict=True)]
    if group.left in ("", "{"):
        listed = ", ".join(sorted(keys))
        return listed or "∅"
    return f"{group.left}{', '.join(keys)}{group.right}"


def _set_key(answer: Answer) -> str:
    if isinstance(answer, Relation) and set(answer.ops) == {"="}:
        return ""  # 2x = 4 has the solution 2 but does not state it
    pieces = real_set(answer)
    if pieces is None:
        return ""
    if not pieces:
        return "∅"
    if pieces and all(p.low == p.high for p in pieces):
        listed = ", ".join(sorted(fingerprint(p.low) for p in pieces))
        return listed if len(pieces) > 1 else f"{{{listed}}}"
    return " ∪ ".join(
        f"{'[' if p.low_closed else '('}{fingerprint(p.low)}, {fingerprint(p.high)}{']' if p.high_closed else ')'}"
        for p in pieces
    )


def _form(answer: Answer) -> str:
    if isinstance(answer, Relation):
        return "".join(
            f"{fingerprint(side)} {op} " for side, op in zip(answer.sides, (*answer.ops, ""), strict=True)
        ).strip()
    if isinstance(answer, (Joined, Conditions)):
        return f"{answer.op}({'; '.join(sorted(key(part) for part in answer.parts))})"
    return ""


def plain_group(answer: Answer) -> Answer:
    """A list of assignments as the values it assigns: ``x=1, y=2`` as (1, 2), ``x=1, x=2`` as 1, 2."""
    if not isinstance(answer, Group) or not answer.items:
        return answer
    named = [item for item in answer.items if isinstance(item, Named)]
    if len(named) != len(answer.items):
        return answer
    names = list(dict.fromkeys(item.name for item in named))
    values = [item.value for item in named]
    if len(names) == 1 or (len(names) == len(named) and len({re.sub(r"_?\d+$", "", name) for name in names}) == 1):
        return Group("", "", tuple(values))  # x = 1, x = 2 and x_1 = 1, x_2 = 2 are roots in no order
    if len(names) == len(named):
        return Group("(", ")", tuple(values))
    size = len(names)
    if [item.name for item in named] != names * (len(named) // size):
        return answer
    return Group("", "", tuple(Group("(", ")", tuple(values[i : i + size])) for i in range(0, len(values), size)))


def stated(answer: Answer) -> Answer:
    """A computation (``2 + 3 = 5``) as its result; a name with a false one (``x = 5 = 6``) as no value of the name.

    ``5 = 5`` states nothing. A last number within a hundredth may be the model's own rounding.
    """
    if isinstance(answer, Relation) and set(answer.ops) == {"="} and not any(map(variables, answer.sides)):
        new = structure(answer.sides[0]) != structure(answer.sides[-1])
        return Value(answer.sides[-1]) if new and all(equal(x, y) for x, y in pairwise(answer.sides)) else answer
    if isinstance(answer, Named) and answer.equation is not None and len(answer.equation.ops) > 1:
        sides = answer.equation.sides[1:]
        if not any(map(variables, sides)) and not all(near(x, y) for x, y in pairwise(sides)):
            return answer.equation
    return answer

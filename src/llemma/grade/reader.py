"""Reads the tokens of one final answer as the one kind of answer they can be.

Lists, sets, intervals, matrices and relations are told apart by the brackets and signs at the outermost level; what is
inside is read in the same way, and single values by ``llemma.grade.expr``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llemma.grade.brackets import encloses, environment, levels, outer_kinds, split, trim
from llemma.grade.expr import Parser
from llemma.grade.kinds import (
    EMPTY,
    REALS,
    Answer,
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
)
from llemma.grade.latex import END, Refused, Token
from llemma.grade.names import is_name, spelling
from llemma.grade.node import Node, has, number, tree, with_sign
from llemma.grade.units import unit_behind

MAX_ITEMS = 1_000  # of a list or matrix
MAX_NESTING = 12
MAX_DETERMINANT = 4  # rows
_OPENERS = {"(": "(", "[": "[", r"\{": "{", r"\lbrace": "{", r"\langle": "(", r"\lparen": "(", r"\lbrack": "["}
_CLOSERS = {")": ")", "]": "]", r"\}": "}", r"\rbrace": "}", r"\rangle": ")", r"\rparen": ")", r"\rbrack": "]"}


class Reader:
    """Reads a token list as one answer; ``left`` is how many levels of brackets may still be opened."""

    def __init__(self, left: int) -> None:
        if left < 0:
            raise Refused(f"more than {MAX_NESTING} nested brackets")
        self.left = left

    def inner(self, found: Sequence[Token]) -> Answer:
        return Reader(self.left - 1).read(found)

    def read(self, found: Sequence[Token]) -> Answer:
        """Raises Refused when the tokens are no answer."""
        found = trim(found)
        if found and found[0].kind == "rel" and found[0].text in ("implies", "to", "iff"):  # ⇒ x = 5
            found = trim(found[1:])
        if not found:
            raise Refused("nothing there")
        if found[0].kind in ("sym", "word") and len(found) > 3 and found[1].text == "(" and encloses(found[1:]):
            if found[0].text == "Matrix":  # Matrix([[1, 2], [3, 4]])
                return self.inner(found[1:])
            if found[0].text.isupper() and "sep" in outer_kinds(found[2:-1]):  # the point A(1, 2)
                return Named(found[0].text, self.inner(found[1:]))
        kinds = _with_set_signs(found, outer_kinds(found))
        if "row" in kinds and "begin" not in kinds:
            return self.read([Token("sep", ";") if kind == "row" else t for t, kind in zip(found, kinds, strict=True)])
        if "sep" in kinds or "join" in kinds:
            return self._list(found, kinds)
        for kind in ("cup", "setminus", "cap"):
            if kind in kinds and "rel" not in kinds and "in" not in kinds:
                op = "minus" if kind == "setminus" else kind
                parts = tuple(self.inner(part) for part in split(found, kinds, {kind}))
                return Joined(op, parts)
        if "in" in kinds:
            at = kinds.index("in")
            return Named(spelling(found[:at]), self.inner(found[at + 1 :]))
        if found[-1].kind == "close" and "open" in kinds[1:-1] and len(found) > 3:
            start = max(i for i, kind in enumerate(kinds) if kind == "open")
            inside = outer_kinds(found[start + 1 : -1])
            if "in" in inside:  # 2kπ (k ∈ ℤ)
                return self.read(found[:start])
            if inside[:1] == ["begin"]:  # ½ [matrix]
                return self.read([*found[:start], *found[start + 1 : -1]])
        if "rel" in kinds:
            return self._relation(found, kinds)
        if "colon" in kinds:
            return self._ratio(found, kinds)
        if "begin" in kinds:
            return self._environment(found, kinds)
        if "pmod" in kinds:
            return _congruence(found, kinds)
        if found[0].kind == "open" and encloses(found):
            return self._group(found)
        if len(found) == 1 and found[0].kind == "empty":
            return EMPTY
        if found[0].text == r"\mathbb" and spelling(found) in (r"\mathbbR", r"\mathbb{R}"):
            return REALS
        return self._value(found)

    # --- lists ----------------------------------------------------------------------------------------------------

    def _list(self, found: Sequence[Token], kinds: Sequence[str]) -> Answer:
        parts = split(found, kinds, {"sep", "join"})
        joins = [t.text for t, kind in zip(found, kinds, strict=True) if kind == "join"]
        # "19, 46, and 82" leaves nothing between the comma and the word
        kept = [part for part in parts if trim(part)]
        if len(parts) - len(kept) > len(joins) or not kept or len(kept) > MAX_ITEMS:
            raise Refused("an empty place in a list")
        items = [self.inner(part) for part in kept]
        if len(items) == 1:
            raise Refused("a list of one")
        return _listed(items, joins, found)

    def _group(self, found: Sequence[Token]) -> Answer:
        left, right = _OPENERS[found[0].text], _CLOSERS.get(found[-1].text, "")
        if not right or (left == "{") != (right == "}"):
            raise Refused("brackets that do not match")
        inside = trim(found[1:-1])
        kinds = outer_kinds(inside)
        if not inside:
            if left != "{":
                raise Refused("empty brackets")
            return EMPTY
        if left == "{":
            bars = [
                i
                for i, (t, kind) in enumerate(zip(inside, kinds, strict=True))
                if kind in ("bar", "colon") or t == Token("rel", "mid", t.spaced)
            ]
            if bars and "rel" in kinds[bars[0] + 1 :]:  # {x | x > 2}
                return self.inner(inside[bars[0] + 1 :])
        if "sep" not in kinds and "join" not in kinds:
            item = self.inner(inside)
            if (left == "(" and right == ")") or isinstance(item, Matrix):
                return item
            if left != "[" and isinstance(item, Group) and item.left == "":
                return Group(left, right, item.items)
            return Group(left, right, (item,))
        parts = [part for part in split(inside, kinds, {"sep", "join"}) if trim(part)]
        if len(parts) < 1 or len(parts) > MAX_ITEMS or (len(parts) < 2 and left == "("):
            raise Refused("an empty place in brackets")
        items: list[Answer] = []
        for part in parts:
            item = self.inner(part)
            spread = isinstance(item, Group) and item.left == "" and left == "{"  # {1 ± √5, -2}
            items += item.items if spread and isinstance(item, Group) else [item]
        return Group(left, right, tuple(items))

    # --- relations, ratios, matrices --------------------------------------------------------------------------------

    def _relation(self, found: Sequence[Token], kinds: Sequence[str]) -> Answer:
        ops = tuple(t.text for t, kind in zip(found, kinds, strict=True) if kind == "rel")
        parts = [trim(part) for part in split(found, kinds, {"rel"})]
        if ops == ("equiv",) and all(parts) and is_name(parts[0]):
            return Named(spelling(parts[0]), _congruence(parts[1], outer_kinds(parts[1])))
        if not set(ops) <= {"=", "<", ">", "<=", ">=", "!=", "~"} or len(ops) > 6:
            raise Refused(f"the relation {' '.join(ops)[:40]}")
        if not parts[0] and ops[0] in ("=", "~"):  # "= 5"
            return self.inner(found[1:])
        if not all(parts):
            raise Refused("a relation with an empty side")
        if "~" in ops:
            return self._approximate(parts, ops)
        if ops == ("=",) and is_name(parts[0]):
            value = self.inner(parts[1])
            sides = self._sides(parts)
            if sides and _mentions(sides[1], sides[0]):  # x = x + 1 states no value
                return Relation(ops, sides)
            return Named(spelling(parts[0]), value, Relation(ops, sides) if sides else None)
        sides = self._sides(parts)
        if sides is None:
            raise Refused("a side that is no expression")
        if set(ops) == {"="} and len(ops) > 1 and is_name(parts[0]) and not is_name(parts[1]):
            return Named(spelling(parts[0]), Value(sides[-1]), Relation(ops, sides))
        if ops == ("!=",) and has(sides[1], "pm"):  # x ≠ ±1
            both = tuple(Relation(ops, (sides[0], with_sign(sides[1], sign))) for sign in (1, -1))
            return Conditions("and", both)
        return Relation(ops, sides)

    def _approximate(self, parts: Sequence[Sequence[Token]], ops: Sequence[str]) -> Answer:
        r"""``x \approx 2.5`` states 2.5; ``1/3 \approx 0.33`` states 1/3."""
        if ops[-1] != "~":
            raise Refused("an approximation inside a chain")
        first = parts[-2]
        if is_name(first):
            return Named(spelling(first), self.inner(parts[-1]))
        exact = self.inner(first)
        return Named(spelling(parts[0]), exact) if len(parts) > 2 and is_name(parts[0]) else exact

    def _sides(self, parts: Sequence[Sequence[Token]]) -> tuple[Node, ...] | None:
        sides = []
        for part in parts:
            try:
                sides.append(_whole_expression(part))
            except Refused:
                try:
                    value = self._value(part)
                except Refused:
                    return None
                if not isinstance(value, Value):
                    return None
                sides.append(value.node)
        return tuple(sides)

    def _ratio(self, found: Sequence[Token], kinds: Sequence[str]) -> Answer:
        parts = split(found, kinds, {"colon"})
        trimmed = [trim(part) for part in parts]
        if len(trimmed) == 2 and is_name(trimmed[0]) and not is_name(trimmed[1]):  # "Area: 5"
            return Named(spelling(trimmed[0]), self.inner(trimmed[1]))
        nodes = tuple(_whole_expression(part) for part in trimmed)
        texts = [spelling(part) for part in trimmed]
        clock = (
            len(texts) in (2, 3)
            and all(re.fullmatch(r"\d\d?", t, re.ASCII) for t in texts)
            and all(len(t) == 2 for t in texts[1:])
        )
        return Ratio(nodes, clock and int(texts[0]) <= 24 and all(int(t) < 60 for t in texts[1:]))

    def _environment(self, found: Sequence[Token], kinds: Sequence[str]) -> Answer:
        """A system of relations, a function given piece by piece, a matrix, or its determinant."""
        start = kinds.index("begin")
        bars = start == 1 and found[0].kind == found[-1].kind == "bar"
        name, body = environment(found[1:-1] if bars else found, 0 if bars else start)
        name = name.rstrip("*")
        if start == 0 and name in ("align", "aligned", "gather", "gathered", "cases", "equation", "split"):
            return self._system(name, body)
        if not name.endswith("matrix") and name != "array":
            raise Refused(f"the environment {name[:20]}")
        rows = _rows(name, body)
        if bars or name in ("vmatrix", "Vmatrix"):
            return Value(_determinant(rows))
        if start > 0:  # a factor in front
            if found[start - 1].kind == "open":
                raise Refused("a bracket in front of a matrix")
            minus = [t.kind for t in found[:start]] == ["-"]
            factor = number(-1) if minus else _whole_expression(trim([t for t in found[:start] if t.kind != "*"]))
            rows = [tuple(tree("mul", (factor, cell)) for cell in row) for row in rows]
        return Matrix(tuple(rows))

    def _system(self, name: str, body: Sequence[Token]) -> Answer:
        rows = [row for row in split(body, outer_kinds(body), {"row"}) if trim(row)]
        cells = [[trim(cell) for cell in split(row, outer_kinds(row), {"&"})] for row in rows]
        if name == "cases" and all(len(row) == 2 and all(row) and row[1][0].kind != "rel" for row in cells):
            return Piecewise(tuple((self.inner(value), self._condition(when)) for value, when in cells))
        listed: list[Token] = []
        for row in rows:
            listed += [*trim([t for t in row if t.kind != "&"]), Token("sep", ";")]
        return self.inner(listed)

    def _condition(self, found: Sequence[Token]) -> Answer | None:
        while found and found[0].text.lower() in ("if", "for", "when", "where"):
            found = found[1:]
        return None if len(found) == 1 and found[0].text.lower() in ("otherwise", "else") else self.inner(found)

    # --- values -----------------------------------------------------------------------------------------------------

    def _value(self, found: Sequence[Token]) -> Answer:
        found = list(found)
        marks = {"money"} & {t.kind for t in found}
        found = [t for t in found if t.kind != "money"]
        parser = Parser(found)
        node = parser.expression()
        rest = parser.tokens[parser.at :]
        unit, mark, scale = unit_behind(rest)
        if unit and not _counts(node):
            raise Refused("words, not a quantity")
        if scale != 1:
            node = tree("mul", (node, number(scale)))
        while node.op in ("deg", "pct") or (node.op == "neg" and node.args[0].op in ("deg", "pct")):
            inner = node.args[0] if node.op != "neg" else node.args[0].args[0]
            mark = "degree" if "deg" in (node.op, node.args[0].op) else "percent"
            node = inner if node.op != "neg" else tree("neg", (inner,))
        if node.op == "mul" and node.args[0].op == "deg" and node.args[1].name in ("C", "F"):  # 20 °C
            node, unit, mark = node.args[0].args[0], node.args[1].name, "degree"
        if has(node, "pm"):
            return Group("", "", tuple(Value(with_sign(node, sign), unit, mark) for sign in (1, -1)))
        return Value(node, unit, mark or ("money" if marks else ""))


def _listed(items: Sequence[Answer], joins: Sequence[str], found: Sequence[Token]) -> Answer:
    """A bare list: of values, of assignments, of conditions; or no list at all."""
    items = _without_domains(_unequal(items))
    if len(items) == 1:
        return items[0]
    if all(isinstance(item, Relation) and item.ops != ("=",) * len(item.ops) for item in items):
        parts = tuple(item for item in items if isinstance(item, Relation))
        return Conditions("and" if "and" in joins else "or" if "or" in joins else "list", parts)
    units = {item.unit.rstrip("s") for item in items if isinstance(item, Value) and item.unit}
    if len(units) > 1:
        raise Refused("different units: one quantity, not a list")
    if joins == ["and"] and len(items) == 2 and _mixed(items[0], items[1]):
        raise Refused("a mixed number in words")
    first = items[0]
    if isinstance(first, Named) and not any(isinstance(item, Named) for item in items[1:]):
        spread = [first.value, *items[1:]]  # x = 3, 1
        return Named(first.name, Group("", "", _spread(spread)))
    return Group("", "", _spread(items))


def _unequal(items: Sequence[Answer]) -> Sequence[Answer]:
    r"""``x \ne 1, 2`` as ``x \ne 1, x \ne 2``."""
    first = items[0]
    if not isinstance(first, Relation) or first.ops != ("!=",):
        return items
    values = [item.node for item in items[1:] if isinstance(item, Value)]
    if len(values) < len(items) - 1:
        return items
    return [first, *(Relation(("!=",), (first.sides[0], node)) for node in values)]


def _without_domains(items: Sequence[Answer]) -> Sequence[Answer]:
    r"""Without what only says which numbers a name stands for: ``k \in \mathbb{Z}``."""
    kept = [item for item in items if not (isinstance(item, Named) and _is_domain(item.value))]
    return kept or items


def _is_domain(answer: Answer) -> bool:
    return answer == REALS or (isinstance(answer, Value) and answer.node.name.startswith(r"\mathbb"))


def _spread(items: Sequence[Answer]) -> tuple[Answer, ...]:
    """Items with the two values of a ± side by side."""
    found: list[Answer] = []
    for item in items:
        found += item.items if isinstance(item, Group) and item.left == "" else [item]
    return tuple(found)


def _mixed(whole: Answer, part: Answer) -> bool:
    values = [item.node.value if isinstance(item, Value) and item.node.op == "num" else None for item in (whole, part)]
    if isinstance(part, Value) and part.node.op == "div" and all(arg.op == "num" for arg in part.node.args):
        top, bottom = (arg.value for arg in part.node.args)
        values[1] = top / bottom if top is not None and bottom else None
    return (
        values[0] is not None
        and values[1] is not None
        and values[0].denominator == 1
        and values[0] > 0
        and 0 < values[1] < 1
    )


def _whole_expression(found: Sequence[Token]) -> Node:
    """The expression that all the tokens form. Raises Refused."""
    parser = Parser([t for t in found if t.kind != "money"])
    node = parser.expression()
    if parser.peek() is not END:
        raise Refused(f"{parser.peek().text!r} behind an expression")
    return node


def _counts(node: Node) -> bool:
    """Whether a number is in it: what a unit can stand behind."""
    return node.op == "num" or node.name in ("pi", "inf") or any(_counts(arg) for arg in node.args)


def _mentions(node: Node, part: Node) -> bool:
    return node == part or any(_mentions(arg, part) for arg in node.args)


def _with_set_signs(found: Sequence[Token], kinds: list[str]) -> list[str]:
    r"""The kinds with the letter of ``(1,2) U (3,4)`` as a union, the minus in front of ``\{0\}`` as one of sets."""
    for i in range(1, len(found) - 1):
        before, after = found[i - 1], found[i + 1]
        if kinds[i] == "sym" and found[i].text == "U" and before.kind == "close" and after.kind == "open":
            kinds[i] = "cup"
        elif kinds[i] == "-" and after.kind == "open" and _OPENERS[after.text] == "{":
            kinds[i] = "setminus"
    return kinds


def _congruence(found: Sequence[Token], kinds: Sequence[str]) -> Congruence:
    r"""``3 \pmod{7}``, ``3 (mod 7)``. Raises Refused."""
    sign = next((i for i, kind in enumerate(kinds) if kind in ("pmod", "mod")), 0)
    if found[-1].kind == "close":
        start = max((i for i, kind in enumerate(kinds) if kind == "open"), default=0)
        if found[start + 1].kind in ("mod", "pmod"):
            return Congruence(_whole_expression(found[:start]), _whole_expression(found[start + 2 : -1]))
    return Congruence(_whole_expression(found[:sign]), _whole_expression(trim(found[sign + 1 :])))


def _rows(name: str, body: Sequence[Token]) -> list[tuple[Node, ...]]:
    if name == "array" and body and body[0].kind == "{":  # the columns' alignment
        body = body[levels(body).index(0, 1) + 1 :]
    elif name == "array" and body and body[0].kind == "word" and set(body[0].text) <= set("lcr"):
        body = body[1:]
    rows = [
        tuple(_whole_expression(trim(cell)) for cell in split(row, outer_kinds(row), {"&"}))
        for row in split(body, outer_kinds(body), {"row"})
        if trim(row)
    ]
    if not rows or len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > MAX_ITEMS:
        raise Refused("rows of different lengths")
    return rows


def _determinant(rows: Sequence[Sequence[Node]]) -> Node:
    """Of a small square matrix, along the first row. Raises Refused for others."""
    if len(rows) != len(rows[0]) or len(rows) > MAX_DETERMINANT:
        raise Refused("a determinant of another shape")
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for i, factor in enumerate(rows[0]):
        minor = _determinant([[*row[:i], *row[i + 1 :]] for row in rows[1:]])
        term = tree("mul", (factor, minor))
        terms.append(tree("neg", (term,)) if i % 2 else term)
    return tree("add", tuple(terms))

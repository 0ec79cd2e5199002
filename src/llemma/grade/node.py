"""Expressions as trees: plain values, and what can be asked of their form without evaluating them."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Node(NamedTuple):
    """An expression. ``op`` is one of

    ``num`` (``value``), ``sym`` (``name``), ``const`` (``name``: pi, e, i, inf), ``add``, ``mul``, ``div``, ``neg``,
    ``pow``, ``root`` (degree, radicand), ``fn`` (``name``), ``log`` (base, argument), ``fact``, ``binom``, ``pm``
    (``name`` + or -: the sign it takes first), ``deg``, ``pct``, ``based`` (``value``, ``name`` as written),
    ``sum``/``prod`` (``name`` of the index; first, last, term), ``call`` (``name``), ``mod``.
    """

    op: str
    args: tuple[Node, ...] = ()
    value: Fraction | None = None
    name: str = ""
    depth: int = 0  # levels below it; bounds every recursion over the tree


def tree(op: str, args: tuple[Node, ...] = (), value: Fraction | None = None, name: str = "") -> Node:
    """A node over these arguments; always made here, so that equal trees compare equal."""
    return Node(op, args, value, name, 1 + max(arg.depth for arg in args) if args else 0)


def number(value: int | Fraction) -> Node:
    """A leaf with an exact value."""
    return Node("num", value=Fraction(value))


def has(node: Node, op: str) -> bool:
    """Whether an operation of this name occurs anywhere in the tree."""
    return node.op == op or any(has(arg, op) for arg in node.args)


def with_sign(node: Node, sign: int) -> Node:
    """The expression with every ± read as ``sign`` (and ∓ as its opposite)."""
    if node.op == "pm":
        inner = with_sign(node.args[0], sign)
        return inner if (sign > 0) == (node.name == "+") else tree("neg", (inner,))
    if not node.args:
        return node
    return tree(node.op, tuple(with_sign(arg, sign) for arg in node.args), node.value, node.name)


ZERO, ONE = number(0), number(1)
PI, EULER, IMAGINARY, INF = (Node("const", name=name) for name in ("pi", "e", "i", "inf"))


def variables(node: Node) -> frozenset[str]:
    """The free names of an expression."""
    if node.op == "sym":
        return frozenset((node.name,))
    found: set[str] = set()
    for arg in node.args:
        found |= variables(arg)
    if node.op in ("sum", "prod"):
        found.discard(node.name)
    return frozenset(found)


def with_products(node: Node, names: frozenset[str]) -> Node:
    """The expression with ``h(x)`` read as a product where h is one of the names."""
    if not node.args:
        return node
    args = tuple(with_products(arg, names) for arg in node.args)
    if node.op == "call" and node.name in names and len(args) == 1:
        return tree("mul", (Node("sym", name=node.name), args[0]))
    return tree(node.op, args, node.value, node.name)


def substitute(node: Node, name: str, value: Node) -> Node:
    """The expression with a variable replaced."""
    if node.op == "sym" and node.name == name:
        return value
    if not node.args:
        return node
    return tree(node.op, tuple(substitute(arg, name, value) for arg in node.args), node.value, node.name)


def structure(node: Node) -> str:
    """An expression written out, sums and products in a fixed order: equal texts, equal forms."""
    if node.op == "num":
        return shown(node.value) if node.value is not None else "?"
    inner = [structure(arg) for arg in node.args]
    if node.op in ("add", "mul"):
        inner.sort()
    return f"{node.op}{':' + node.name if node.name else ''}({','.join(inner)})"


def shown(value: Fraction) -> str:
    """A fraction as text; beyond the digits Python converts quickly, in hexadecimal."""
    if value.numerator.bit_length() + value.denominator.bit_length() < 13_000:
        return str(value)
    return f"{value.numerator:x}/{value.denominator:x}"

"""Reads a Python value back from its printed form: a number, a string, a container, an expression of sympy.

A program runs in a sandbox and hands over text (``repr`` or ``srepr`` of its ``answer``); this builds the value again
from a parsed tree with the constructors of sympy's own classes. No text is evaluated: strings never reach a sympy
constructor that would parse them, and what is not recognised raises ValueError. Worker process only.
"""

from __future__ import annotations

import ast
import re
from typing import Any

import sympy

Value = Any

_CONSTANTS = {"pi": sympy.pi, "E": sympy.E, "I": sympy.I, "oo": sympy.oo, "zoo": sympy.zoo, "nan": sympy.nan}
_HELPERS = {"sqrt": sympy.sqrt, "cbrt": sympy.cbrt, "root": sympy.root}
_NUMERAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def read_value(text: str) -> Value:
    """The value that prints as ``text``: None, bool, int, float, complex, str, a container, or a sympy object.

    Raises ValueError, or what sympy's constructors raise.
    """
    text = text.strip()
    if text in ("inf", "-inf", "nan"):  # as Python prints floats; sympy prints oo
        return float(text)
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a printed value: {error}") from error
    return _value(tree.body)


def _value(node: ast.expr) -> Value:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _CONSTANTS.get(node.id) or sympy.Symbol(node.id)
        case ast.UnaryOp(op=ast.USub()):
            return -_number(node.operand)
        case ast.UnaryOp(op=ast.UAdd()):
            return _number(node.operand)
        case ast.BinOp():
            return _operation(node)
        case ast.Tuple() | ast.List() | ast.Set():
            return [_value(item) for item in node.elts]  # of no container anything is asked but that it is one
        case ast.Dict():
            return {}
        case ast.Call():
            return _call(node)
    raise ValueError(f"{type(node).__name__} is not part of a printed value")


def _number(node: ast.expr) -> Value:
    value = _value(node)
    if isinstance(value, bool | str | bytes | list | dict) or value is None:
        raise ValueError(f"{type(value).__name__} in an expression")
    return value


def _operation(node: ast.BinOp) -> Value:
    left, right = _number(node.left), _number(node.right)
    if isinstance(left, int | float) and isinstance(right, complex):  # 1+2j
        return left + right if isinstance(node.op, ast.Add) else left - right
    if isinstance(left, int):
        left = sympy.Integer(left)  # 1/2 is how sympy prints a rational number
    match node.op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.Pow():
            return left**right
        case ast.Mod():
            return left % right
    raise ValueError(f"{type(node.op).__name__} in an expression")


def _call(node: ast.Call) -> Value:
    if isinstance(node.func, ast.Attribute):  # np.float64(2.5)
        if isinstance(node.func.value, ast.Name) and node.func.value.id in ("np", "numpy") and len(node.args) == 1:
            return _number(node.args[0])
        raise ValueError("a call of a member")
    if isinstance(node.func, ast.Call):  # Function('f')(Symbol('x'))
        return sympy.Function(_name_of(node.func, "Function"))(*map(_argument, node.args))
    if not isinstance(node.func, ast.Name):
        raise ValueError("a call of something without a name")
    name = node.func.id
    if name == "Symbol":
        return _symbol(node)
    if name == "Float":
        return _float(node)
    if node.keywords:
        raise ValueError(f"{name} with keywords")
    arguments = [_argument(argument) for argument in node.args]
    if name in _HELPERS:
        return _HELPERS[name](*arguments)
    known = getattr(sympy, name, None)
    if isinstance(known, type) and issubclass(known, sympy.Basic):
        return known(*arguments)
    return sympy.Function(name)(*arguments)


def _argument(node: ast.expr) -> Value:
    """An argument of a sympy class: never a string, which sympy would parse."""
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_argument(item) for item in node.elts)
    return _number(node)


def _name_of(node: ast.Call, maker: str) -> str:
    """The one string that ``Symbol('x', ...)`` or ``Function('f')`` is given."""
    match node:
        case ast.Call(func=ast.Name(id=called), args=[ast.Constant(value=str(name))]) if called == maker:
            return name
    raise ValueError(f"a {maker} with other than a name")


def _symbol(node: ast.Call) -> Value:
    name = _name_of(node, "Symbol")
    assumptions: dict[str, bool] = {}
    for keyword in node.keywords:
        given = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if keyword.arg is None or not isinstance(given, bool):
            raise ValueError("a symbol with other than assumptions")
        assumptions[keyword.arg] = given
    return sympy.Symbol(name, **assumptions)


def _float(node: ast.Call) -> Value:
    numeral, *rest = node.args
    precision = {keyword.arg: keyword.value for keyword in node.keywords}.get("precision")
    if rest or not (isinstance(numeral, ast.Constant) and _NUMERAL.fullmatch(str(numeral.value))):
        raise ValueError("a float with other than a numeral")
    if isinstance(precision, ast.Constant) and isinstance(precision.value, int):
        return sympy.Float(str(numeral.value), precision=precision.value)
    return sympy.Float(str(numeral.value))

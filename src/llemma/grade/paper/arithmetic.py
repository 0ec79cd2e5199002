"""What Python's ``float(eval(text))`` gives for text a model wrote, without evaluating the text.

The paper's scorer for OCWCourses does evaluate it. Here the text is parsed by ``ast`` and computed by the arithmetic
of Python's own numbers, strings and tuples, which is exact: ``10^2`` is 8, because ``^`` is exclusive or, and
``'12'`` is 12. A name that the original does not know ends as it does there, with an error. Whatever would call, look
into or build something beyond that is refused as unsafe, never run.

It may take any time and memory (``9**9**9``): call it in the worker process only.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Value = Any  # int, float, complex, bool, str, bytes, None, Ellipsis, slice, containers of these, or _Known


class NotANumber(Exception):
    """Python would raise an error, or the value is not one that ``float`` takes."""


class Unsafe(Exception):
    """The text asks for more than arithmetic; the message says for what."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Something the original's name space holds that is no plain value: a module, a function, a class."""

    name: str
    call: Callable[..., Value] | None = None


# Names that the text could use in the original besides builtins: those of ocw_courses.py and of its method.
_MODULE_NAMES = frozenset(
    {"re", "math", "code", "signal", "ABC", "Optional", "inspect", "mean", "Task", "rf", "MajorityVotingMixin"}
    | {"SymbolicMathMixin", "parse_latex", "np", "NL_PROMPT", "OCWCourses", "_CITATION", "self"}
    | {"__file__", "__spec__", "__loader__", "__builtins__", "__doc__", "__cached__", "__package__"}
)
_KNOWN_TEXTS = {"unit": "cm", "maybe_unit": "cm", "__name__": "lm_eval.tasks.ocw_courses", "__debug__": True}
_PURE = {f.__name__: f for f in (abs, bool, complex, divmod, float, int, len, max, min, pow, round, sum)}
_NUMBERS_OF = {
    "math": {name: getattr(math, name) for name in ("pi", "e", "tau", "inf", "nan")},
    "np": {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan},
}
_BINARY: dict[type[ast.operator], Callable[[Value, Value], Value]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitXor: operator.xor,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.MatMult: operator.matmul,
}
_UNARY: dict[type[ast.unaryop], Callable[[Value], Value]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Value, Value], Value]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}
_ERRORS = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError)
_ERRORS_OF_PYTHON = (SyntaxError, MemoryError, RecursionError)


def python_float(text: str) -> float:
    """``float(eval(text))``. Raises NotANumber where Python would raise anything, Unsafe for more than arithmetic."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.lstrip(" \t"), mode="eval")
            if any(isinstance(node, ast.Await | ast.Yield | ast.YieldFrom) for node in ast.walk(tree)):
                raise NotANumber("not an expression outside of a function")
            value = _Evaluation(text).value(tree.body)
            if isinstance(value, _Known):
                raise NotANumber(f"{value.name} is not a number")
            return float(value)
    except (*_ERRORS, *_ERRORS_OF_PYTHON) as error:
        raise NotANumber(f"{type(error).__name__}: {error}") from error


class _Evaluation:
    """The computation of one text, which knows itself by the name ``s``, as in the original."""

    def __init__(self, text: str) -> None:
        self.texts: dict[str, Value] = {"s": text, **_KNOWN_TEXTS}

    def value(self, node: ast.expr) -> Value:
        """The value of an expression. Raises what Python would, NotANumber for an unknown name, Unsafe."""
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self.named(node.id)
            case ast.UnaryOp():
                return _UNARY[type(node.op)](self.plain(node.operand))
            case ast.BinOp():
                return self.binary(node)
            case ast.BoolOp():
                return self.either(node)
            case ast.Compare():
                return self.comparison(node)
            case ast.IfExp():
                return self.value(node.body if self.plain(node.test) else node.orelse)
            case ast.Tuple() | ast.List() | ast.Set():
                kind = {ast.Tuple: tuple, ast.List: list, ast.Set: set}[type(node)]
                return kind(self.plain(item) for item in node.elts)
            case ast.Dict() if None not in node.keys:
                return {
                    self.plain(key): self.plain(value) for key, value in zip(node.keys, node.values, strict=True) if key
                }
            case ast.Subscript():
                return self.plain(node.value)[self.plain(node.slice)]
            case ast.Slice():
                return slice(*(part and self.plain(part) for part in (node.lower, node.upper, node.step)))
            case ast.Lambda():
                return _Known("a function")
            case ast.Attribute():
                return self.attribute(node)
            case ast.Call():
                return self.called(node)
        raise Unsafe(f"it holds {type(node).__name__}, which is more than arithmetic")

    def plain(self, node: ast.expr) -> Value:
        """A value that can be computed with."""
        value = self.value(node)
        if isinstance(value, _Known):
            raise Unsafe(f"it computes with {value.name}")
        return value

    def named(self, name: str) -> Value:
        if name in self.texts:
            return self.texts[name]
        if name in _PURE:
            return _Known(name, _PURE[name])
        if name in _MODULE_NAMES or hasattr(builtins, name):
            return _Known(name)
        raise NotANumber(f"NameError: {name}")

    def binary(self, node: ast.BinOp) -> Value:
        """Left-nested chains (1 + 1 + 1 + ...) without recursion."""
        chain: list[ast.BinOp] = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        value = self.plain(chain[-1].left)
        for link in reversed(chain):
            value = _BINARY[type(link.op)](value, self.plain(link.right))
        return value

    def either(self, node: ast.BoolOp) -> Value:
        """``and`` and ``or`` give the operand that decides."""
        stops = isinstance(node.op, ast.Or)
        for operand in node.values[:-1]:
            value = self.plain(operand)
            if bool(value) == stops:
                return value
        return self.value(node.values[-1])

    def comparison(self, node: ast.Compare) -> Value:
        left = self.plain(node.left)
        result: Value = True
        for op, operand in zip(node.ops, node.comparators, strict=True):
            right = self.plain(operand)
            result = _COMPARISONS[type(op)](left, right)
            if not result:
                break
            left = right
        return result

    def attribute(self, node: ast.Attribute) -> Value:
        """Members of ``math``, constants of ``np``; nothing else is looked into."""
        owner = self.value(node.value)
        if not isinstance(owner, _Known) or owner.name not in _NUMBERS_OF:
            raise Unsafe(f"it looks up .{node.attr}")
        numbers = _NUMBERS_OF[owner.name]
        if node.attr in numbers:
            return numbers[node.attr]
        if owner.name == "np" and node.attr not in dir(importlib.import_module("numpy")):
            raise NotANumber(f"AttributeError: np.{node.attr}")
        if owner.name == "math":
            member = getattr(math, node.attr)
            if not node.attr.startswith("_"):
                return _Known(f"math.{node.attr}", member)
        raise Unsafe(f"it looks up {owner.name}.{node.attr}")

    def called(self, node: ast.Call) -> Value:
        """A call of a function that only computes, on plain values."""
        function = self.value(node.func)
        if not isinstance(function, _Known):
            raise TypeError("not callable")
        if function.call is None:
            for argument in node.args:
                self.value(argument)  # an unknown name among them stops Python before the call
            raise Unsafe(f"it calls {function.name}")
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise Unsafe(f"it calls {function.name} with more than values")
        return function.call(*(self.plain(argument) for argument in node.args))

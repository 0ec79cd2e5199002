r"""Builds the sympy expression that ``sympy.parsing.latex.parse_latex`` gives for a text, without antlr4.

``read_latex`` calls the same sympy constructors in the same order as ``_parse_latex_antlr.py`` (sympy 1.14), on the
tree of ``llemma.grade.paper.parse``, because constructors of sympy evaluate (``Eq(1, 1)`` is ``True``) and their
order shows. Kept with it: a letter is a symbol each, ``x`` between numbers is a times sign, ``\sin^{0}`` loses its
power, ``\frac{d}{dx}`` without anything behind fails. Numbers are read as Python's own tokeniser would read them in
``sympify``: ``01`` fails and ``00`` is 0.

It may take any time and memory: call it in the worker process only (``llemma.grade.worker``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import sympy
from sympy.printing.str import StrPrinter

from llemma.grade.paper.lexer import Token, Unreadable
from llemma.grade.paper.parse import Node, Parser

Expression = Any  # sympy has no types; a list stands for a derivative that waits for its operand, as in the original

_MAX_DIGITS = 4300  # Python reads no longer integer literal, so neither does sympify
_PARSER = Parser()


def read_latex(text: str) -> Expression:
    """The expression, relation or truth value that the text begins with. Raises Unreadable, or what sympy raises."""
    _check_matrices(text)
    return _read(text)


def unread(text: str) -> str:
    """The end of a text that ``read_latex`` reads and passes over: the formula is complete before it."""
    text = text.strip()
    return text[_PARSER.parse(text).last.stop :].strip()


def _read(text: str) -> Expression:
    text = text.strip()
    return _Builder(text).relation(_PARSER.parse(text))


_RELATIONS = {
    "LT": sympy.StrictLessThan,
    "LTE": sympy.LessThan,
    "GT": sympy.StrictGreaterThan,
    "GTE": sympy.GreaterThan,
    "EQUAL": sympy.Eq,
    "NEQ": sympy.Ne,
}
_INVERSES = {
    "arcsin": sympy.asin,
    "arccos": sympy.acos,
    "arctan": sympy.atan,
    "arccsc": sympy.acsc,
    "arcsec": sympy.asec,
    "arccot": sympy.acot,
    "arsinh": sympy.asinh,
    "arcosh": sympy.acosh,
    "artanh": sympy.atanh,
}
_WITH_INVERSE = {  # f and what f^{-1} means; only an exponent of -1 does not raise to a power
    "sin": (sympy.sin, sympy.asin),
    "cos": (sympy.cos, sympy.acos),
    "tan": (sympy.tan, sympy.atan),
    "csc": (sympy.csc, sympy.acsc),
    "sec": (sympy.sec, sympy.asec),
    "cot": (sympy.cot, sympy.acot),
    "sinh": (sympy.sinh, sympy.asinh),
    "cosh": (sympy.cosh, sympy.acosh),
    "tanh": (sympy.tanh, sympy.atanh),
}


class _Builder:
    """Nodes of one text to sympy; one method for each kind of node that differs."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._values: dict[int, Expression] = {}  # of postfix nodes, which is_times looks at again

    def relation(self, node: Node) -> Expression:
        if expr := node.node("expr"):
            return self.expr(expr)
        left, right = (self.relation(side) for side in node.nodes("relation"))
        sign = node.token(*_RELATIONS)
        assert sign is not None
        return _RELATIONS[sign.kind](left, right)

    def expr(self, node: Node) -> Expression:
        return self.additive(_only(node))

    def additive(self, node: Node) -> Expression:
        if mp := node.node("mp"):
            return self.mp(mp)
        left, right = (self.additive(side) for side in node.nodes("additive"))
        if node.token("ADD"):
            return sympy.Add(left, right, evaluate=False)
        if getattr(right, "is_Atom", False):
            return sympy.Add(left, -1 * right, evaluate=False)
        return sympy.Add(left, sympy.Mul(-1, right, evaluate=False), evaluate=False)

    def mp(self, node: Node) -> Expression:
        if unary := node.node("unary", "unary_nofunc"):
            return self.unary(unary)
        left, right = (self.mp(side) for side in node.nodes("mp", "mp_nofunc"))
        if node.token("MUL"):
            return sympy.Mul(left, right, evaluate=False)
        return sympy.Mul(left, sympy.Pow(right, -1, evaluate=False), evaluate=False)

    def unary(self, node: Node) -> Expression:
        if signed := node.node("unary", "unary_nofunc"):
            value = self.unary(signed)
            return -value if node.token("SUB") else value
        return self.product(node.nodes("postfix", "postfix_nofunc"), 0)

    def product(self, factors: list[Node], i: int) -> Expression:
        """The factors from the i-th on, multiplied from the right, unless a derivative takes what follows."""
        factor = self.postfix(factors[i])
        last = i == len(factors) - 1
        if isinstance(factor, sympy.Expr):
            if last:
                return factor
            if i > 0 and str(factor) == "x" and self.is_times(factors[i - 1], factors[i + 1]):
                return self.product(factors, i + 1)
            return sympy.Mul(factor, self.product(factors, i + 1), evaluate=False)
        variable = factor[0]
        if last:
            raise Unreadable("a derivative of nothing")
        return sympy.Derivative(self.product(factors, i + 1), variable)

    def is_times(self, *sides: Node) -> bool:
        """Whether an ``x`` stands between two things without symbols."""
        values = [self.postfix(side) for side in sides]
        return all(isinstance(value, sympy.Expr) and not value.atoms(sympy.Symbol) for value in values)

    def postfix(self, node: Node) -> Expression:
        if id(node) not in self._values:
            self._values[id(node)] = self.with_postfixes(node)
        return self._values[id(node)]

    def with_postfixes(self, node: Node) -> Expression:
        value = self.power(_first(node))
        for op in node.nodes("postfix_op"):
            if op.token("BANG"):
                if isinstance(value, list):
                    raise Unreadable("a factorial of a derivative")
                value = sympy.factorial(value, evaluate=False)
            else:
                value = self.evaluated(value, _only(op))
        return value

    def evaluated(self, value: Expression, node: Node) -> Expression:
        """``f|_{x=a}^{x=b}``."""
        above, below = node.node("eval_at_sup"), node.node("eval_at_sub")
        upper = None if above is None else self.substituted(value, above)
        lower = None if below is None else self.substituted(value, below)
        if upper is not None and lower is not None:
            return sympy.Add(upper, -1 * lower, evaluate=False)
        if upper is not None:
            return upper
        return value if lower is None else lower

    def substituted(self, value: Expression, at: Node) -> Expression:
        if expr := at.node("expr"):
            place = self.expr(expr)
            symbols = _sorted(place.atoms(sympy.Symbol))
            return value.subs(symbols[0], place) if symbols else value
        equality = at.node("equality")
        assert equality is not None
        left, right = (self.expr(side) for side in equality.nodes("expr"))
        return value.subs(left, right)

    def power(self, node: Node) -> Expression:
        base = node.node("exp", "exp_nofunc")
        if base is None:
            return self.comp(_first(node))
        value = self.power(base)
        if isinstance(value, list):
            raise Unreadable("a power of a derivative")
        return sympy.Pow(value, self.script(node), evaluate=False)

    def script(self, node: Node) -> Expression:
        """What stands raised or lowered: an atom, or an expression in braces."""
        inner = node.node("atom", "expr")
        assert inner is not None
        return self.atom(inner) if inner.rule == "atom" else self.expr(inner)

    def comp(self, node: Node) -> Expression:
        part = _only(node)
        if part.rule == "atom":
            return self.atom(part)
        if part.rule == "func":
            return self.func(part)
        inner = part.node("expr")
        assert inner is not None
        value = self.expr(inner)
        if part.rule == "group":
            return value
        function = {"abs_group": sympy.Abs, "floor": sympy.floor, "ceil": sympy.ceiling}[part.rule]
        return function(value, evaluate=False)

    def atom(self, node: Node) -> Expression:
        if token := node.token("LETTER"):
            return sympy.Symbol(self.name(node, token.text))
        if token := node.token("SYMBOL"):
            if token.text == r"\infty":
                return sympy.oo
            return sympy.Symbol(self.name(node, token.text[1:], quotes=False))
        if token := node.token("DIFFERENTIAL"):
            return sympy.Symbol("d" + _differential(token.text))
        part = _only(node)
        if part.rule == "number":
            return _number("".join(digit.text for digit in part.parts if isinstance(digit, Token)))
        if part.rule == "mathit":
            text = part.node("mathit_text")
            assert text is not None
            return sympy.Symbol(self.source(text))
        if part.rule == "frac":
            return self.frac(part)
        inner = part.nodes("expr")
        if part.rule == "binom":
            n, k = (self.expr(side) for side in inner)
            return sympy.binomial(n, k, evaluate=False)
        from sympy.physics.quantum.state import Bra, Ket  # brings numpy and scipy, if they are there

        return (Bra if part.rule == "bra" else Ket)(self.expr(inner[0]))

    def name(self, node: Node, stem: str, *, quotes: bool = True) -> str:
        """A symbol's name with its index and, except behind commands in the original, its primes."""
        if index := node.node("subexpr"):
            stem += "_{" + StrPrinter().doprint(self.script(index)) + "}"
        marks = node.token("QUOTES") if quotes else None
        return stem if marks is None else stem + marks.text

    def source(self, node: Node) -> str:
        return self.text[node.first.start : node.last.stop]

    def frac(self, node: Node) -> Expression:
        upper, lower = _fraction_sides(node)
        if isinstance(upper, Node) and isinstance(lower, Node):
            derivative = self.derivative(upper, lower)
            if derivative is not None:
                return derivative
        top = self.expr(upper) if isinstance(upper, Node) else sympy.Integer(int(upper.text))
        bottom = self.expr(lower) if isinstance(lower, Node) else sympy.Integer(int(lower.text))
        inverse = sympy.Pow(bottom, -1, evaluate=False)
        return inverse if top == 1 else sympy.Mul(top, inverse, evaluate=False)

    def derivative(self, upper: Node, lower: Node) -> Expression | None:
        r"""``\frac{d f}{dx}`` and ``\frac{\partial f}{\partial x}``; a list when nothing stands behind the d."""
        if lower.first is lower.last and lower.first.kind == "DIFFERENTIAL":
            variable, operator = _differential(lower.first.text), "d"
        elif (
            lower.last.index - lower.first.index == 1
            and lower.first.text == r"\partial"
            and lower.last.kind in ("LETTER", "SYMBOL")
        ):
            variable, operator = lower.last.text.removeprefix("\\"), r"\partial"
        else:
            return None
        wrt = sympy.Symbol(variable)
        if upper.first is upper.last and upper.first.text == operator:
            return [wrt]
        text = self.source(upper)
        if operator == "d" and text.startswith("d"):
            top = _read(text[1:])
        elif operator != "d" and upper.first.text == operator:
            top = _read(text[len(operator) :])
        else:
            return None
        return sympy.Derivative(top, wrt) if top else None

    def func(self, node: Node) -> Expression:
        if normal := node.node("func_normal"):
            return self.named(node, normal.first.text[1:])
        head = node.token("LETTER", "SYMBOL", "FUNC_INT", "FUNC_SQRT", "FUNC_OVERLINE", "FUNC_SUM", "FUNC_PROD")
        if head is None:
            return self.limit(node)
        if head.kind in ("LETTER", "SYMBOL"):
            name = self.name(node, head.text.removeprefix("\\"))
            return sympy.Function(name)(*self.arguments(node))
        if head.kind == "FUNC_INT":
            return self.integral(node)
        if head.kind in ("FUNC_SUM", "FUNC_PROD"):
            return self.repeated(node, sympy.Sum if head.kind == "FUNC_SUM" else sympy.Product)
        *root, base = node.nodes("expr")
        value = self.expr(base)
        if head.kind == "FUNC_OVERLINE":
            return sympy.conjugate(value, evaluate=False)
        if root:
            return sympy.root(value, self.expr(root[0]), evaluate=False)
        return sympy.sqrt(value, evaluate=False)

    def named(self, node: Node, name: str) -> Expression:
        r"""``\sin``, ``\log_2`` and their like; of several arguments the first counts."""
        inside = node.node("func_arg")
        if inside is not None:
            argument = self.expr(_first(inside))
        else:
            bare = node.node("func_arg_noparens")
            assert bare is not None
            argument = self.mp(_only(bare))
        value: Expression = None
        if name in _INVERSES:
            value = _INVERSES[name](argument, evaluate=False)
        elif name == "exp":
            value = sympy.exp(argument, evaluate=False)
        elif name in ("log", "lg", "ln"):
            base = node.node("subexpr")
            radix = self.script(base) if base else 10 if name == "lg" else sympy.E
            value = sympy.log(argument, radix, evaluate=False)
        raised = node.node("supexpr")
        power = None if raised is None else self.script(raised)
        if name in _WITH_INVERSE:
            function, inverse = _WITH_INVERSE[name]
            inverted = power == -1
            value = (inverse if inverted else function)(argument, evaluate=False)
            if inverted:
                return value
        return sympy.Pow(value, power, evaluate=False) if power else value

    def arguments(self, node: Node) -> Iterable[Expression]:
        rest = node.node("args")
        while rest is not None:
            inner = rest.node("expr")
            assert inner is not None
            yield self.expr(inner)
            rest = rest.node("args")

    def integral(self, node: Node) -> Expression:
        integrand: Expression = 1
        if body := node.node("additive"):
            integrand = self.additive(body)
        elif body := node.node("frac"):
            integrand = self.frac(body)
        if token := node.token("DIFFERENTIAL"):
            variable = sympy.Symbol(_differential(token.text))
        else:
            integrand, variable = _without_differential(integrand)
        below, above = node.node("subexpr"), node.node("supexpr")
        if below is None or above is None:
            return sympy.Integral(integrand, variable)
        return sympy.Integral(integrand, (variable, self.script(below), self.script(above)))

    def repeated(self, node: Node, function: Callable[..., Expression]) -> Expression:
        body, below, above = node.node("mp"), node.node("subeq"), node.node("supexpr")
        assert body is not None and below is not None and above is not None
        value = self.mp(body)
        equality = below.node("equality")
        assert equality is not None
        variable, start = (self.expr(side) for side in equality.nodes("expr"))
        return function(value, (variable, start, self.script(above)))

    def limit(self, node: Node) -> Expression:
        below, body = node.node("limit_sub"), node.node("mp")
        assert below is not None and body is not None
        name, place = below.token("LETTER", "SYMBOL"), below.node("expr")
        assert name is not None and place is not None
        variable = sympy.Symbol(name.text.removeprefix("\\"))
        direction = "-" if below.token("SUB") else "+" if below.token("ADD") else "+-"
        approached = self.expr(place)
        return sympy.Limit(self.mp(body), variable, approached, direction)


def _first(node: Node) -> Node:
    return next(part for part in node.parts if isinstance(part, Node))


def _only(node: Node) -> Node:
    part = node.parts[0]
    assert isinstance(part, Node)
    return part


def _sorted(symbols: Iterable[Expression]) -> list[Expression]:
    """Symbols by name: the original takes them in the order of Python's string hashes, which differs between runs."""
    return sorted(symbols, key=str)


def _fraction_sides(node: Node) -> tuple[Node | Token, Node | Token]:
    upper, lower = (p for p in node.parts if isinstance(p, Node) or p.kind == "DIGIT")
    return upper, lower


def _differential(text: str) -> str:
    return text[1:].lstrip(" \t\r\n").removeprefix("\\")


def _without_differential(integrand: Expression) -> tuple[Expression, Expression]:
    """Takes a symbol such as ``dx`` out of the integrand; without one it integrates over x."""
    symbols = _sorted(integrand.atoms(sympy.Symbol))
    found = [symbol for symbol in symbols if len(str(symbol)) > 1 and str(symbol)[0] == "d"]
    if not found:
        return integrand, sympy.Symbol("x")
    name = str(found[-1])
    variable = sympy.Symbol(name[2:] if name[1] == "\\" else name[1:])
    return integrand.subs(found[-1], 1), variable


def _number(text: str) -> Expression:
    """A numeral as sympify reads it: Python refuses leading zeros and more than 4300 digits in an integer."""
    text = text.replace(",", "")
    if "." in text:
        return sympy.Float(text)
    if len(text) > _MAX_DIGITS or (text.startswith("0") and text.strip("0")):
        raise Unreadable("an integer that Python does not read")
    return sympy.Integer(int(text))


# --- matrices: sympy 1.14 checks that they are closed and then cannot read them --------------------------------------

_OPENED, _CLOSED = r"\s*[{]*\s*", r"\s*[}]*\s*"


def _matrix_marks() -> list[tuple[re.Pattern[str], re.Pattern[str]]]:
    """What opens a matrix, with what has to close it."""
    marks = [(rf"\\begin{{{name}}}", rf"\\end{{{name}}}") for name in ("pmatrix", "bmatrix", "vmatrix")]
    for opening, closing in ((r"\\begin{matrix}", r"\\end{matrix}"), (r"\\begin{array}{.*?}", r"\\end{array}")):
        for left, right in ((r"\(", r"\)"), (r"\[", r"\]"), (r"\|", r"\|")):
            for before, behind in ((r"\\left", r"\\right"), (r"(?<!\\left)", "")):
                marks.append((f"{before}{left}{_OPENED}{opening}", f"{closing}{_CLOSED}{behind}{right}"))
    return [(re.compile(opening), re.compile(closing)) for opening, closing in marks]


_MATRIX_MARKS = _matrix_marks()


def _check_matrices(text: str) -> None:
    """Raises Unreadable when a matrix is opened and not closed in kind: pairs of marks in the order of the text."""
    found = []
    for number, pair in enumerate(_MATRIX_MARKS):
        for closes, pattern in enumerate(pair):
            found += [(match.start(), number, closes) for match in pattern.finditer(text)]
    found.sort(key=lambda mark: mark[0])
    for (_, number, closes), other in zip(found[::2], [*found[1::2], None], strict=False):
        if closes or other is None or other[1:] != (number, 1):
            raise Unreadable("a matrix that is not closed in kind")

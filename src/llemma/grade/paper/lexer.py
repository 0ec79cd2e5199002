r"""Cuts LaTeX into the tokens of sympy's LaTeX grammar, the longest first; knows nothing of what they mean.

Written after ``sympy/parsing/latex/LaTeX.g4`` (sympy 1.14, BSD; the grammar comes from latex2sympy, MIT). Text is cut
on demand, because a character outside the language only matters when the parser looks that far: ``1;2`` fails and
``(1)}2;`` does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EOF = "EOF"


class Unreadable(Exception):
    """The text is not of the language; the message says where."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token with its place in the text: ``text[start:stop]``."""

    kind: str
    text: str
    start: int
    stop: int
    index: int


_FUNCTIONS = (
    *("exp", "log", "lg", "ln", "sin", "cos", "tan", "csc", "sec", "cot"),
    *("arcsin", "arccos", "arctan", "arccsc", "arcsec", "arccot"),
    *("sinh", "cosh", "tanh", "arsinh", "arcosh", "artanh"),
)
_COMMANDS = {
    **dict.fromkeys(("thinspace", "medspace", "thickspace", "quad", "qquad", "left", "right"), "skip"),
    **dict.fromkeys(("negthinspace", "negmedspace", "negthickspace"), "skip"),
    **dict.fromkeys(("vrule", "vcenter", "vbox", "vskip", "vspace", "hfil"), "skip"),
    **dict.fromkeys(("to", "rightarrow", "Rightarrow", "longrightarrow", "Longrightarrow"), "TO"),
    **{name: f"FUNC_{name.upper()}" for name in (*_FUNCTIONS, "lim", "int", "sum", "prod", "sqrt", "overline")},
    **dict.fromkeys(("frac", "dfrac", "tfrac"), "FRAC"),
    **dict.fromkeys(("binom", "dbinom", "tbinom"), "BINOM"),
    **dict.fromkeys(("leq", "le", "leqq", "leqslant"), "LTE"),
    **dict.fromkeys(("geq", "ge", "geqq", "geqslant"), "GTE"),
    **{"langle": "L_ANGLE", "rangle": "R_ANGLE", "lfloor": "L_FLOOR", "rfloor": "R_FLOOR"},
    **{"lceil": "L_CEIL", "rceil": "R_CEIL", "times": "MUL", "cdot": "MUL", "div": "DIV", "neq": "NEQ"},
    "mathit": "MATHIT",
}
_ESCAPES = {**dict.fromkeys(',:;!*-./"(=', "skip"), "{": "L_LITERAL", "}": "R_LITERAL"}
_SIGNS = {
    **{"+": "ADD", "-": "SUB", "*": "MUL", "/": "DIV", ":": "DIV", "(": "L_PAREN", ")": "R_PAREN"},
    **{"{": "L_BRACE", "}": "R_BRACE", "[": "L_BRACKET", "]": "R_BRACKET", "|": "BAR", "_": "UNDERSCORE"},
    **{"^": "CARET", "<": "LT", ">": "GT", "!": "BANG", ",": "COMMA", ".": "POINT", "=": "EQUAL"},
}
_COMMAND = re.compile(r"\\[A-Za-z]+")
_SPACE = re.compile(r"[ \t\r\n]+")
_DIFFERENTIAL = re.compile(r"d[ \t\r\n]*(?:[A-Za-z]|\\[A-Za-z]+)")
_AMPERSAND = re.compile(r"&[ \t\r\n]*=")
_QUOTES = re.compile(r"'+")
# Three tokens that are longer than the command they begin with.
_LONGER = ((r"\right|", "R_BAR"), (r"\left|", "L_BAR"), (r"\int\limits", "FUNC_INT"))

FUNCTION_KINDS = tuple(f"FUNC_{name.upper()}" for name in _FUNCTIONS)


class Tokens:
    """The tokens of a text, cut as far as somebody looks; ``EOF`` without end behind the last one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._found: list[Token] = []
        self._at = 0
        self._end: Token | None = None

    def __getitem__(self, index: int) -> Token:
        """The token of that index. Raises Unreadable when the text up to it holds what no token begins with."""
        while index >= len(self._found):
            if self._end is not None:
                return self._end
            self._cut()
        return self._found[index]

    def _cut(self) -> None:
        text, at = self.text, self._at
        if at >= len(text):
            self._end = Token(EOF, "", at, at, len(self._found))
            return
        kind, stop = _next(text, at)
        if kind != "skip":
            self._found.append(Token(kind, text[at:stop], at, stop, len(self._found)))
        self._at = stop


def _next(text: str, at: int) -> tuple[str, int]:
    """Kind and end of the longest token at a place of the text."""
    char = text[at]
    if char == "\\":
        return _escape(text, at)
    if char == "d" and (match := _DIFFERENTIAL.match(text, at)):
        return "DIFFERENTIAL", match.end()
    if char.isascii():
        if char.isalpha():
            return "LETTER", at + 1
        if char.isdigit():
            return "DIGIT", at + 1
        if char in _SIGNS:
            return _SIGNS[char], at + 1
        for pattern, kind in ((_SPACE, "skip"), (_QUOTES, "QUOTES"), (_AMPERSAND, "EQUAL")):
            if match := pattern.match(text, at):
                return kind, match.end()
    raise Unreadable(f"no token begins with {char!r} at {at}")


def _escape(text: str, at: int) -> tuple[str, int]:
    match = _COMMAND.match(text, at)
    if match is None:
        follower = text[at + 1 : at + 2]
        if follower in _ESCAPES:
            return _ESCAPES[follower], at + 2
        raise Unreadable(f"no token begins with {text[at : at + 2]!r} at {at}")
    for spelling, kind in _LONGER:
        if text.startswith(spelling, at) and len(spelling) > match.end() - at:
            return kind, at + len(spelling)
    return _COMMANDS.get(match.group()[1:], "SYMBOL"), match.end()

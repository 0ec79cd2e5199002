"""Names of what an answer gives the value of: ``x``, ``f(2)``, ``Area``, ``|AB|``; which may stand for each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llemma.grade.brackets import levels
from llemma.grade.expr import is_product
from llemma.grade.latex import END, Token

_MARKS = frozenset(
    ("{", "}", "bar", "open", "close", "sep", "frac", "/", "_", "accent", "prefix", "prime", "colon", "cap", "cup")
)
_LETTERS = frozenset(("sym", "word", "num", "fn", "cmd", "prefix"))
_PLAIN = re.compile(r"[A-Za-z]|[A-Za-z]{4,20}|[A-Za-z]\([a-z]\)|\|?[A-Z]{2}\|?|\([a-z](?:,[a-z])*\)|[a-z]_?\d")
_LENGTH = re.compile(r"(?:\\lvert|\\vert|\||\\overline)([A-Z]{2})(?:\\rvert|\\vert|\||$)")
_MAX_TOKENS = 24


def is_name(found: Sequence[Token]) -> bool:
    """Whether a left side only says what the right side is the value of."""
    if not found or len(found) > _MAX_TOKENS or found[0].kind == "num":
        return False
    found = _without_arguments(found)
    plain = [t for t in found if t.kind not in _MARKS]
    if any(t.kind == "num" and found[i - 1].kind not in ("_", "{", "open") for i, t in enumerate(found)):
        return False
    return all(t.kind in _LETTERS for t in plain) and any(t.kind in _LETTERS - {"num"} for t in plain)


def _without_arguments(found: Sequence[Token]) -> Sequence[Token]:
    r"""``f(-1)``, ``P(A \cap B)``, ``f^{-1}(x)`` as ``f``, ``P``: what a function is applied to may be anything.

    A small letter other than f, g and h is one factor of a product: ``x(x+1)``.
    """
    depths = levels(found)
    for i, token in enumerate(found):
        if token.kind == "open" and token.text == "(" and depths[i] == 0 and i > 0:
            head, kept = found[i - 1], i
            if head.kind == "}" or head.text == "1":
                kept = _inverse(found[:i])
                head = found[kept - 1]
            end = depths.index(0, i + 1)
            if kept and (head.kind == "fn" or (head.kind == "sym" and (head.text in "fgh" or head.text.isupper()))):
                return [*found[:kept], *_without_arguments(found[end + 1 :])]
    return found


def _inverse(found: Sequence[Token]) -> int:
    """How many tokens stand before ``^{-1}`` or ``^-1`` at the end; 0 when it is not there."""
    for tail in ("^{-1}", "^-1"):
        if "".join(t.text for t in found[-len(tail) :]) == tail:
            return len(found) - len(tail)
    return 0


def spelling(found: Sequence[Token]) -> str:
    """A name as one text; a function has its backslash, so ``\\sin x`` is no word."""
    return "".join(f"\\{t.text}" if t.kind == "fn" else t.text for t in found if t.kind not in ("{", "}"))


def alike(a: str, b: str) -> bool:
    """Whether names may stand for each other: ``y`` and ``f(x)``, ``A`` and ``Area``, ``(x,y)`` and ``(p,q)``."""
    a, b = (_LENGTH.sub(r"\1", name) for name in (a, b))
    if a == b or (a.startswith("(") and b.startswith("(")):
        return True
    return any(
        len(one) == 1 and (re.fullmatch(r"[A-Za-z]\([a-z]\)", other) or _is_word(other))
        for one, other in ((a, b), (b, a))
    )


def is_plain(name: str) -> bool:
    """Whether a name says nothing that samples of the same problem could mean differently."""
    return bool(_PLAIN.fullmatch(name))


def _is_word(name: str) -> bool:
    return name.isascii() and name.isalpha() and len(name) > 2 and not is_product(name, END)

"""Names of what an answer gives the value of: ``x``, ``f(2)``, ``Area``, ``|AB|``; which may stand for each other."""

from __future__ import annotations

from collections.abc import Sequence

from llemma.grade.latex import Token


def is_name(found: Sequence[Token]) -> bool:
    """Whether a left side only says what the right side is the value of."""
    plain = [
        t
        for t in found
        if t.kind
        not in ("{", "}", "bar", "open", "close", "sep", "frac", "/", "_", "accent", "prefix", "prime", "colon")
    ]
    if not plain or len(found) > 24:
        return False
    numbers = [i for i, t in enumerate(found) if t.kind == "num"]
    if any(i == 0 or found[i - 1].kind not in ("_", "{", "open") for i in numbers):
        return False
    if found[0].kind == "num":
        return False
    letters = [t for t in plain if t.kind in ("sym", "word", "num", "fn", "cmd", "prefix")]
    return len(letters) == len(plain) and any(t.kind in ("sym", "word", "fn", "cmd") for t in plain)


def spelling(found: Sequence[Token]) -> str:
    return "".join(t.text for t in found if t.kind not in ("{", "}"))

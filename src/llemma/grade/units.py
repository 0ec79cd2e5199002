"""Units: which words behind a value are one, and whether two of them can be of the same quantity."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llemma.grade.expr import is_unit
from llemma.grade.latex import END, Refused, Token
from llemma.grade.vocabulary import CHANGES, LITTLE, SCALES


def unit_behind(rest: Sequence[Token], left: int) -> tuple[str, str, int]:
    """Unit, mark and scale of what stands behind an expression. Raises Refused for what might change the value."""
    words: list[str] = []
    mark, scale = "", 1
    for at, token in enumerate(rest):
        word = token.text.lower().rstrip(".")
        if token.kind == "word" and word in SCALES and not words:
            scale *= SCALES[word]
        elif token.kind == "word" and (word in ("percent", "percentage") or word in ("degrees", "degree", "deg")):
            mark = "percent" if word.startswith("percent") else "degree"
        elif _in_unit(token, rest[at - 1] if at else END, bool(words), last=at + 1 == len(rest)):
            words.append(word if token.kind in ("word", "join") else token.text)
        elif token.kind == "pct":
            mark = "percent"
        elif token.kind in ("degree", "circ"):
            mark = "degree"
        elif token.kind == "dot":
            continue
        else:
            raise Refused(f"{token.text!r} behind a value")
    if words and words[-1] in ("a", "an"):
        raise Refused("an article at the end")
    return re.sub(r" ?([/^*(){}-]) ?", r"\1", " ".join(words)), mark, scale


def _in_unit(token: Token, before: Token, begun: bool, *, last: bool) -> bool:
    """Whether a token behind an expression belongs to its unit: ``square feet``, ``m/s^2``, ``inches per second``."""
    if token.kind == "word":
        word = token.text.lower().rstrip(".")
        if word in CHANGES:
            return False
        return is_unit(token) or token.text_mode or word in LITTLE or (begun and len(word) > 2) or before.kind == "/"
    if token.kind == "join":
        return begun and not last
    if token.kind == "sym":
        return token.text_mode or before.kind in ("/", "*")
    return begun and token.kind in ("^", "{", "}", "/", "*", "num", "-", "dot", "open", "close")

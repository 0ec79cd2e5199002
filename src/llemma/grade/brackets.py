"""Brackets in a list of tokens: how deep each token stands, and cutting the list where nothing is open."""

from __future__ import annotations

from collections.abc import Sequence

from llemma.grade.latex import Refused, Token

_UP = frozenset(("open", "{", "lfloor", "lceil", "begin"))
_DOWN = frozenset(("close", "}", "rfloor", "rceil", "end"))


def levels(found: Sequence[Token]) -> list[int]:
    """The depth of each token; a closing bracket and what opened it have that of their surroundings.

    The tokens ``\\begin{name}`` open a level whose name is inside it. Raises Refused for a bracket too many or too few.
    """
    found_levels, depth = [], 0
    for token in found:
        if token.kind in _DOWN:
            depth -= 1
            if depth < 0:
                raise Refused("a closing bracket too many")
            found_levels.append(depth)
        else:
            found_levels.append(depth)
            depth += token.kind in _UP
    if depth:
        raise Refused("a bracket is not closed")
    return found_levels


def outer_kinds(found: Sequence[Token]) -> list[str]:
    """The kind of each token, empty for those inside brackets. Raises Refused like ``levels``."""
    return [token.kind if level == 0 else "" for token, level in zip(found, levels(found), strict=True)]


def encloses(found: Sequence[Token]) -> bool:
    """Whether the first token is a bracket and the last one closes it."""
    return len(found) > 1 and found[0].kind in _UP and levels(found).index(0, 1) == len(found) - 1


def split(found: Sequence[Token], kinds: Sequence[str], at: set[str]) -> list[Sequence[Token]]:
    """The parts between the tokens whose entry in ``kinds`` is one of ``at``."""
    parts: list[Sequence[Token]] = []
    start = 0
    for i, kind in enumerate(kinds):
        if kind in at:
            parts.append(found[start:i])
            start = i + 1
    parts.append(found[start:])
    return parts


def trim(found: Sequence[Token]) -> Sequence[Token]:
    """Without separators and dots at the ends, and without braces around everything."""
    start, end = 0, len(found)
    while start < end and found[start].kind in ("dot",):
        start += 1
    while end > start and found[end - 1].kind in ("dot", "sep", "row"):
        end -= 1
    found = found[start:end]
    while found and found[0].kind == "{" and encloses(found):
        found = found[1:-1]
    return found


def environment(found: Sequence[Token], start: int) -> tuple[str, Sequence[Token]]:
    r"""Name and content of ``\begin{name} … \end{name}``, which must reach the end. Raises Refused."""
    names = group_after(found, start)
    kinds = outer_kinds(found)
    end = next((i for i in range(start + 1, len(found)) if kinds[i] == "end"), 0)
    if not end:
        raise Refused("an environment that does not end")
    closing = group_after(found, end)
    if names[0] != closing[0] or closing[1] != len(found):
        raise Refused("an environment that does not reach the end")
    return names[0], found[names[1] : end]


def group_after(found: Sequence[Token], at: int) -> tuple[str, int]:
    """The text of the brace group behind a token, and where it ends. Raises Refused."""
    if at + 1 >= len(found) or found[at + 1].kind != "{":
        raise Refused("a name in braces is missing")
    end = at + 2
    while end < len(found) and found[end].kind != "}":
        end += 1
    if end == len(found):
        raise Refused("a brace is not closed")
    return "".join(t.text for t in found[at + 2 : end]), end + 1

"""Cuts Lean 4 text into tokens, as far as Lean's own rules do not depend on the notations in force.

Knows comments (nested), strings (also raw and interpolated), characters, identifiers with ``«»``, numbers; everything
else is one symbol per character. Says nothing about grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["word", "number", "string", "char", "symbol", "comment", "broken"]


@dataclass(frozen=True, slots=True)
class Token:
    """One token; ``start`` and ``end`` are offsets in the text.

    ``broken``: a comment or string that does not end. For strings ``text`` is the literal with its quotes.
    """

    kind: Kind
    text: str
    start: int
    end: int


# Lean's own classes (Init/Meta: isLetterLike, isSubScriptAlnum); λ, Π and Σ are symbols.
_LETTER = (
    "A-Za-z_\u03b1-\u03ba\u03bc-\u03c9\u0391-\u039f\u03a1\u03a2\u03a4-\u03a9\u03ca-\u03fb\u1f00-\u1ffe\u2100-\u214f"
    "\U0001d49c-\U0001d59f"
)
_LATIN = "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017f"  # letters in newer versions
_REST = _LETTER + _LATIN + "0-9'!?\u2080-\u2089\u2090-\u209c\u1d62-\u1d6a\u2c7c"
_PART = rf"(?:[{_LETTER}{_LATIN}][{_REST}]*|«[^»\n]*»)"
_WORD = re.compile(rf"{_PART}(?:\.{_PART}|\.(?=[0-9])[0-9]+(?![{_REST}]))*")
_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|[0-9][0-9_]*(?:\.(?![.a-zA-Z_])[0-9]*)?(?:[eE][+-]?[0-9]+)?"
)
_CHAR = re.compile(r"'(?:\\(?:x[0-9a-fA-F]{2}|u\{?[0-9a-fA-F]+\}?|.)|[^\\'\n])'", re.S)
_RAW = re.compile(r'r(#*)"')
_SPACE = re.compile(r"\s+")
_COMMENT = re.compile(r"/-|-/")


def tokens(text: str) -> Iterator[Token]:
    """The tokens of ``text`` without comments; after a broken one there are no more."""
    return (token for token in pieces(text) if token.kind != "comment")


def pieces(text: str) -> Iterator[Token]:
    """Tokens and comments. What is within ``{}`` of a string is not cut."""
    at, size = 0, len(text)
    while at < size:
        if space := _SPACE.match(text, at):
            at = space.end()
        elif text.startswith("--", at):
            end = text.find("\n", at)
            end = size if end < 0 else end
            yield Token("comment", text[at:end], at, end)
            at = end
        elif text.startswith("/-", at):
            closed = _after_comment(text, at)
            if closed is None:
                yield Token("broken", "/-", at, size)
                return
            yield Token("comment", text[at:closed], at, closed)
            at = closed
        else:
            token = _token(text, at)
            yield token
            if token.kind == "broken":
                return
            at = token.end


def _after_comment(text: str, at: int) -> int | None:
    depth = 0
    for mark in _COMMENT.finditer(text, at):
        if mark.group() == "/-":
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                return mark.end()
    return None


def _token(text: str, at: int) -> Token:
    raw = _RAW.match(text, at)
    if raw:
        closing = '"' + raw.group(1)
        end = text.find(closing, raw.end())
        if end < 0:
            return Token("broken", raw.group(), at, len(text))
        return Token("string", text[at : end + len(closing)], at, end + len(closing))
    patterns: tuple[tuple[Kind, re.Pattern[str]], ...] = (("word", _WORD), ("number", _NUMBER), ("char", _CHAR))
    for kind, pattern in patterns:
        if found := pattern.match(text, at):
            return Token(kind, found.group(), at, found.end())
    if text[at] == '"':
        return _string(text, at)
    return Token("symbol", text[at], at, at + 1)


def _string(text: str, at: int) -> Token:
    end = at + 1
    while end < len(text) and text[end] != '"':
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        return Token("broken", '"', at, len(text))
    return Token("string", text[at : end + 1], at, end + 1)


def code(text: str) -> Iterator[Token]:
    """The tokens of ``text`` and, wherever a string has a ``{``, of what follows it: it may be interpolated."""
    for token in tokens(text):
        yield token
        if token.kind == "string" and "{" in token.text and not token.text.startswith("r"):
            for piece in token.text[1:-1].split("{")[1:]:
                yield from code(piece.replace('\\"', '"'))


def parts(word: str) -> tuple[str, ...]:
    """The components of an identifier, without their ``«»``."""
    return tuple(part.strip("«»") for part in re.findall(r"«[^»]*»|[^.«»]+", word))

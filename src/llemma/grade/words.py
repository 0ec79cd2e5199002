"""Answers in words: numbers, sets and times that have names, and everything that is only compared as text."""

from __future__ import annotations

import re
from fractions import Fraction

from llemma.grade.kinds import EMPTY, REALS, Answer, Ratio, Value, Words
from llemma.grade.node import INF, number, tree
from llemma.grade.numerals import numeral
from llemma.grade.vocabulary import SAME_WORDS

_MAX_WORDS = 24
_COMMANDS = re.compile(
    r"\\(?:text|textbf|textrm|textit|mbox|mathrm|mathbf|left|right|displaystyle|quad|qquad)\b|[{}$~\s]|\\[,;:! ]"
)
_TIME = re.compile(r"(\d{1,2})(?::(\d\d))?[\s~]*(?:\\text\s?\{)?[\s~]*([ap])\.?\s?m\.?\s*\}?", re.IGNORECASE | re.ASCII)
_CLOCK = re.compile(r"(?<=\d)([ap])\.?m\.?$", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:the|an?)(?=[\s~])\s*", re.IGNORECASE)
_TEXT_ONLY = re.compile(r"^\\text\s*\{([^{}]*)\}$")
_IN_BRACKETS = re.compile(r"([^()]+?)\s*\(([^()]+)\)")
_DOTS = re.compile(r"\\[lc]?dots[a-z]?|\.\.\.")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b")
_INFINITE = Value(INF)
_MINUS_INFINITE = Value(tree("neg", (INF,)))
_NAMED: dict[str, Answer] = {
    "allrealnumbers": REALS, "allreals": REALS, "therealnumbers": REALS, "realnumbers": REALS, "allrealx": REALS,
    "theemptyset": EMPTY, "emptyset": EMPTY, "infinity": _INFINITE, "positiveinfinity": _INFINITE,
    "negativeinfinity": _MINUS_INFINITE, "minusinfinity": _MINUS_INFINITE,
}  # fmt: skip


def in_words(text: str) -> Answer | None:
    """What a text states that is no mathematics; ``None`` when it holds no word."""
    value = numeral(_COMMANDS.sub(" ", text).strip(" .,;:!?\"'`*"))
    if value is not None:
        return Value(number(value))
    twice = _IN_BRACKETS.fullmatch(text) if len(text) < 100 else None
    if twice and (value := _either(twice[1])) is not None and value == _either(twice[2]):  # 12 (twelve)
        return Value(number(value))
    plain = _plain(text)
    if plain in _NAMED:
        return _NAMED[plain]
    plain = SAME_WORDS.get(plain, plain)
    return Words(plain, prose=len(text.split()) > _MAX_WORDS or len(text) > 400) if plain else None


def time_of_day(text: str) -> Ratio | None:
    """``5 p.m.``, ``3:45\\text{ am}``; without its half of the day a time is a ratio like others."""
    match = _TIME.fullmatch(_TEXT_ONLY.sub(r"\1", text)) if len(text) < 40 else None
    if match is None or int(match[1]) > 12 or int(match[2] or 0) > 59:
        return None
    return Ratio((number(int(match[1])), number(int(match[2] or 0))), True, match[3].lower())


def _either(text: str) -> Fraction | None:
    """A number in digits or in words."""
    return Fraction(text) if text.isascii() and text.isdigit() and len(text) < 16 else numeral(text)


def _plain(text: str) -> str:
    """Text without what only formats it; case is kept where there is mathematics in it."""
    bare = _ARTICLE.sub("", re.sub(r"^\\text\s*\{", "", text.strip()))
    bare = _DOTS.sub("…", _ORDINAL.sub("", re.sub(r"(?<=\d)\s+(?=\d)", "_", bare)))
    bare = re.sub(r"(?<=[A-Za-z] \d)(\d?),\s?(?=\d{4}$)", r"\1_", bare)  # July 4, 2020
    bare = _CLOCK.sub(r"\1m", _COMMANDS.sub("", bare).strip(".,;:!?\"'`*"))
    return bare if re.search(r"[\\^_=<>+]", bare) else bare.lower()

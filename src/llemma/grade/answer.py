r"""Reads a final answer, LaTeX or plain text, as a typed value: number, tuple, interval, set, matrix, equation, word, …

``read`` says what the answer is; whether two are equal is decided in ``llemma.grade.equal``. Nothing is evaluated and
nothing is run: the text is cut into tokens, grouped by its brackets, and each group is read as the one thing it can be.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from llemma.grade.extract import strip
from llemma.grade.kinds import REALS, Answer, Choice, Group, Joined, Named, Value
from llemma.grade.latex import Refused, normalise, tokens
from llemma.grade.limits import roomy
from llemma.grade.node import number
from llemma.grade.reader import MAX_NESTING, Reader
from llemma.grade.words import in_words, time_of_day

_REMEMBERED = 200  # characters of a text whose reading is kept; longer ones would fill the memory


_NUMBER = re.compile(r"\$?\s*([+-]?)\s*(\d{1,15})(?:\.(\d{1,15}))?\.?\s*\$?", re.ASCII)
_FRACTION = re.compile(
    r"\$?\s*([+-]?)\s*(?:\\[dt]?frac\s*\{(\d{1,15})\}\s*\{(\d{1,15})\}|(\d{1,15})/(\d{1,15}))\.?\s*\$?", re.ASCII
)
_CHOICE = re.compile(
    r"(?:\(([A-Ja-j])\)|([A-Ja-j])\)|([A-J])(?:[.:](?=\s|$)|,(?=\s[a-z])))"
    r"(?:(?:\s|~|\\[ ,;:!]|\\q?quad\b)+(\S.*))?|([A-J])|(?i:option|choice)\s+\(?([A-J])\)?",
    re.DOTALL,
)
_LONE_CHOICE = re.compile(
    r"\\(?:text(?:bf|rm|it)?|mathrm|mathbf|mbox)\s*\{\s*(?:\(?([A-Ja-j])\)?[.:]?\s*\}|\(([A-J])\)[.:]?\s*\}(.+))",
    re.DOTALL,
)
_STATES = re.compile(
    r"(?:\b(?:equal to|is|are|be|was|were|equals?|gives?|yields?|get|obtain|total of|about|approximately|exactly|only|"
    r"just|roughly|by|answer|solution|therefore|thus|hence|so|it's|that's)\b:?|:|(?<![!<>=\\])=)\s*",
    re.IGNORECASE,
)
# In front of a statement they make it another one: "x is not equal to 5", "less than or equal to 5".
_HEDGE = re.compile(
    r"\b(?:not|no|never|none|cannot|impossible|nor|neither|unless|without|except|than|at (?:least|most)|divisible|"
    r"divided|multiplied|multiple)\b|n't\b|\\n(?:e|eq|ot)\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[.,;:!?0-9]|\bbut\b")  # a number: "it's not 10 it's 5"
_TEXT_FIRST = re.compile(r"^\\text\s*\{([^{}]*)\}")
_EXCEPT = re.compile(
    r"(?:\\text\s*\{)?\s*all real (?:numbers|x)\s+(?:except|but|other than)(?: for)?\s*\}?\s*(.+)", re.IGNORECASE
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}/\d{1,2}/\d{4}", re.ASCII)
_LONE_WORD = re.compile(r"[A-Z]{2,}|(?!(?:sin|cos|tan|log|sqrt)x$)[A-Za-z]{4,}")


def read(text: str) -> Answer | None:
    """What ``text`` states as a final answer, or ``None`` when it holds nothing readable. Never raises."""
    call = _read_once if len(text) <= _REMEMBERED else _read
    try:
        return call(text)
    except RecursionError:
        return roomy(lambda: call(text), None)


def _read(text: str) -> Answer | None:
    quick = _quick(text)
    if quick is not None:
        return quick
    try:
        spelled = strip(normalise(strip(text)))
    except Refused:
        return None
    if not spelled:
        return None
    time = time_of_day(spelled)
    if time is not None:
        return time
    wordy = _LONE_WORD.fullmatch(spelled) or _DATE.fullmatch(spelled)
    found = _choice(spelled) or (None if wordy else _mathematics(spelled))
    return found or _statement(spelled) or _excepted(spelled) or in_words(spelled)


_read_once = lru_cache(maxsize=4096)(_read)


def _quick(text: str) -> Value | None:
    """Plain numbers and fractions, which most answers are, without the machinery."""
    if len(text) > 60:
        return None
    match = _NUMBER.fullmatch(text)
    if match:
        sign, whole, decimals = match.groups()
        value = Fraction(int(whole + (decimals or "")), 10 ** len(decimals or ""))
        return Value(number(-value if sign == "-" else value))
    match = _FRACTION.fullmatch(text)
    if match:
        sign, top, bottom, plain_top, plain_bottom = match.groups()
        below = int(bottom or plain_bottom)
        if below:
            value = Fraction(int(top or plain_top), below)
            return Value(number(-value if sign == "-" else value))
    return None


def _choice(text: str) -> Choice | None:
    bare = re.sub(r"^\\text(?:bf|rm|it)?\s*\{(.*)\}$", r"\1", text, flags=re.DOTALL).strip()
    match = _CHOICE.fullmatch(bare)
    if match is None:
        lone = _LONE_CHOICE.fullmatch(text)
        return Choice(lone[1] or lone[2], (lone[3] or "").strip()) if lone else None
    letter = next(group for group in (match[1], match[2], match[3], match[5], match[6]) if group)
    rest = (match[4] or "").strip()
    if rest and match[1] and not re.match(r"[A-Za-z\\$]|\d" if letter.isupper() else r"[A-Za-z\\$]", rest):
        return None  # (a) + b is no option
    return Choice(letter, rest)


def _mathematics(text: str) -> Answer | None:
    try:
        return Reader(MAX_NESTING).read(tokens(text))
    except Refused:
        return None


def _statement(text: str) -> Answer | None:
    """The value at the end of a sentence: ``The integral is equal to 0``, ``it's 1,000.99m²``."""
    text = _TEXT_FIRST.sub(r"\1 ", text)
    if len(text) > 600 or "\n" in text or not re.match(r"[A-Za-z(\"]", text):
        return None
    for match in reversed(list(_STATES.finditer(text))[-6:]):
        if _HEDGE.search(_CLAUSE_END.split(text[: match.start()])[-1]):
            continue
        tail = strip(text[match.end() :])
        found = (_quick(tail) or _choice(tail) or _mathematics(tail)) if tail else None
        if found is not None:
            return found
    return None


def _excepted(text: str) -> Answer | None:
    """``all real numbers except 2`` as a set."""
    match = _EXCEPT.fullmatch(text)
    points = _mathematics(match[1]) if match else None
    return None if points is None else Joined("minus", (REALS, _as_set(points)))


def _as_set(points: Answer) -> Answer:
    if isinstance(points, Named):  # except x = 2
        points = points.value
    return Group("{", "}", points.items if isinstance(points, Group) else (points,))

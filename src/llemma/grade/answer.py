r"""Reads a final answer, text or LaTeX, as exact rational numbers; what it cannot read for certain it refuses.

In scope: integers with or without thousands commas, decimals (exact, never floats), ``\frac{a}{b}`` and ``\frac12``,
``a/b``, mixed numbers, a ``x =`` in front, a currency in front, a unit or percent sign behind, and lists of those
(``1, 2 and 3``), whose order does not matter but whose repetitions do. Units are dropped and recorded, never
converted: ``50%`` reads as 50. Out of scope, hence refused: radicals, pi, variables, tuples, intervals, arithmetic,
number words. Nothing is evaluated; the text is cut into tokens by one linear pass over a bounded length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from llemma.grade.extract import strip

MAX_TEXT = 1000  # characters; the longest reference of GSM8K has 9, of MATH below 200
MAX_DIGITS = 300  # per number, far below Python's own limit of 4300 for conversion

_NUMBER = r"(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)|[1-9]\d{0,2}(?:\\,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_ARG = r"(?:\{{\s*(?P<{0}>[+-]?\s*[\d,.]+)\s*\}}|(?P<{0}1>\d))"
_TOKEN = re.compile(
    "|".join(
        (
            rf"(?P<number>{_NUMBER})",
            rf"(?P<frac>\\[dtc]?frac\s*{_ARG.format('top')}\s*{_ARG.format('bottom')})",
            r"(?P<text>\\(?:text|textbf|textrm|textit|mathrm|mbox)\s*\{(?P<inside>[^{}]*)\})",
            r"(?P<space>(?:\s|~|\\[,;:! ]|\\q?quad\b)+)",
            r"(?P<degree>\^\s*\{?\s*\\circ\s*\}?|°|\\degree\b)",
            r"(?P<percent>\\?%)",
            r"(?P<currency>\\?\$|[€£¥])",
            r"(?P<name>\\[A-Za-z]+(?:_(?:[A-Za-z0-9]|\{[A-Za-z0-9]{1,9}\}))?|[A-Za-z]_(?:[A-Za-z0-9]|\{[A-Za-z0-9]{1,9}\}))",
            r"(?P<word>[A-Za-z]+(?:[/'’-][A-Za-z]+)*\.?)",
            r"(?P<power>\^[23]|\^\{[23]\}|[²³])",
            r"(?P<sign>[+-])",
            r"(?P<slash>/)",
            r"(?P<comma>[,;])",
            r"(?P<equals>=)",
            r"(?P<other>.)",
        )
    ),
    re.ASCII | re.DOTALL,
)
_UNIFY = str.maketrans({"\u2212": "-", "\u2013": "-", "\uff0d": "-", "\u2009": r"\,", "\u202f": r"\,", "\u00a0": " "})


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_UNITS = _set(
    "mm cm dm km ft yd mi mg kg lb lbs oz ml mL cl dl dL gal qt pt ms ns hr hrs min mins sec secs yr yrs wk wks "
    "mph kph kmh rpm km/h m/s ft/s mi/h sq cu in pm am Hz kHz MHz kW kWh Pa kPa"
)
_LITTLE = _set("a an of in on at to by as per for her his my no up is we")
# Words that change the number they follow, or make it something else than one number.
_CHANGES = _set(
    "pi sqrt root roots half halves third thirds fourth fourths fifth fifths sixth sixths eighth eighths tenth "
    "tenths quarter quarters hundred hundreds hundredth hundredths thousand thousands thousandth million millions "
    "billion billions trillion trillions dozen dozens squared cubed factorial plus minus divided over than least "
    "most not remainder infinity sin cos tan cot sec csc log exp mod modulo max choose power base if where when e"
)
_VOWEL = re.compile("[aeiou]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One or several exact numbers, ascending; ``unit`` is what was dropped behind them (not compared)."""

    values: tuple[Fraction, ...]
    unit: str = ""

    @property
    def key(self) -> str:
        """The name of the equivalence class for voting: ``"1/2"``, ``"-3, 7"``. Equal answers, equal keys."""
        return ", ".join(str(value) for value in self.values)


def read(text: str) -> Answer | None:
    """The answer that ``text`` states, or ``None`` when it is not in the scope of this module. Never raises."""
    if len(text) > MAX_TEXT:
        return None
    text = text.translate(_UNIFY).replace(r"\\", "\\")  # base models double the backslash as JSON does
    text = strip(text).replace("{,}", ",").replace("\\!", "")
    reader = _Reader(tuple(_tokens(text)))
    try:
        return reader.answer()
    except _Refused:
        return None


class _Refused(Exception):
    """The tokens do not form an answer of this module's scope."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    value: Fraction | None = None


_END = _Token("end", "")


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        if match["frac"]:
            found.append(_Token("frac", match["frac"], _quotient(match)))
        elif match["text"]:
            found += _text_tokens(match["inside"])
        elif kind == "number":
            found.append(_Token(kind, match.group(), _number(match.group())))
        elif kind == "word" and match.group().lower() in ("and", "or"):
            found.append(_Token("comma", match.group().lower()))
        else:
            found.append(_Token(kind, match.group()))
    return found


def _text_tokens(inside: str) -> list[_Token]:
    r"""The content of ``\text{…}``: ``and`` and ``or`` separate, other words are units even if of one letter."""
    found = [_Token("space", " ")]
    for word in inside.split():
        if word.lower() in ("and", "or", ","):
            found.append(_Token("comma", word.lower()))
        elif re.fullmatch(r"[A-Za-z./'-]+", word):
            found.append(_Token("unit", word))
        else:
            found.append(_Token("other", word))
    return found


def _number(text: str) -> Fraction | None:
    """The exact value of an unsigned or signed numeral, or ``None`` for too many digits or a wrong form."""
    text = text.replace(" ", "")
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-")
    if len(text) > MAX_DIGITS or not re.fullmatch(_NUMBER, text, re.ASCII):
        return None
    whole, _, decimals = text.replace(",", "").replace("\\", "").partition(".")
    return Fraction(sign * int(whole + decimals), 10 ** len(decimals))


def _quotient(match: re.Match[str]) -> Fraction | None:
    top = _number(match["top"] or match["top1"])
    bottom = _number(match["bottom"] or match["bottom1"])
    return top / bottom if top is not None and bottom else None


class _Reader:
    """A cursor over the tokens; each method reads one thing of the grammar or refuses."""

    def __init__(self, tokens: tuple[_Token, ...]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self, ahead: int = 0) -> _Token:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else _END

    def skip(self, *kinds: str) -> bool:
        start = self.at
        while self.peek().kind in kinds:
            self.at += 1
        return self.at > start

    def answer(self) -> Answer:
        values, units, names, joins = [], [], [], []
        while True:
            names.append(self.name())
            values.append(self.value())
            units.append(self.unit())
            if self.peek() is _END:
                break
            joins.append(self.separator())
        if len({name for name in names if name}) > 1:
            raise _Refused  # x = 2, y = 3: an assignment, not a list of roots
        _check_list(values, units, joins)
        return Answer(values=tuple(sorted(values)), unit=units[-1])

    def name(self) -> str:
        """The variable of a ``x =`` in front, or nothing."""
        start = self.at
        self.skip("space", "currency")
        head = self.peek()
        if head.kind in ("word", "name", "unit"):
            self.at += 1
            self.skip("space")
            if self.peek().kind == "equals":
                self.at += 1
                return head.text
        self.at = start
        return ""

    def value(self) -> Fraction:
        self.skip("space", "currency")
        sign = 1
        if self.peek().kind == "sign":
            sign = -1 if self.peek().text == "-" else 1
            self.at += 1
            self.skip("space", "currency")
        return sign * self.magnitude()

    def magnitude(self) -> Fraction:
        first = self.number("number", "frac")
        if self.tokens[self.at - 1].kind == "frac":
            return first
        slash = 1 if self.peek().kind == "space" else 0
        if self.peek(slash).kind == "slash":
            self.at += slash + 1
            self.skip("space")
            return self.over(first)
        return first + self.mixed(first)

    def mixed(self, whole: Fraction) -> Fraction:
        """The proper fraction of a mixed number behind its whole part, or 0 when there is none."""
        plain = self.tokens[self.at - 1].text.isdigit()
        start = self.at
        spaced = self.skip("space", "currency")
        part = Fraction(0)
        if self.peek().kind == "frac":
            part = self.number("frac")
        elif spaced and self.peek().kind == "number" and self.peek(1).kind == "slash":
            top = self.number("number")
            self.at += 1
            part = self.over(top)
        else:
            self.at = start
            return part
        if not plain or not 0 < part < 1:
            raise _Refused  # 2\frac{3}{2} is as well a product
        return part

    def over(self, top: Fraction) -> Fraction:
        bottom = self.number("number")
        if bottom == 0:
            raise _Refused
        return top / bottom

    def number(self, *kinds: str) -> Fraction:
        token = self.peek()
        if token.kind not in kinds or token.value is None:
            raise _Refused
        self.at += 1
        return token.value

    def unit(self) -> str:
        """What stands behind a number and does not change it; refuses what might (``2x``, ``3 pi``, ``5 million``)."""
        words: list[str] = []
        attached = True
        while (token := self.peek()).kind in ("space", "currency", "degree", "percent", "word", "unit", "power"):
            if token.kind == "word" and not _is_unit(token.text.rstrip("."), attached):
                raise _Refused
            if token.kind == "unit" and token.text.strip(".").lower() in _CHANGES:
                raise _Refused
            if token.kind == "power" and self.tokens[self.at - 1].kind not in ("word", "unit"):
                raise _Refused
            attached = token.kind not in ("space", "currency")
            if token.kind != "space":
                words.append(token.text.lstrip("\\"))
            self.at += 1
        if words and words[-1].lower() in ("a", "an"):
            raise _Refused
        return " ".join(words)

    def separator(self) -> str:
        if self.peek().kind != "comma":
            raise _Refused
        joined = ""
        while self.peek().kind in ("comma", "space"):
            joined += self.peek().text.strip()
            self.at += 1
        if joined not in (",", ";", "and", "or", ",and", ",or", ";and"):
            raise _Refused
        return joined


def _check_list(values: list[Fraction], units: list[str], joins: list[str]) -> None:
    """Refuse what looks like a list and is one quantity: ``3 hours and 20 minutes``, ``3 and 1/2``."""
    seen = ""
    for unit in (u.lower().rstrip("s") for u in units):
        if seen and unit != seen:
            raise _Refused
        seen = unit
    if joins == ["and"] and values[0].denominator == 1 and values[0] > 0 and 0 < values[1] < 1:
        raise _Refused


def _is_unit(word: str, attached: bool) -> bool:
    """Whether a word behind a number can only be a unit: known, or a natural word set off by a blank."""
    if word.lower() in _CHANGES:
        return word == "sec"
    if word in _UNITS:
        return True
    if attached:
        return False
    parts = re.split(r"[/'’-]", word)
    return all(p.lower() in _LITTLE or p == "s" or (len(p) > 2 and _VOWEL.search(p) is not None) for p in parts)

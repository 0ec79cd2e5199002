r"""Cuts a final answer, LaTeX or plain text, into tokens; knows spelling, not meaning.

One linear pass over a bounded text. What two spellings of the same thing have in common is settled here: Unicode signs,
doubled or swallowed backslashes, ``\left``, spacing commands, dollar signs, thousands separators. Nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from llemma.grade.vocabulary import FUNCTIONS, GREEK, SPACING, TEXT_COMMANDS, UNIT_LETTERS, UNITS

MAX_TEXT = 10_000  # characters of one answer; the longest reference of MATH has 159
MAX_TEXT_COMMANDS = 100  # of one answer: each is cut into tokens by itself
MAX_DIGITS = 4_000  # of one number; Python itself refuses to convert more than 4,300


class Refused(Exception):
    """The text is not of a form that this package reads; the message says why."""


class Token(NamedTuple):
    """A piece of an answer. ``spaced``: white space stands before it; ``text_mode``: it came out of ``\\text{…}``."""

    kind: str
    text: str
    spaced: bool = False
    text_mode: bool = False


END = Token("end", "")

_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_GREEK_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho final sigma tau upsilon "
    "phi chi psi omega"
)
_GREEK = {chr(0x3B1 + i): f"\\{name} " for i, name in enumerate(_GREEK_LETTERS.split())}
_SIGNS = {
    "−": "-", "–": "-", "—": "-", "－": "-", "‐": "-", "‑": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "÷": r"\div ", "∞": r"\infty ", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ",
    "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∖": r"\setminus ", "∅": r"\emptyset ",
    "±": r"\pm ", "∓": r"\mp ", "°": r"^\circ ", "º": r"^\circ ", "√": r"\sqrt ", "∛": r"\sqrt[3]", "′": "'", "’": "'",
    "“": '"', "”": '"', "…": r"\ldots ", "⋯": r"\ldots ", "ℝ": r"\mathbb{R}", "⟨": r"\langle ", "⟩": r"\rangle ",
    "≡": r"\equiv ", "→": r"\to ", "⇒": r"\Rightarrow ", "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}",
    "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}", "⅛": r"\frac{1}{8}", "＝": "=", "，": ", ",
    "、": ", ", "；": ";", "：": ":", "（": "(", "）": ")", "％": "%", "∗": "*", "∧": "^",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2003": " ", "\u2002": " ", "\u200b": "", "\u200c": "", "\u200d": "",
    "\ufeff": "", "\u2061": "", "\u2062": "", "€": r"\$", "£": r"\$", "¥": r"\$", "₹": r"\$", "ﬁ": "fi",
    **{chr(0xFF10 + d): str(d) for d in range(10)},
}  # fmt: skip
_UNIFY = str.maketrans({**_SIGNS, **_GREEK})
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_AREA = re.compile("(?<=[0-9])\\s?([cdkm]?m|ft|in)([²³])")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
# What is left of \tfrac, \times, \frac, \beta, \rho after a JSON or Python reader took \t, \f, \b or \r for an escape.
_SWALLOWED = re.compile(
    "\t(?=frac|imes|ext|heta|an\\b|au\\b|o\\b)|\f(?=rac)|\b(?=inom|eta|egin|oxed|ar\\b)|\r(?=ho|ight|m\\b)"
)
_ESCAPE = {"\t": "\\t", "\f": "\\f", "\b": "\\b", "\r": "\\r"}
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z]|[{}%$,!;:()\[\]])")
_SINGLE = re.compile(r"(?<!\\)\\[A-Za-z]")
_KNOWN_DOUBLED = re.compile(
    r"\\\\(?=(?:[dtc]?frac|sqrt|text|mathrm|mathbf|pi|theta|alpha|beta|lambda|cdot|times|left|right|infty|cup|boxed|sin|"
    r"cos|tan|log|ln|leq?|geq?|neq?|pm|circ|binom|quad|mbox|in|begin|end)(?![a-z]))"
)
_WORD_GROUP = re.compile(r"(\\[A-Za-z]+\*?\s*|[\^_\\}\]]\s*)?\{\s*([A-Za-z][A-Za-z .,'-]+)\}")
_UNIT_BEHIND = re.compile(r"\s{0,3}[A-Za-z][A-Za-z/ .]{0,30}(?:\^?\{?-?[234]\}?)?\s{0,3}")
_GLUED_COLON = re.compile(r"(?<=\d)\s?\{:\}")
_DOLLAR = re.compile(r"(?<!\\)\$")
_MODULE = re.compile(r"\b(?:np|numpy|math|sympy|sp|cmath)\.(?=[a-z])")
_GLUED = re.compile(r"(?<=\d)(or|and)(?=[A-Za-z(\\\d])")
_IN_BASE = re.compile(r"(?<!\d)(\d{1,200})\s{0,2}\(?(?:\\text\s?\{)?\s{0,2}(?:in )?base[\s}-]{0,3}(\w{1,9})\s?[)}]?")
_CHOSEN = re.compile(r"(?:\{\})?[\^_]\{?(\d+|[a-z])\}?\s*C\s*_\{?(\d+|[a-z])\}?")
_ORDINAL = re.compile(r"(?<=\d)\s?\^\s?\{?(?:\\(?:text|mathrm|textrm)\s?\{)?\s?(?:st|nd|rd|th)\}{0,2}(?![a-z])")
_PLUS_MINUS = re.compile(r"\+/-")
_MINUS = re.compile(r"^(?:minus|negative)\s+(?=[\d\\.$])", re.IGNORECASE)
_MONEY = re.compile(r"^(?:USD|US\\?\$|Rs\.?|EUR|GBP)\s*(?=\d)")
_TO = re.compile(r"^(?:\\text\s?\{)?\s*(\d+)\s*(?:\\text\s*\{\s*to\s*\}|to)\s*(\d+)\s*\}?$")
_SPACE_THOUSANDS = re.compile(r"-?\d{1,3}(?: \d{3})+(?:\.\d+)?", re.ASCII)


def normalise(text: str) -> str:
    r"""The text in the one spelling that ``tokens`` reads; dollar signs that delimit formulas are gone.

    Raises Refused when it is longer than MAX_TEXT.
    """
    if len(text) > MAX_TEXT:
        raise Refused(f"the answer has {len(text):,} characters; at most {MAX_TEXT:,} are read")
    if not text.isascii():
        text = _AREA.sub(lambda m: f"\\text{{ {m[1]}}}^{{{2 if m[2] == '²' else 3}}}", text)
        text = _RAISED.sub(lambda m: "^{" + m.group().translate(_SUPERSCRIPT) + "}", text)
        text = _LOWERED.sub(lambda m: "_{" + m.group().translate(_SUBSCRIPT) + "}", text)
        text = text.translate(_UNIFY)
    if "\\" in text or "\t" in text or "\f" in text or "\b" in text or "\r" in text:
        text = _SWALLOWED.sub(lambda m: _ESCAPE[m.group()], text)
        if "\\\\" in text:
            text = _undouble(text)
    if "{" in text:
        text = _GLUED_COLON.sub(":", text)
        text = _WORD_GROUP.sub(lambda m: m[0] if m[1] or not _wordy(m[2]) else f"\\text{{{m[2]}}}", text)
    if "$" in text:
        text = _without_dollars(text)
    if "." in text:
        text = _MODULE.sub("", text)
    text = _GLUED.sub(r" \1 ", text.strip())
    if "base" in text:
        text = _IN_BASE.sub(r"\1_{\2}", text)
    if "C" in text:
        text = _CHOSEN.sub(r"\\binom{\1}{\2}", text)
    text = _ORDINAL.sub("", _PLUS_MINUS.sub(r"\\pm ", text))
    text = _MONEY.sub(r"\\$", _MINUS.sub("-", text))
    text = _TO.sub(r"\1:\2", text)
    if _SPACE_THOUSANDS.fullmatch(text):
        text = text.replace(" ", "")
    return text


def _wordy(group: str) -> bool:
    """Whether a group of letters holds a word: no product of variables."""
    return any(len(w) > 3 or w in UNITS or (len(w) == 3 and re.search("[aeiou]", w)) for w in group.split())


def _undouble(text: str) -> str:
    r"""Backslashes as one escaping too many left them: all doubled, or doubled before a known command."""
    if not _SINGLE.search(text) and _DOUBLED.search(text):
        return text.replace("\\\\", "\\")
    if "\\begin" in text:  # \\ ends a row there
        return text
    return _KNOWN_DOUBLED.sub(r"\\", text)


def _without_dollars(text: str) -> str:
    """Delimiters become blanks; a sign that has no partner and stands before a digit is a currency."""
    marks = [m.start() for m in _DOLLAR.finditer(text)]
    if len(marks) % 2 == 0:
        behind = _UNIT_BEHIND.fullmatch(text, marks[-1] + 1) if marks else None
        if behind and re.split(r"[^A-Za-z]+", behind.group().strip())[0] in UNITS | UNIT_LETTERS:  # $5$ m
            text = f"{text[: behind.start()]}\\text{{ {behind.group().strip()}}}"
        return _DOLLAR.sub(" ", text)
    pieces = []
    at = 0
    for mark in marks:
        money = text[mark + 1 : mark + 2].isdigit() or text[mark + 1 : mark + 2] in ("-", ".")
        pieces += [text[at:mark], "\\$" if money and len(marks) == 1 else " "]
        at = mark + 1
    return "".join([*pieces, text[at:]])


_CONSTANT_WORDS = {"pi": "pi", "infinity": "inf", "infty": "inf", "inf": "inf", "oo": "inf", "theta": "sym"}
_RELATIONS = {
    "=": "=", "==": "=", ":=": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "=<": "<=", "=>": ">=", "!=": "!=",
    r"\le": "<=", r"\leq": "<=", r"\leqslant": "<=", r"\leqq": "<=", r"\ge": ">=", r"\geq": ">=", r"\geqslant": ">=",
    r"\geqq": ">=", r"\lt": "<", r"\gt": ">", r"\ne": "!=", r"\neq": "!=", r"\approx": "~", r"\simeq": "~",
    r"\cong": "~", r"\sim": "~", r"\equiv": "equiv", r"\mid": "mid", r"\to": "to", r"\rightarrow": "to",
    r"\Rightarrow": "implies", r"\implies": "implies", r"\iff": "iff", r"\Leftrightarrow": "iff", r"\mapsto": "to",
}  # fmt: skip
_SPACING = SPACING | {"\\ ", "\\\n"}
_SYMBOLS = {
    "{": "{", "}": "}", "(": "open", ")": "close", "[": "open", "]": "close", r"\{": "open", r"\}": "close",
    r"\lbrace": "open", r"\rbrace": "close", r"\langle": "open", r"\rangle": "close", r"\lparen": "open",
    r"\rparen": "close", r"\lbrack": "open", r"\rbrack": "close", r"\lfloor": "lfloor", r"\rfloor": "rfloor",
    r"\lceil": "lceil", r"\rceil": "rceil", "|": "bar", r"\|": "bar", r"\vert": "bar", r"\lvert": "bar",
    r"\rvert": "bar", r"\Vert": "bar", r"\lVert": "bar", r"\rVert": "bar", "+": "+", "-": "-", "*": "*", r"\cdot": "*",
    r"\times": "*", r"\ast": "*", r"\div": "/", "/": "/", "^": "^", "**": "^", "_": "_", "!": "!", "'": "prime",
    r"\prime": "prime", r"\pm": "pm", r"\mp": "pm", ",": "sep", ";": "sep", ":": "colon", "%": "pct", r"\%": "pct",
    r"\circ": "circ", r"\degree": "degree", r"\$": "money", r"\pi": "pi", r"\infty": "inf", r"\cup": "cup",
    r"\bigcup": "cup", r"\cap": "cap", r"\setminus": "setminus", r"\backslash": "setminus", r"\in": "in",
    r"\emptyset": "empty", r"\varnothing": "empty", r"\ldots": "dots", r"\dots": "dots", r"\cdots": "dots",
    r"\dotsc": "dots", r"\vdots": "dots", "...": "dots", "&": "&", r"\\": "row", r"\cr": "row", r"\frac": "frac",
    r"\dfrac": "frac", r"\tfrac": "frac", r"\cfrac": "frac", r"\binom": "binom", r"\dbinom": "binom",
    r"\tbinom": "binom", r"\sqrt": "sqrt", r"\sum": "sum", r"\prod": "prod", r"\int": "int", r"\lim": "lim",
    r"\begin": "begin", r"\end": "end", r"\choose": "choose", r"\over": "over", r"\bmod": "mod", r"\mod": "mod",
    r"\pmod": "pmod", r"\overline": "accent", r"\bar": "accent", r"\vec": "accent", r"\hat": "accent",
    r"\widehat": "accent", r"\dot": "accent", r"\ddot": "accent", r"\tilde": "accent", r"\overrightarrow": "accent",
    r"\overarc": "accent", r"\widetilde": "accent", r"\mathcal": "accent", r"\mathbb": "accent", r"\mathfrak": "accent",
    r"\angle": "prefix", r"\triangle": "prefix", r"\measuredangle": "prefix", r"\boxed": "accent0",
    r"\land": "join", r"\wedge": "join", r"\lor": "join", r"\vee": "join", r"\colon": "colon",
    r"\phantom": "drop", r"\hspace": "drop", r"\vspace": "drop", r"\label": "drop", r"\tag": "drop", r"\color": "drop",
    r"\textcolor": "drop",
}  # fmt: skip
_LEX = re.compile(
    r"""
    (?P<space>(?:\s|~)+)
  | (?P<number>\d{1,3}(?:(?:,\s?\\!\s?|\{,\}|\\,)\d{3})+(?!\d)(?:\.\d+)?
      | \d+\.(?=\s*[-+*/^)\]}]|\\(?:overline|bar|dot)\b)
      | (?:\d+\.\d+|\d+|\.\d+)(?:[eE][+-]?\d+(?![A-Za-z0-9]))?)
  | (?P<command>\\(?:[A-Za-z]+|.))
  | (?P<word>[A-Za-z]+(?:(?<=[A-Za-z]{2})[-'](?=[A-Za-z]{2})[A-Za-z]+)*)
  | (?P<op><=|>=|=<|=>|==|!=|:=|\*\*|\.\.\.|[-+*/^_=<>(){}\[\],;:|!'%&])
  | (?P<dot>\.)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_THOUSANDS_TIGHT = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?![\d])(?!,\d)(?:\.\d+)?", re.ASCII)
_JOINS = {"and": "join", "or": "join"}
_TIMES_TEN = re.compile(r"\s*[xX]\s*10\s*(?:\^|\*\*)")


def tokens(text: str) -> list[Token]:
    """The tokens of a normalised text. Raises Refused for what no answer contains."""
    if sum(text.count(command + "{") for command in (r"\text", r"\mathrm", r"\mathbf")) > MAX_TEXT_COMMANDS:
        raise Refused(f"more than {MAX_TEXT_COMMANDS} pieces of text")
    return list(_cut(text, text_mode=False))


def _cut(text: str, *, text_mode: bool) -> Iterator[Token]:
    at, depth, spaced = 0, 0, False
    # inside brackets a comma separates, unless the commas that separate are followed by a blank
    wide = re.search(r",\s", text) is not None
    while at < len(text):
        found = _THOUSANDS_TIGHT.match(text, at) if depth == 0 or wide else None
        if found:
            yield _number(found.group(), spaced)
            at, spaced = found.end(), False
            continue
        match = _LEX.match(text, at)
        assert match is not None  # the last alternative takes anything
        at, kind, piece = match.end(), match.lastgroup, match.group()
        if kind == "space":
            spaced = True
            continue
        if kind == "number":
            yield _number(piece, spaced)
            times = _TIMES_TEN.match(text, at)
            if times:  # 1.26 x 10^4
                yield Token("*", "*")
                at = text.index("1", at)
        elif kind == "command":
            inside, at = _argument(text, at) if piece in TEXT_COMMANDS else (None, at)
            if inside is not None:
                yield from _text(inside, piece, spaced or _blank_first(inside))
            elif piece in _SPACING:
                spaced = True
                if piece in (r"\left", r"\right") and text[at : at + 1] == ".":
                    at += 1
                continue
            elif _SYMBOLS.get(piece) == "drop":
                _, at = _argument(text, at)
                continue
            else:
                depth += (piece in (r"\{", r"\lbrace", r"\langle")) - (piece in (r"\}", r"\rbrace", r"\rangle"))
                yield _command(piece, spaced)
        elif kind == "word":
            yield _word(piece, spaced, text_mode)
        elif kind == "op":
            depth += (piece in "([") - (piece in ")]")
            yield Token("rel" if piece in _RELATIONS else _SYMBOLS[piece], _RELATIONS.get(piece, piece), spaced)
        elif kind == "dot":
            if text[at : at + 1].strip():  # in the middle of something: 3.x
                yield Token("dot", piece, spaced)
        else:
            yield Token("other", piece, spaced)
        spaced = False


def _number(piece: str, spaced: bool) -> Token:
    digits = piece if piece.isdigit() else re.sub(r"[^0-9.eE+-]", "", piece)
    if len(digits) > MAX_DIGITS:
        raise Refused(f"a number of {len(digits):,} digits; at most {MAX_DIGITS:,} are read")
    return Token("num", digits, spaced)


def _command(piece: str, spaced: bool) -> Token:
    if piece in _RELATIONS:
        return Token("rel", _RELATIONS[piece], spaced)
    if piece in _SYMBOLS:
        return Token(_SYMBOLS[piece], piece, spaced)
    name = piece[1:]
    if name in FUNCTIONS and name != "Gamma":
        return Token("fn", name, spaced)
    if name in GREEK:
        return Token("sym", name, spaced)
    return Token("cmd", piece, spaced)


def _word(piece: str, spaced: bool, text_mode: bool) -> Token:
    if piece == "mod":
        return Token("mod", piece, spaced, text_mode)
    if piece.lower() in _JOINS:
        return Token("join", piece.lower(), spaced, text_mode)
    if piece in FUNCTIONS and not (text_mode and piece in ("max", "min", "sign", "floor", "arg")) and len(piece) > 1:
        return Token("fn", piece, spaced, text_mode)
    if piece.lower() in _CONSTANT_WORDS:
        kind = _CONSTANT_WORDS[piece.lower()]
        return Token(kind, piece.lower() if kind == "sym" else kind, spaced, text_mode)
    if len(piece) == 1:
        return Token("sym", piece, spaced, text_mode)
    if piece in GREEK and not text_mode:
        return Token("sym", piece, spaced)
    return Token("word", piece, spaced, text_mode)


def _argument(text: str, at: int) -> tuple[str | None, int]:
    """The content of the brace group that follows, and where it ends; ``None`` when none follows."""
    start = at
    while start < len(text) and text[start].isspace():
        start += 1
    if text[start : start + 1] != "{":
        return None, at
    depth = 0
    for i in range(start, len(text)):
        if text[i] == "\\":
            continue
        if text[i] == "{" and text[i - 1] != "\\":
            depth += 1
        elif text[i] == "}" and text[i - 1] != "\\":
            depth -= 1
            if depth == 0:
                return text[start + 1 : i], i + 1
    return None, at


def _blank_first(inside: str) -> bool:
    return inside[:1] in (" ", "~")


def _text(inside: str, command: str, spaced: bool) -> Iterator[Token]:
    r"""The tokens of ``\text{…}``; of ``\mathbf{v}`` and ``\mathrm{e}`` as if they stood alone."""
    if command in (r"\operatorname", r"\mathop") and inside.strip() in FUNCTIONS:
        yield Token("fn", inside.strip(), spaced)
        return
    first = True
    prose = command not in (r"\mathbf", r"\mathit", r"\boldsymbol", r"\mathnormal", r"\underline")
    for token in _cut(inside, text_mode=prose):
        yield token._replace(spaced=spaced) if first else token
        first = False

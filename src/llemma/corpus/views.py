r"""Two ways to read a text as words: as it stands, and without what differs between copies of the same mathematics.

**raw**: the words of ``str.split()``.

**normal**: what copies of a problem share when one was retyped, set in other LaTeX, quoted in Markdown or taken from a
page. A word is a run of letters, a number, the name of a command or symbol, ``+`` or ``=``; the rest only separates. In
particular

- letters are case-folded, compatibility forms (``𝑥``, ``ﬁ``, ``ﬀ``) and accents taken off; soft hyphens vanish;
- dollars, ``\( \[``, braces, ``^``, ``_``, ``&``, ``*``, ``<``, ``>``, punctuation, hyphens and minus signs separate:
  spacing in formulas, Markdown emphasis and the marks of quoted lines do not count;
- commands that only set type (``\left``, ``\,``, ``\text``, ``\boxed``, …) vanish, and so do ``\cdot``, ``\times``,
  dots and ``\begin{NAME}``; ``\dfrac`` and ``\frac`` vanish too: ``\frac{1}{2}``, ``\dfrac12``, ``1/2``, ``½`` agree;
- synonyms are one word (``\leq`` = ``\le`` = ``≤``), symbols have the name of their command (``π`` = ``\pi``);
- ``1,000`` = ``1{,}000`` = ``1\,000`` = ``1000``; superscript digits are digits.

It follows that ``x-1``, ``x 1`` and ``x < 1`` are the same in this view, as are ``2^3`` and ``2 3``: two texts that
differ in this alone are taken for copies. No word spans lines, and what a word is depends on nothing outside its line.

What is written here is the definition; ``ngrams_kernel`` does the same faster, and a test compares them.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

from llemma.corpus.overlap_settings import VIEWS, View

__all__ = ["VIEWS", "View", "Word", "sign", "words"]


@dataclass(frozen=True, slots=True)
class Word:
    """A word as the view reads it, and the characters of the text it stands for."""

    text: str
    start: int
    end: int


# Commands that leave no word: they set type, or say what is said by nothing at all in another copy.
DROPPED = frozenset((
    "left", "right", "middle", "big", "bigl", "bigr", "bigm", "bigg", "biggl", "biggr", "biggm", "displaystyle",
    "textstyle", "scriptstyle", "scriptscriptstyle", "limits", "nolimits", "quad", "qquad", "enspace", "enskip",
    "thinspace", "negthinspace", "medspace", "thickspace", "hspace", "hskip", "kern", "mkern", "mskip", "hfill",
    "hfil", "vspace", "vskip", "smallskip", "medskip", "bigskip", "noindent", "indent", "par", "newline", "linebreak",
    "nobreak", "nonumber", "notag", "text", "textnormal", "textrm", "textbf", "textit", "textsf", "texttt", "textsc",
    "emph", "mathrm", "mathbf", "mathit", "mathsf", "mathtt", "mathcal", "mathbb", "mathfrak", "mathscr",
    "boldsymbol", "bm", "pmb", "rm", "bf", "it", "sf", "tt", "sc", "cal", "mbox", "hbox", "fbox", "box", "boxed",
    "operatorname", "mathop", "mathbin", "mathrel", "mathord", "mathopen", "mathclose", "mathpunct", "phantom",
    "hphantom", "vphantom", "smash", "strut", "centering", "hline", "cr", "tag", "label", "ldots", "cdots", "dots",
    "dotsc", "dotsb", "dotsm", "dotsi", "vdots", "ddots", "cdot", "times", "ast", "mid", "vert", "lvert", "rvert",
    "colon", "prime", "textdollar", "dollar", "relax", "protect", "ensuremath", "tiny", "small", "normalsize",
    "large", "lt", "gt", "huge",
))  # fmt: skip
SYNONYMS = {
    "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge", "neq": "ne", "to": "rightarrow",
    "longrightarrow": "rightarrow", "implies": "rightarrow", "iff": "leftrightarrow", "gets": "leftarrow",
    "longleftarrow": "leftarrow", "leftrightarrow": "leftrightarrow", "varnothing": "emptyset", "varepsilon": "epsilon",
    "varphi": "phi", "vartheta": "theta", "varrho": "rho", "varsigma": "sigma", "varpi": "pi", "degree": "circ",
    "land": "wedge", "lor": "vee", "lnot": "neg", "thicksim": "sim", "bigtriangleup": "triangle", "infin": "infty",
    "dbinom": "binom", "tbinom": "binom", "choose": "binom", "ne": "ne", "le": "le", "ge": "ge",
}  # fmt: skip
FRACTIONS = frozenset(["frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"])
BINOMIALS = frozenset(["binom", "dbinom", "tbinom"])
GROUPS = frozenset(["begin", "end"])

SYMBOLS = {
    "≤": "le", "⩽": "le", "≥": "ge", "⩾": "ge", "≠": "ne", "≈": "approx", "≡": "equiv", "∼": "sim", "≅": "cong",
    "∝": "propto", "±": "pm", "∓": "mp", "÷": "div", "∞": "infty", "√": "sqrt", "∑": "sum", "∏": "prod", "∫": "int",
    "∂": "partial", "∇": "nabla", "∈": "in", "∉": "notin", "∪": "cup", "∩": "cap", "⊂": "subset", "⊆": "subseteq",
    "⊃": "supset", "⊇": "supseteq", "∅": "emptyset", "∀": "forall", "∃": "exists", "¬": "neg", "∧": "wedge",
    "∨": "vee", "→": "rightarrow", "⇒": "rightarrow", "⟶": "rightarrow", "⟹": "rightarrow", "←": "leftarrow",
    "↔": "leftrightarrow", "⇔": "leftrightarrow", "↦": "mapsto", "∠": "angle", "△": "triangle", "⊥": "perp",
    "∥": "parallel", "°": "circ", "∘": "circ", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil",
    "⟨": "langle", "⟩": "rangle", "∖": "setminus", "⊕": "oplus", "⊗": "otimes", "º": "circ",
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ϵ": "epsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "ϑ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi",
    "ο": "omicron", "π": "pi", "ρ": "rho", "σ": "sigma", "ς": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi",
    "ϕ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sign:
    """What a character beyond ASCII is: ``joins`` a word with its letters, or stands alone as ``words``.

    Without either it separates, or, where it ``vanishes``, does not even that.
    """

    joins: str = ""
    words: tuple[str, ...] = ()
    vanishes: bool = False


SEPARATES, VANISHES = Sign(), Sign(vanishes=True)


@functools.cache
def sign(char: str) -> Sign:
    """How the normal view reads one character beyond ASCII."""
    if char in SYMBOLS:
        return Sign(words=(SYMBOLS[char],))
    if ord(char) >= 0x10000 and not 0x1D400 <= ord(char) < 0x1D800:  # beyond: emoji, old scripts
        return SEPARATES
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return VANISHES
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
    plain = "".join(c for c in folded if unicodedata.category(c) not in ("Mn", "Me"))
    if len(plain) == 1 and plain in SYMBOLS:
        return Sign(words=(SYMBOLS[plain],))
    if plain and all(c.isalpha() for c in plain):
        return Sign(joins=plain)
    numbers = re.findall(r"[0-9]+", plain)
    return Sign(words=tuple(numbers[:3])) if numbers else SEPARATES


_SEPARATED = r"(?:,|\{,\}|\\,|,\\!)"
_PIECE = re.compile(
    r"\\(?P<command>[A-Za-z]+)"
    r"|\\[\x00-\x7f]?"
    rf"|(?P<number>[0-9]{{1,3}}(?:{_SEPARATED}[0-9]{{3}}(?![0-9]))+|[0-9]+)"
    r"|(?P<letters>[A-Za-z\x80-\U0010ffff]+)"
    r"|(?P<operator>[+=])"
)
_GROUP = re.compile(r"\{[A-Za-z*]{1,20}\}")
_ARGUMENTS = re.compile(r"[ \t]*([0-9])([0-9]?)")
_NOT_DIGIT = re.compile(r"[^0-9]+")
_WORD = re.compile(r"\S+")


def words(text: str, view: View, start: int = 0, end: int | None = None) -> list[Word]:
    """The words of ``text``, or of its characters ``start:end`` (which begin and end with a line for normal)."""
    end = len(text) if end is None else end
    if view == "raw":
        return [Word(m.group(), m.start(), m.end()) for m in _WORD.finditer(text, start, end)]
    found: list[Word] = []
    while match := _PIECE.search(text, start, end):
        start = match.end()
        kind = match.lastgroup
        if kind == "letters":
            _lettered(match.group(), match.start(), found)
        elif kind == "number":
            found.append(Word(_NOT_DIGIT.sub("", match.group()), match.start(), start))
        elif kind == "operator":
            found.append(Word(match.group(), match.start(), start))
        elif kind == "command":
            start = _command(text, match, end, found)
    return found


def _command(text: str, match: re.Match[str], end: int, found: list[Word]) -> int:
    """Take in a command and what belongs to it; where the text goes on."""
    name = match["command"].lower()
    if name in GROUPS:
        group = _GROUP.match(text, match.end(), end)
        return group.end() if group else match.end()
    if name not in DROPPED and name not in FRACTIONS:
        found.append(Word(SYNONYMS.get(name, name), match.start(), match.end()))
    arguments = _ARGUMENTS.match(text, match.end(), end) if name in FRACTIONS or name in BINOMIALS else None
    if arguments is None:
        return match.end()
    for number in (1, 2):  # \frac12 is \frac{1}{2}
        if arguments[number]:
            found.append(Word(arguments[number], arguments.start(number), arguments.end(number)))
    return arguments.end()


def _lettered(run: str, at: int, found: list[Word]) -> None:
    """The words of a run of letters and characters beyond ASCII that begins at ``at``."""
    if run.isascii():
        found.append(Word(run.lower(), at, at + len(run)))
        return
    letters, begin, last = "", 0, 0
    for place, char in enumerate(run):
        what = Sign(joins=char.lower()) if char.isascii() else sign(char)
        if what.vanishes:
            continue
        if what.joins:
            begin, last = (begin if letters else place), place
            letters += what.joins
            continue
        if letters:
            found.append(Word(letters, at + begin, at + last + 1))
            letters = ""
        found += [Word(word, at + place, at + place + 1) for word in what.words]
    if letters:
        found.append(Word(letters, at + begin, at + last + 1))

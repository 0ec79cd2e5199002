"""One document as the rules of quality look at it: its formulas, its prose, its lines, its words.

Every view is computed once, when the first rule asks for it. ``words_only`` is the text without anything that is
written as mathematics or code: what a language is identified by, and what MathScore reads.
"""

from __future__ import annotations

import functools
import re
import zlib
from dataclasses import replace

import numpy as np

from llemma.corpus.features import hashed
from llemma.records import Document

# A formula ends before the next one begins and within a bounded distance, so that unclosed brackets cost linear time.
# A dollar opens a formula only before a non-space and closes one only behind a non-space and not before a digit
# (pandoc's rule): "$5 and $10" holds no formula.
_ENVIRONMENT = r"(?:equation|align|eqnarray|gather|multline|displaymath|math|alignat|flalign)\*?"
FORMULA = re.compile(  # every branch begins with a plain dollar or backslash, so that the engine can skip to them
    r"\$\$(?<!\\\$\$)(?P<display>[^$]{1,8000}+)\$\$"
    r"|\$(?<![\\$\w]\$)(?P<inline>(?!\s)(?:[^$\\]|\\.){1,2000})(?<!\s)\$(?!\d)"
    r"|\\\[(?P<bracket>(?:[^\\]|\\[^\[\]]){1,8000}+)\\\]"
    r"|\\\((?P<paren>(?:[^\\]|\\[^()]){1,2000}+)\\\)"
    rf"|\\begin\{{(?P<env>{_ENVIRONMENT})\}}"
    rf"(?P<body>(?:[^\\]|\\(?!(?:begin|end)\{{{_ENVIRONMENT}\}})){{1,8000}}+)\\end\{{(?P=env)\}}",
    re.DOTALL,
)
FORMULA_WAS_HERE = "\0"
FENCE = re.compile(r"^(?:```.*?^```|~~~.*?^~~~)", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]{1,400}`")
# reStructuredText, as docstrings write it: a role, a directive with the indented lines below it, a doctest
RST_MATH = re.compile(
    r":math:`[^`]{1,2000}`|^(?P<indent>[ \t]*)\.\. math::.*\n(?:(?:[ \t]*|(?P=indent)[ \t]+.*)\n)*", re.MULTILINE
)
RST_CODE = re.compile(r"^[ \t]*(?:>>>|\.\.\. ).*\n?|:[a-z:]{2,12}:`[^`]{1,200}`|``[^`\n]{1,200}``", re.MULTILINE)
COMMAND = re.compile(r"\\[A-Za-z]+\*?|\\[^A-Za-z\s]")
ADDRESS = re.compile(r"(?:https?://|www\.)\S+|\b[\w.+-]{1,64}+@[\w-]{1,64}(?:\.[\w-]{1,64})+")
SYMBOLS = re.compile("[\u2190-\u22ff\u2a00-\u2aff\U0001d400-\U0001d7ff]")  # arrows, operators, mathematical letters


def formulas(text: str) -> list[str]:
    """The formulas of a text without their delimiters, in order; those inside code are code."""
    return split(text)[1]


def marks(text: str) -> int:
    """How many times the text uses mathematical markup: formulas, and the roles and directives of docstrings."""
    return len(formulas(text)) + (len(RST_MATH.findall(text)) if ":math:`" in text or ".. math::" in text else 0)


def words_only(text: str) -> str:
    """The text without formulas, TeX commands, code, addresses and mathematical symbols."""
    return split(text)[0].replace(FORMULA_WAS_HERE, " ")


def split(text: str) -> tuple[str, list[str]]:
    """The text without TeX commands, code, addresses and mathematical symbols; and the formulas.

    In the place of each formula there is ``FORMULA_WAS_HERE``.
    """
    found: list[str] = []
    text = text.replace(FORMULA_WAS_HERE, " ")
    if "```" in text or "~~~" in text:
        text = FENCE.sub(" ", text)
    if "`" in text or ">>>" in text or ".. math" in text:
        text = CODE.sub(" ", RST_CODE.sub(" ", RST_MATH.sub(" ", text)))
    if "$" in text or "\\" in text:
        pieces, end = [], 0
        for match in FORMULA.finditer(text):
            pieces.append(text[end : match.start()])
            end = match.end()
            found.append(match["body"] or match[match.lastgroup or 0])
        text = FORMULA_WAS_HERE.join([*pieces, text[end:]])
    if "\\" in text:
        text = COMMAND.sub(" ", text)
    if "://" in text or "www." in text or "@" in text:
        text = ADDRESS.sub(" ", text)
    return text if text.isascii() else SYMBOLS.sub(" ", text), found


_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def _word(formula: str) -> str:
    """A made-up word of letters, equal for equal formulas."""
    return f" {zlib.crc32(formula.encode('utf-8', 'surrogatepass')):08x} ".translate(_LETTERS)


class Page:
    """The views of one document; ``line`` breaks are those of ``str.split``."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text

    @functools.cached_property
    def url(self) -> str:
        """The address in ``meta["url"]``, or the document's id."""
        url = self.document.meta.get("url")
        return url if isinstance(url, str) else self.document.id

    @functools.cached_property
    def _split(self) -> tuple[str, list[str]]:
        return split(self.text)

    @property
    def formulas(self) -> list[str]:
        """The formulas, delimiters taken off."""
        return self._split[1]

    @functools.cached_property
    def prose(self) -> str:
        """The text without mathematics and code."""
        return self._split[0].replace(FORMULA_WAS_HERE, " ")

    @functools.cached_property
    def spoken(self) -> str:
        """The prose with a word for each formula: lines that differ in their formulas differ here."""
        marked, found = self._split
        pieces = marked.split(FORMULA_WAS_HERE)
        words = [*map(_word, found), ""]
        return "".join(piece + word for piece, word in zip(pieces, words, strict=True)) if found else self.prose

    @functools.cached_property
    def lines(self) -> list[str]:
        """The lines that are not blank, stripped."""
        return [line for line in map(str.strip, self.text.split("\n")) if line]

    @functools.cached_property
    def words(self) -> list[str]:
        """The prose, split at white space."""
        return self.prose.split()

    @functools.cached_property
    def hashes(self) -> np.ndarray:
        """The words of the prose and its formulas as hashes (uint64), numbers left out."""
        return hashed(self.spoken, digits=False).words

    def edited(self, text: str) -> Page:
        """The page of the same document with another text."""
        return Page(replace(self.document, text=text))

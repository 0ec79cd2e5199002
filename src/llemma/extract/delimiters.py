"""Formulas between delimiters in running text: ``$…$``, ``\\(…\\)``, environments, AsciiMath, as the page says.

A page says it in the settings of MathJax or KaTeX. Where it says nothing, a formula must look like one: "$5 and then
$10" is never taken for mathematics, whatever the settings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

Add = Callable[[str, bool, str], str]

ENVIRONMENTS = (
    "equation|align|alignat|flalign|gather|multline|eqnarray|displaymath|math|aligned|array|cases|matrix|pmatrix|bmatrix|"
    "vmatrix|split|gathered|CD|subequations|dmath|IEEEeqnarray|alignedat|smallmatrix|Bmatrix|Vmatrix|xalignat|rcases|dcases"
)
_LONGEST = 20_000  # characters of one formula
_BUDGET = 3_000_000  # characters looked through for closing delimiters in one page
_MOST_OPENINGS = 200_000  # delimiters of one page that are looked at; a book of 10 MB has fewer


class Pair(NamedTuple):
    """An opening and a closing delimiter, and whether they set a formula on its own line."""

    left: str
    right: str
    display: bool


class Rules(NamedTuple):
    """What opens a formula on this page. ``sure``: the page loads a renderer; ``told``: it says what single dollars
    mean."""

    pairs: tuple[Pair, ...]
    sure: bool
    told: bool
    ascii: bool


_STANDARD = (Pair("$$", "$$", True), Pair("\\[", "\\]", True), Pair("\\(", "\\)", False))
_DOLLAR = Pair("$", "$", False)
_HEAD = 3000  # characters in which a page says which renderer it loads
_MOST = 400_000  # characters of scripts that are looked through
_RENDERER = re.compile(
    r"[Mm]ath[Jj]ax|MATHJAX|[Kk]a[Tt]e[Xx]|js[Mm]ath|renderMathInElement|[Tt]e[Xx][Zz]illa|mathml\.js|ASCIIMath|[Aa]scii[Mm]ath"
)
# One of these, in small letters, is in all that the expressions above and below find, and costs less to find.
_RENDERERS = ("mathjax", "katex", "jsmath", "rendermathinelement", "texzilla", "mathml.js", "asciimath")
_ASCII_NAMES = ("ascii", "am_", "am-", "am.js")
_ARRAY = re.compile(r"(inlineMath|displayMath)['\"]?\s*(?:[:=]|,)\s*(?:\{[^\[{}]*(?:\[[+\-]\][^\[{}]*)?)?\[")
_STRING = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|([\[\]])", re.DOTALL)
_KATEX = re.compile(r"delimiters['\"]?\s*:\s*\[")
_KATEX_PAIR = re.compile(
    r"\{[^{}]*?left['\"]?\s*:\s*(?P<q>['\"`])(?P<left>.*?)(?P=q)[^{}]*?right['\"]?\s*:\s*(?P<r>['\"`])(?P<right>.*?)(?P=r)"
    r"(?P<rest>[^}]*)\}"
)
_ASCII = re.compile(
    r"asciimath2jax|input/asciimath|AsciiMath|ASCIIMathML|[_-]AM[_-]|AM_CHTML|asciimath\.js|/am\.js|AM_HTMLorMML"
)


def rules_of(page: str) -> Rules:
    """The delimiters of a serialised page, from its scripts, its links to style sheets and the head of its source."""
    scripts = "\n".join([page[:_HEAD], *_between(page, "<script", "</script>"), *_between(page, "<link", ">")])[:_MOST]
    lower = scripts.lower()
    if not any(name in lower for name in _RENDERERS) or not _RENDERER.search(scripts):
        return Rules((*_STANDARD, _DOLLAR), False, False, False)
    given: dict[str, list[Pair]] = {}
    for found in _ARRAY.finditer(scripts):
        given.setdefault(found[1], []).extend(_pairs(scripts, found.end(), found[1] == "displayMath"))
    katex: list[Pair] = []
    if (options := _KATEX.search(scripts)) is not None:
        katex = [
            Pair(_plain(m["left"]), _plain(m["right"]), bool(re.search(r"display['\"]?\s*:\s*(?:true|!0)", m[0])))
            for m in _KATEX_PAIR.finditer(scripts, options.end(), options.end() + 2000)
            if m["left"] and m["right"]
        ]
    told = "inlineMath" in given or bool(katex)
    pairs = [*given.get("inlineMath", ()), *given.get("displayMath", ()), *katex, *_STANDARD]
    if not told:
        pairs.append(_DOLLAR)
    ascii_math = any(name in lower for name in _ASCII_NAMES) and bool(_ASCII.search(scripts))
    unique = {
        pair.left: pair for pair in reversed(pairs) if pair.left and pair.right and not pair.left.startswith("\\begin")
    }
    ordered = sorted(unique.values(), key=lambda pair: -len(pair.left))
    return Rules(tuple(ordered), True, told, ascii_math)


def _between(page: str, left: str, right: str) -> Iterator[str]:
    """The parts of a page behind its head that begin and end so, until there is more than is looked through."""
    size, place = 0, page.find(left, _HEAD)
    while place >= 0 and size < _MOST:
        end = page.find(right, place)
        end = end if end >= 0 else len(page)
        yield page[place:end]
        size += end - place
        place = page.find(left, end)


def _pairs(page: str, start: int, display: bool) -> list[Pair]:
    """The pairs of a JavaScript array of arrays of two strings that begins at ``start``."""
    depth, strings = 1, []
    for found in _STRING.finditer(page, start, start + 2000):
        if found[3]:
            depth += 1 if found[3] == "[" else -1
            if not depth:
                break
        else:
            strings.append(_plain(found[1] if found[1] is not None else found[2]))
    return [Pair(left, right, display) for left, right in zip(strings[::2], strings[1::2], strict=False)]


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


class Finder:
    """Replaces the formulas of a text."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._budget = _BUDGET
        self._openings = _MOST_OPENINGS
        self._pairs = {pair.left: pair for pair in rules.pairs}
        lefts = "|".join(re.escape(left) for left in self._pairs)
        tick = "|`" if rules.ascii else ""
        self._open = re.compile(rf"\\\\(?!\[|\()|\\\$|{lefts}|\\begin\{{((?:{ENVIRONMENTS})\*?)\}}{tick}")
        self.marks = tuple({left[0] if left[0] == "$" else left for left in self._pairs} | {"\\begin{"} | set(tick[1:]))
        self._close = {pair.right: _closing(pair.right) for pair in rules.pairs}

    @property
    def exhausted(self) -> bool:
        """Whether the page had more delimiters than are looked at."""
        return not self._openings

    def replace(self, text: str, add: Add, *, certain: bool = False) -> str:
        """The text with its formulas replaced by what ``add(tex, display, kind)`` returns for them.

        ``certain``: the text stands where only formulas stand.
        """
        out: list[str] = []
        ahead: dict[str, int] = {}
        done = place = 0
        while (found := self._open.search(text, place)) and self._openings:
            self._openings -= 1
            opening = found[0]
            place = found.end()
            if opening in ("\\\\", "\\$"):
                continue
            pair = self._pairs.get(opening)
            if opening == "`":
                pair = Pair("`", "`", False)
            closing = pair.right if pair else f"\\end{{{found[1]}}}"
            end = self._find_end(text, place, closing, ahead)
            if end < 0:
                continue
            inside = text[place:end]
            after = text[end + len(closing) : end + len(closing) + 1]
            if pair is None:
                tex, display, kind = text[found.start() : end + len(closing)], True, "delimiters"
            else:
                if not self._plausible(pair.left, inside, after, certain):
                    continue
                tex, display, kind = inside, pair.display, "asciimath" if opening == "`" else "delimiters"
            out.append(text[done : found.start()])
            out.append(add(tex, display, kind))
            done = place = end + len(closing)
        if not done:
            return text
        out.append(text[done:])
        return "".join(out)

    def _find_end(self, text: str, start: int, closing: str, ahead: dict[str, int]) -> int:
        """Where the closing delimiter stands, outside braces if it does anywhere; -1 when there is none near.

        ``ahead`` remembers the next place of each delimiter, so that the text is searched once for each.
        """
        nearest = ahead.get(closing, -2)
        if nearest != -1 and nearest < start:
            nearest = ahead[closing] = text.find(closing, start)
        if nearest < 0 or nearest - start > _LONGEST:
            return -1
        if closing == "`" or closing.startswith("\\end") or self._budget < 0:
            return nearest
        return self._balanced_end(text, start, closing)

    def _balanced_end(self, text: str, start: int, closing: str) -> int:
        depth, first, stop = 0, -1, start + _LONGEST
        place = start
        for found in self._close[closing].finditer(text, start):
            token, place = found[0], found.start()
            if place > stop:
                break
            if token == closing:
                if depth <= 0:
                    first = place
                    break
                first = place if first < 0 else first
            elif token == "{":
                depth += 1
            elif token == "}":
                depth -= 1
        self._budget -= place - start
        return first

    def _plausible(self, left: str, inside: str, after: str, certain: bool) -> bool:
        if not inside.strip() or "\x04" in inside or "\x02" in inside or "\x06" in inside:
            return False
        if certain:
            return True
        if left == "$":
            return _dollar_math(inside, after, self.rules)
        if left == "`":
            return len(inside) < 400
        return self.rules.sure or _tex_like(inside)


def _closing(right: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(right)}|\\.|[{{}}]", re.DOTALL)


_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")
_COMMAND = re.compile(r"\\[a-zA-Z]+\s*(?:\{[^{}]*\})?")
_MARKS = re.compile(r"[\\^_{}=<>+*/|]")
_TEX = re.compile(r"\\[a-zA-Z]{2,}|\\[{},;!]|[\^_]\s*[\w{\\]|[=<>+]")
_SHORT = re.compile(r"\s*[-+]?\(?(?:\d*[a-zA-Z]{1,2}\d?|\d{1,6})(?:\s*[-,+()=]\s*[a-zA-Z0-9]{1,3})*\)?\s*[.,]?")
_PRICE = re.compile(
    r"\s*\d[\d.,]*(?:\s*(?:k|m|bn|million|billion|thousand|per|each|USD|and|or|to|a)\b|\s|[-–—/]|$)", re.IGNORECASE
)


def _dollar_math(inside: str, after: str, rules: Rules) -> bool:
    """Whether what stands between single dollars is mathematics and no price, name of a variable or prose."""
    if len(inside) > 2000 or "\n\n" in inside:
        return False
    rest = _COMMAND.sub(" ", inside)
    words = len(_WORD.findall(rest))
    if _PRICE.match(inside) and (words or after.isdigit() or inside[-1].isspace() or inside[-1] in "-–—/"):
        return bool("\\" in inside and not words)
    if rules.told:
        return not (words and not _MARKS.search(inside) and (words > 1 or inside[0].isspace() or inside[-1].isspace()))
    if inside[0].isspace() or inside[-1].isspace() or after.isalnum():
        return bool(rules.sure and not after.isalnum() and words == 0 and _TEX.search(inside))
    if words > 3 and "\\" not in inside:
        return False
    if _TEX.search(inside):
        return rules.sure or "\\" in inside or bool(re.search(r"[\^_]", inside) and not words)
    return rules.sure and words == 0 and (len(inside) <= 3 or bool(_SHORT.fullmatch(inside)))


def _tex_like(inside: str) -> bool:
    """Whether a text between delimiters of a page without a renderer is TeX."""
    rest = _COMMAND.sub(" ", inside)
    words = len(_WORD.findall(rest))
    if _TEX.search(inside) and (words <= 2 or "\\" in inside):
        return True
    return words == 0 and len(inside.strip()) <= 12

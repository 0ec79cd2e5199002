"""Text with LaTeX formulas to safe HTML: formulas become MathML, everything else is escaped.

The text is hostile (a model or a web page wrote it). latex2mathml copies text into its output unescaped and
knows ``\\href``; therefore its element tree, not its string, is read, rebuilt from an allow list and escaped
here. A formula that does not pass is shown as escaped code. Nothing here checks the mathematics.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from markupsafe import Markup, escape

from llemma.errors import MissingDependency
from llemma.report.units import visible

try:
    import latex2mathml.exceptions
    from latex2mathml.converter import Converter
except ModuleNotFoundError as error:
    raise MissingDependency("latex2mathml", install='pip install "llemma[page]"') from error

LONGEST_TEXT = 6_000  # characters of one text that a page shows
LONGEST_FORMULA = 1_500
DEEPEST = 40  # levels of elements: browsers lay out nested mathematics recursively

# What follows a dollar of money: digits (or the "<<" of GSM8K), then a word or a new line, and no sign of TeX.
_MONEY = r"(?:\d|<<)[^\\^_$]{0,400}?(?:\n|[A-Za-z]{3})[^\\^_$]{0,400}\$"

# Opening and closing dollars as Pandoc reads them: no space inside, no digit after the closing one. So
# "$5 and $3" stays money. Every repetition is bounded: the scan is linear in the text.
_FORMULA = re.compile(
    rf"(?P<escaped>\\\$)"
    rf"|\$\$(?P<display>[^$]{{1,{LONGEST_FORMULA}}})\$\$"
    rf"|\\begin\{{(?P<env>(?:align|equation|gather|eqnarray|multline)\*?)\}}(?P<body>.{{1,{LONGEST_FORMULA}}}?)"
    rf"\\end\{{(?P=env)\}}"
    rf"|\\\[(?P<bracket>.{{1,{LONGEST_FORMULA}}}?)\\\]"
    rf"|\\\((?P<paren>.{{1,{LONGEST_FORMULA}}}?)\\\)"
    rf"|\$(?=[^\s$])(?!{_MONEY})(?P<inline>(?:[^$\\\n]|\\.|\n(?!\n)){{1,{LONGEST_FORMULA}}})(?<!\s)\$(?!\d)",
    re.DOTALL,
)

# Definitions can expand to any length.
_REFUSED = re.compile(r"\\(?:def|gdef|edef|let|(?:re)?newcommand|providecommand|require|newenvironment)(?![a-zA-Z])")

_REFERENCE = re.compile(r"&#x([0-9A-Fa-f]{1,6});")

# Children each element needs (None: any number).
_ELEMENTS: dict[str, int | None] = {
    "math": None, "mrow": None, "mi": 0, "mn": 0, "mo": 0, "mtext": 0, "mspace": 0, "mfrac": 2, "msqrt": None,
    "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2, "munderover": 3, "mtable": None,
    "mtr": None, "mtd": None, "mstyle": None, "mpadded": None, "mphantom": None, "menclose": None,
}  # fmt: skip

_WORD = re.compile(r"[a-z-]{1,24}( [a-z-]{1,24}){0,15}")
# At most two digits before the point: a length cannot push a formula over the rest of the page.
_LENGTH = re.compile(r"[+-]?(\d{1,2}(\.\d{1,4})?|\.\d{1,4})(em|ex|px|pt|mu|width)?")
_LENGTHS = re.compile(rf"{_LENGTH.pattern}( {_LENGTH.pattern}){{0,15}}")

_ATTRIBUTES: dict[str, re.Pattern[str]] = {
    **dict.fromkeys(
        ("display", "displaystyle", "mathvariant", "stretchy", "fence", "form", "separator", "columnalign", "rowalign",
         "columnlines", "rowlines", "notation", "accent", "accentunder", "movablelimits", "largeop", "symmetric",
         "linebreak"), _WORD),
    **dict.fromkeys(("scriptlevel", "linethickness", "minsize", "maxsize", "mathsize"), _LENGTH),
    **dict.fromkeys(("lspace", "rspace", "height", "depth", "voffset", "columnspacing", "rowspacing"), _LENGTHS),
    "width": re.compile(rf"{_LENGTH.pattern}|(negative)?(very){{0,2}}(thin|medium|thick)mathspace"),
}  # fmt: skip

# All that 300,000 random formulas raised, and the builtin classes above them: a new version of the package
# may raise a neighbour.
_FAILURES: tuple[type[Exception], ...] = (
    LookupError, ValueError, TypeError, AttributeError, ArithmeticError, StopIteration, RuntimeError,
    *(kind for kind in vars(latex2mathml.exceptions).values()
      if isinstance(kind, type) and issubclass(kind, Exception)),
)  # fmt: skip


class _Refused(ValueError):
    """The formula holds something that is not plain MathML."""


def rich(text: str, limit: int = LONGEST_TEXT) -> Markup:
    """``text`` with its ``$…$``, ``$$…$$``, ``\\(…\\)`` and ``\\[…\\]`` as MathML, all else escaped.

    Texts longer than ``limit`` are cut, and the cut is said.
    """
    kept, rest = text[:limit], len(text) - limit
    parts = list(_parts(visible(kept)))
    if rest > 0:
        parts.append(Markup('<span class="cut"> … {} more characters</span>').format(f"{rest:,}"))
    return Markup("").join(parts)


def formula(latex: str, *, display: bool = False, shown: str | None = None) -> Markup:
    """One formula as MathML, or as escaped code (``shown``, default the formula) when it cannot be turned."""
    made = _mathml(latex, "block" if display else "inline")
    if made is not None:
        return made
    text = shown if shown is not None else latex
    cut = text if len(text) <= LONGEST_FORMULA else f"{text[:LONGEST_FORMULA]} … {len(text) - LONGEST_FORMULA:,} more"
    return Markup('<code class="tex{}">{}</code>').format(" block" if display else "", visible(cut))


def _parts(text: str) -> Iterator[Markup]:
    start, after_block = 0, False
    for found in _FORMULA.finditer(text):
        block = _block(found)
        between = text[start : found.start()]
        between = between.lstrip() if after_block else between
        yield escape(between.rstrip() if block else between)  # a block has its own space around it
        start, after_block = found.end(), bool(block)
        if found["escaped"]:
            yield Markup("$")
        else:
            yield formula(block or found["paren"] or found["inline"], display=bool(block), shown=found[0])
    yield escape(text[start:].lstrip() if after_block else text[start:])


def _block(found: re.Match[str]) -> str | None:
    if found["env"]:
        return found[0] if found["env"].startswith("align") else found["body"]
    return found["display"] or found["bracket"]


@functools.lru_cache(maxsize=4096)
def _mathml(latex: str, display: str) -> Markup | None:
    latex = visible(latex).replace(r"\allowbreak", " ")  # a hint for the end of a line: MathML has none
    if len(latex) > LONGEST_FORMULA or _REFUSED.search(latex) or not latex.strip():
        return None
    try:
        root = Converter(display=display).convert_to_element(latex)
        return Markup("".join(_rebuilt(root, DEEPEST)))
    except _FAILURES:
        return None


def _rebuilt(element: Element, depth: int) -> Iterator[str]:
    """The element as text: only known elements, attributes and values; raises _Refused for any other."""
    tag = element.tag
    if tag not in _ELEMENTS or not depth or element.tail:
        raise _Refused
    needed = _ELEMENTS[tag]
    if needed is not None and len(element) != needed:
        raise _Refused
    yield f"<{tag}"
    for name, value in element.attrib.items():
        if not value or (tag == "math" and name == "xmlns"):
            continue  # HTML knows the namespace by the element
        if name not in _ATTRIBUTES or not _ATTRIBUTES[name].fullmatch(value):
            raise _Refused
        yield f' {name}="{value}"'
    yield ">"
    yield _text(tag, element.text)
    for child in element:
        yield from _rebuilt(child, depth - 1)
    yield f"</{tag}>"


def _text(tag: str, text: str | None) -> str:
    if not text:
        return ""
    if tag not in ("mi", "mn", "mo", "mtext"):
        raise _Refused
    decoded = _REFERENCE.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), text)
    if tag != "mtext" and re.match(r"\\[a-zA-Z]", decoded):
        raise _Refused  # a command latex2mathml does not know: the source is easier to read
    return str(escape(visible(decoded)))
